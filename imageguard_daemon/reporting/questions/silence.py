"""Has a source stopped delivering, or does it deliver many times as much?

Model of silence: a source delivers in each slot with one probability. Null: it still does; the chance of so many empty
slots is that of the Beta-binomial distribution after those seen (Jeffreys' prior). Pauses cluster, so a silence must
also be three times as long as any before. Model of plenty: logarithms of counts are normal (Student's test), and each
of the last slots must be beyond all before. Correction: Bonferroni over sources.
"""

import math
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from imageguard_daemon.reporting.finding import ALPHA, Finding
from imageguard_daemon.reporting.panel import Counts, Patterns, Slots
from imageguard_daemon.reporting.questions.change import spoken, times_of
from imageguard_daemon.reporting.statistics import student_tail
from imageguard_daemon.reporting.text import shown

if TYPE_CHECKING:
    from imageguard_daemon.config import Reporting

_MIN_ACTIVE = 6
_LONGER = 3
_MAX_SILENT = 60
"""What has been silent for more slots is not news."""
_WINDOWS = (2, 3, 5)
_TIMES, _BEYOND = 5.0, 1.5
"""Plenty is so many times the usual, and each slot so many times the most there was."""


def volumes(seen: Patterns, settings: "Reporting") -> list[Finding]:
    """Tell of sources that stopped, and of those that deliver far more than they did."""
    groups, slots = seen.panel.groups("source"), seen.panel.slots
    images = groups.sums(seen.panel.images)
    whole = _whole_slots(seen)
    enough = [at for at in range(len(images)) if images[at].sum() >= settings.min_sample]
    silences = (_silent(images[at], groups.names[at][0], slots, whole, len(enough)) for at in enough)
    quiet = [silence for silence in silences if silence]
    if len(quiet) > 1 and len(quiet) == len(enough):
        quiet = [_silent_all(images[enough].sum(axis=0), slots, whole) or quiet[0]]
    loud = (_plenty(images[at], groups.names[at][0], slots, len(enough)) for at in enough)
    return [*quiet, *filter(None, loud)]


def _whole_slots(seen: Patterns) -> int:
    """Give how many slots were over at the end of the report, those after the last image too."""
    slots = seen.panel.slots
    if seen.end_second is None:
        return slots.number
    return max(int((seen.end_second - slots.first_second) // slots.seconds), slots.number - 1)


def _silent(images: Counts, name: str, slots: Slots, whole: int, sources: int) -> Finding | None:
    active = np.flatnonzero(images)
    if len(active) < _MIN_ACTIVE:
        return None
    silent = whole - int(active[-1]) - 1
    span = int(active[-1] - active[0]) + 1
    longest = int(np.diff(active).max()) - 1
    chance = sources * _chance_of_silence(len(active), span, silent)
    if not 2 <= silent <= _MAX_SILENT or silent < _LONGER * longest or chance >= ALPHA:
        return None
    usual = float(median(images[active]))  # not of NumPy, whose median loads numpy.ma first
    who = f"Source '{shown(name)}'" if name else "All sources"
    sentence = (
        f"{who}: nothing since {spoken(slots, int(active[-1]) + 1)}, after images {_on(slots, len(active), span)}, "
        f"{usual:,.0f} in a usual one: about {usual * silent * len(active) / span:,.0f} are missing."
    )
    look_at = "Look at whether what delivers here still runs, and reaches this inbox."
    evidence = {
        "total": float(images.sum()),
        "missing": usual * silent * len(active) / span,
        "usual": usual,
        "silent_slots": silent,
        "p_value": chance,
        "since": slots.begin(int(active[-1]) + 1),
    }
    where = {"source": name} if name else {}
    shows, subject = times_of(slots), name or "all sources"
    return Finding("source_stopped", subject, sentence, look_at, evidence, where, shows=shows, is_silence=True)


def _silent_all(images: Counts, slots: Slots, whole: int) -> Finding | None:
    return _silent(images, "", slots, whole, 1)


def _chance_of_silence(active: int, span: int, silent: int) -> float:
    terms = ((span - active + 0.5 + at) / (span + 1 + at) for at in range(max(silent, 0)))
    return math.prod(terms)


def _on(slots: Slots, active: int, span: int) -> str:
    what = {86_400: "days", 3_600: "hours"}.get(slots.seconds, "times")
    return f"on {active:,} of {span:,} {what}" if what == "days" else f"in {active:,} of {span:,} {what}"


def _plenty(images: Counts, name: str, slots: Slots, sources: int) -> Finding | None:
    for last in _WINDOWS:
        now = images[-last:]
        before = images[:-last][images[:-last] > 0]
        if len(before) < _MIN_ACTIVE or not now.all():
            continue
        usual, most = float(median(before)), float(before.max())
        if now.mean() < _TIMES * usual or now.min() < _BEYOND * most:
            continue
        logs = np.log(before)
        spread = max(float(logs.std(ddof=1)), 0.1)
        above = float(np.log(now).mean()) - float(logs.mean())
        t = above / (spread * math.sqrt(1 / last + 1 / len(before)))
        chance = sources * len(_WINDOWS) * student_tail(max(t, 0.0), len(before) - 1)
        if chance < ALPHA:
            since = slots.number - last
            sentence = (
                f"Source '{shown(name)}': {now.mean() / usual:,.0f} times as much as usual since "
                f"{spoken(slots, since)}: {now.sum():,.0f} images, where {usual * last:,.0f} were expected."
            )
            look_at = "Look at whether a job sends its files again, or a new one delivers here."
            evidence = {
                "total": float(now.sum()),
                "usual": usual,
                "times": float(now.mean()) / usual,
                "p_value": chance,
                "since": slots.begin(since),
            }
            where, shows = {"source": name}, times_of(slots)
            return Finding("source_delivers_more", name, sentence, look_at, evidence, where, shows=shows)
    return None
