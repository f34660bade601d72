"""Since when, and where, are more images rejected than before? Do more and more lie near a threshold?

Model and null: `rises.py`, for all images together and for each class, source, camera, host and pair. Correction: for
all times of a series (there), and Bonferroni with an equal part for each kind of series. A cause is told once: what
explains most comes first, and what another series has beyond it is looked at without its streams. Of images near a
threshold the null is that their share stays; correction: Bonferroni over sources.
"""

from bisect import insort
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from imageguard_daemon.reporting.finding import (
    ADVICE,
    ALPHA,
    CLEARLY_HIGHER,
    Finding,
    Shows,
    evidence_against,
    evidence_of,
    got_worse,
    group_in_words,
    reason_in_words,
    subject_of,
)
from imageguard_daemon.reporting.panel import PAIRS, Counts, Groups, Panel, Patterns, Slots
from imageguard_daemon.reporting.rises import Rise, Rises, with_drift
from imageguard_daemon.reporting.statistics import chance_with_scatter
from imageguard_daemon.reporting.tallies import Tally
from imageguard_daemon.reporting.text import percent

if TYPE_CHECKING:
    from imageguard_daemon.config import Reporting


SERIES = ((), ("class",), ("source",), ("camera",), ("host",), *PAIRS)
MAX_REPORTED = 10
_LOOKED_AT = 40
_DAY_SECONDS = 86_400
_LOOK_AT = {
    "": "Look at what changed then for all: thresholds, version, what is collected, light and season.",
    "class": "Look at what changed then in how this class is collected.",
    "source": "Look at what changed there then: software, settings, what is sent, who sends it.",
    "camera": "Look at what changed there then: focus, lens, light, settings, firmware.",
    "host": "Look at what changed then on this server.",
}
_NEAR_GROUPS = ((), ("source",))


@dataclass(frozen=True, slots=True)
class Changed:
    """A group of streams whose rate rose."""

    where: Mapping[str, str]
    streams: npt.NDArray[np.bool_]
    rise: Rise
    series: int
    """What its probability is corrected for."""
    factor: float
    """How many times its counts scatter more than those of all."""


def changes(seen: Patterns, settings: "Reporting") -> list[tuple[Changed, Finding]]:
    """Give what got worse, what explains most first."""
    reported: list[Changed] = []
    for change in _found(seen, settings):
        if len(reported) < MAX_REPORTED and _adds(change, reported, seen, settings.min_sample):
            reported.append(change)
    return [(change, _finding(change, seen.panel)) for change in reported]


class _Looked(NamedTuple):
    """The series of one kind."""

    groups: Groups
    rises: Rises
    factors: Counts
    series: int


def _found(seen: Patterns, settings: "Reporting") -> list[Changed]:
    """Give what rose beyond chance for all series of its kind, what explains most first; only so many are looked at."""
    looked = _looked(seen, settings)
    bounds = [
        (-bound, at, row)  # the highest first where they are sorted
        for at, kind in enumerate(looked)
        for row, bound in _bounds(kind, seen.panel)
    ]
    best: list[tuple[float, int, int, int, Changed]] = []
    # A bound costs little and a rise much: in the order of bounds, few rises are worked out.
    for minus_bound, at, row in sorted(bounds):
        if len(best) >= _LOOKED_AT and best[_LOOKED_AT - 1][0] < minus_bound:
            break  # nothing that follows explains more
        if change := _changed(looked[at], row):
            ranked = (-change.rise.z, len(change.where), at, row, change)
            insort(best, ranked, key=lambda ranked: ranked[:4])
    return [change for *_, change in best[:_LOOKED_AT]]


def _looked(seen: Patterns, settings: "Reporting") -> list[_Looked]:
    looked = []
    least = settings.min_sample
    for fields in SERIES:
        groups = seen.panel.groups(*fields)
        if fields and len(groups) < 2:  # it is all images
            continue
        of_group = seen.series(*fields)
        large_enough = of_group.images.sum(axis=1) >= 2 * least
        series = len(SERIES) * int(np.count_nonzero(large_enough))
        rises = Rises(of_group.images, of_group.rejected, seen.scatter, of_group.factors, least=least)
        looked.append(_Looked(groups, rises, of_group.factors, series))
    return looked


def _bounds(kind: _Looked, panel: Panel) -> Iterator[tuple[int, float]]:
    """Give the groups that may have a rise, and what it explains at most."""
    groups, bounds = kind.groups, kind.rises.bounds()
    alike = _singles(panel, groups.fields)
    for row in np.flatnonzero(np.isfinite(bounds) & ~alike).tolist():
        if _has_names(groups.fields, groups.names[row]):
            yield row, float(bounds[row])


def _changed(kind: _Looked, row: int) -> Changed | None:
    groups, rise = kind.groups, kind.rises.of(row, kind.series)
    if rise is None or rise.chance * kind.series >= ALPHA:
        return None
    where = dict(zip(groups.fields, groups.names[row], strict=True))
    rise = replace(rise, chance=rise.chance * kind.series)
    return Changed(where, groups.of_stream == row, rise, kind.series, float(kind.factors[row]))


def _singles(panel: Panel, fields: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Say which groups of a pair have the very streams of one of the two."""
    groups = panel.groups(*fields)
    alike = np.zeros(len(groups), bool)
    for name in fields if len(fields) > 1 else ():
        single = panel.groups(name)
        streams = np.bincount(groups.of_stream)
        streams_of_single = np.bincount(single.of_stream)
        _, first = np.unique(groups.of_stream, return_index=True)
        # All streams of a pair are of one single group: with as many as that has, they are the same.
        alike |= streams == streams_of_single[single.of_stream[first]]
    return alike


def _has_names(fields: Sequence[str], name: Sequence[str]) -> bool:
    """Images without a camera have nothing in common."""
    return all(value or of in {"class", "source"} for of, value in zip(fields, name, strict=True))


def _adds(change: Changed, reported: Sequence[Changed], seen: Patterns, least: int) -> bool:
    """Check whether it says something that those reported do not: what is left without their streams rose as well."""
    at_that_time = [other for other in reported if _overlap(change.rise, other.rise)]
    if not at_that_time:
        return True
    if any(not other.where for other in at_that_time):  # all images: then what rose more than they did is more
        return _rose_more(change, seen)
    left = change.streams.copy()
    for other in at_that_time:
        left &= ~other.streams
    if not left.any():
        return False
    images = seen.panel.images[left].sum(axis=0, keepdims=True)
    rejected = seen.panel.rejected[left].sum(axis=0, keepdims=True)
    [again] = Rises(images, rejected, seen.scatter, np.array([change.factor]), least=least).find()
    return again is not None and again.chance * change.series < ALPHA and _overlap(again, change.rise)


def _rose_more(change: Changed, seen: Patterns) -> bool:
    """Check whether a group is clearly worse at its time than all others are then."""
    begin, end = change.rise.begin, change.rise.end
    ours = seen.panel.tally(change.streams, begin, end)
    others = seen.panel.tally(~change.streams, begin, end)
    if not others.total or ours.rate < CLEARLY_HIGHER * others.rate:
        return False
    images = seen.panel.images[change.streams, begin:end].sum(axis=0, keepdims=True)
    effect = float(seen.scatter.effects(images, np.array([others.rate]))[0])
    theirs = (others.rejected, others.total)
    chance = chance_with_scatter((ours.rejected, ours.total), theirs, effect)
    return chance * change.series < ALPHA


def _overlap(rise: Rise, other: Rise) -> bool:
    return rise.begin < other.end and other.begin < rise.end


def _finding(change: Changed, panel: Panel) -> Finding:
    images, rejected = (part[change.streams].sum(axis=0) for part in (panel.images, panel.rejected))
    rise = with_drift(change.rise, images, rejected)
    within = panel.tally(change.streams, rise.begin, rise.end)
    before = panel.tally(change.streams, 0, rise.begin)
    after = panel.tally(change.streams, rise.end)
    outside = Tally(before.total + after.total, {"": before.rejected + after.rejected})
    kind, subject = got_worse(change.where)
    sentence = _sentence(change, rise, (within, outside), panel)
    look_at = f"{_LOOK_AT[next(iter(change.where), '')]} {ADVICE.get(within.top_reason, '')}".strip()
    evidence = evidence_against(within, outside, rise.chance) | moments_of(rise, panel.slots)
    return Finding(kind, subject, sentence, look_at, evidence, change.where)


def _sentence(change: Changed, rise: Rise, counts: tuple[Tally, Tally], panel: Panel) -> str:
    within, outside = counts
    slots, group = panel.slots, group_in_words(change.where)
    excess = f"{within.rejected - within.total * outside.rate:,.0f} more than expected"
    if rise.drifts:
        # Its last quarter: the mean of a rise that goes on says less than where it is by now.
        last_slots = max((slots.number - rise.begin) // 4, 2)
        last = panel.tally(change.streams, max(rise.begin, slots.number - last_slots))
        return (
            f"{group}: more and more are rejected since {spoken(slots, rise.begin)}, {percent(last.rate)} of the last "
            f"{last.total:,}, {reason_in_words(within)}; before, {percent(outside.rate)} of {outside.total:,}. That is "
            f"{excess}."
        )
    time, other = time_in_words(rise, slots)
    return (
        f"{group}: {time}, {percent(within.rate)} of {within.total:,} images were rejected, "
        f"{reason_in_words(within)}; {other}, {percent(outside.rate)} of {outside.total:,}. That is {excess}."
    )


def time_in_words(rise: Rise, slots: Slots) -> tuple[str, str]:
    """Say when a rise was, and when it was not."""
    begin = spoken(slots, rise.begin)
    if rise.end == slots.number:
        return f"since {begin}", "before"
    return f"from {begin} until before {spoken(slots, rise.end)}", "at other times"


def moments_of(rise: Rise, slots: Slots) -> dict[str, float]:
    """Give the times of a rise as evidence has them; one that lasts has no end."""
    moments: dict[str, float] = {"since": slots.begin(rise.begin)}
    if rise.end != slots.number:
        moments["until"] = slots.begin(rise.end)
    return moments


def spoken(slots: Slots, slot: int) -> str:
    """Name the beginning of a slot: a day with its weekday, and the time where slots are shorter."""
    moment = datetime.fromtimestamp(slots.begin(slot), UTC)
    return moment.strftime("%a %Y-%m-%d" if slots.seconds % _DAY_SECONDS == 0 else "%a %Y-%m-%d %H:%M UTC")


def times_of(slots: Slots) -> Shows:
    """Say in which steps a report shows what is found in slots."""
    return Shows.days if slots.seconds >= _DAY_SECONDS else Shows.hours


def more_near_thresholds(seen: Patterns, settings: "Reporting", changed: Sequence[Changed]) -> list[Finding]:
    """Tell where more and more images lie near a threshold: what comes next is a change of the rate."""
    reported: list[Finding] = []
    taken = [change.streams for change in changed]
    for fields in _NEAR_GROUPS:
        groups = seen.panel.groups(*fields)
        if fields and len(groups) < 2:
            continue
        images = groups.sums(seen.panel.images)
        near = groups.sums(seen.panel.borderline)
        is_enough = images.sum(axis=1) >= 2 * settings.min_sample
        looked_at = len(_NEAR_GROUPS) * int(is_enough.sum())
        scatter = seen.scatter_of_shares(images, near)
        looked = Rises(images, near, scatter, least=settings.min_sample)
        for number, rise in enumerate(looked.find(looked_at)):
            # One that is over needs no look any more: it did not become a change of the rate.
            if rise is None or rise.end != seen.panel.slots.number:
                continue
            streams = groups.of_stream == number
            is_told = any((streams & others).any() for others in taken)
            chance = rise.chance * looked_at
            if chance < ALPHA and not is_told:
                taken.append(streams)
                where = dict(zip(fields, groups.names[number], strict=True))
                counts = (images[number], near[number])
                reported.append(_more_near(where, rise, counts, seen, chance))
    return reported


def _more_near(
    where: Mapping[str, str], rise: Rise, counts: tuple[Counts, Counts], seen: Patterns, chance: float
) -> Finding:
    rise = with_drift(rise, *counts)
    slots = seen.panel.slots
    images, near = counts
    n = int(images[rise.begin :].sum())
    others = int(images[: rise.begin].sum())
    now = Tally(n, {"": int(near[rise.begin :].sum())})
    before = Tally(others, {"": int(near[: rise.begin].sum())})
    sentence = (
        f"{group_in_words(where)}: since {spoken(slots, rise.begin)}, {percent(now.rate)} of {n:,} images lie near a "
        f"threshold, where good and bad ones mix; before, {percent(before.rate)} of {others:,}."
    )
    look_at = "Look at them before the rate rises: `quarantine list --borderline` and the page show the rejected ones."
    evidence = evidence_of(now, before.rate, chance) | {"since": slots.begin(rise.begin)}
    return Finding("more_near_threshold", subject_of(where), sentence, look_at, evidence, where, shows=Shows.page)
