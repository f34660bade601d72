"""Are more images rejected on certain days of the week, at weekends, or at certain hours?

Model: the rate of some recurring slots is higher. Null: that of all others, with the scatter of neighbouring times.
Correction: Bonferroni over all recurring times and groups. One bad day is not a cycle: most weeks (days) must show it.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from imageguard_daemon.audit.keys import distinct
from imageguard_daemon.reporting.finding import (
    ALPHA,
    Finding,
    evidence_against,
    group_in_words,
    reason_in_words,
    subject_of,
)
from imageguard_daemon.reporting.panel import Patterns, Series, Slots
from imageguard_daemon.reporting.questions.change import times_of
from imageguard_daemon.reporting.rises import is_clear
from imageguard_daemon.reporting.scatter import Scatter, scatter_of
from imageguard_daemon.reporting.statistics import chance_with_scatter, with_doubt
from imageguard_daemon.reporting.tallies import Tally
from imageguard_daemon.reporting.text import percent

if TYPE_CHECKING:
    from imageguard_daemon.config import Reporting

_GROUPS = ((), ("class",), ("source",), ("camera",))
_MIN_TURNS = 3
_MOSTLY = 0.75
"""In so many of the weeks (days) the time must be worse than the rest."""
_DAY_SECONDS, _HOUR_SECONDS = 86_400, 3_600
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MIN_BURSTS = 3


class Recurring(NamedTuple):
    """A time that comes again: its name in a sentence, its slots, and the turn (week or day) of each slot.

    `scatter` is that of all other slots: were it that of all, a cycle would hide itself.
    """

    name: str
    slots: npt.NDArray[np.bool_]
    turns: npt.NDArray[np.int64]
    scatter: Scatter = Scatter()


class _Found(NamedTuple):
    z: float
    chance: float
    where: dict[str, str]
    streams: npt.NDArray[np.bool_]
    time: Recurring


def cycles(seen: Patterns, settings: "Reporting") -> list[Finding]:
    """Give the times that are worse again and again, for all images or for a group, each cause once."""
    sources = seen.series("source")
    times = []
    for time in recurring(seen.panel.slots):
        others = ~time.slots
        scatter = scatter_of(sources.images[:, others], sources.rejected[:, others])
        times.append(time._replace(scatter=scatter))
    if not times:
        return []
    # The clearest first: a weekend is not told again as a Sunday, nor a class as its source.
    candidates = sorted(_found(seen, times, settings.min_sample), key=lambda cycle: -cycle.z)
    reported: list[_Found] = []
    for cycle in candidates:
        if not any((cycle.streams & other.streams).any() for other in reported):
            reported.append(cycle)
    return [_finding(cycle, seen) for cycle in reported]


def recurring(slots: Slots) -> list[Recurring]:
    """Give the times that recur often enough in a report: days of the week, or hours of the day."""
    begins = np.array([slots.begin(at) for at in range(slots.number)])
    days = begins // _DAY_SECONDS
    weekdays = (days + 3) % 7  # 1 January 1970 was a Thursday
    if slots.seconds == _DAY_SECONDS:
        weeks = (days + 3) // 7
        times = [Recurring(f"on {name}s", weekdays == at, weeks) for at, name in enumerate(_DAYS)]
        times.append(Recurring("at weekends", weekdays >= 5, weeks))
    elif slots.seconds == _HOUR_SECONDS:
        hours = begins % _DAY_SECONDS // _HOUR_SECONDS
        spans = [(first, first + length) for length in (1, 4) for first in range(0, 24, length)]
        times = [
            Recurring(f"from {first:02}:00 to {after:02}:00 UTC", (hours >= first) & (hours < after), days)
            for first, after in spans
        ]
    else:
        times = []  # longer or shorter parts of time begin at other hours each day

    def comes_often(time: Recurring) -> bool:
        return len(distinct(time.turns[time.slots])) >= _MIN_TURNS

    return list(filter(comes_often, times))


def _found(seen: Patterns, times: Sequence[Recurring], least: int) -> Iterator[_Found]:
    for fields in _GROUPS:
        series = seen.series(*fields)
        if fields and len(series.groups) < 2:
            continue
        is_enough = series.images.sum(axis=1) >= 2 * least
        looked_at = len(_GROUPS) * len(times) * int(is_enough.sum())
        for number, name in enumerate(series.groups.names):
            is_named = fields == () or any(name)
            if not is_named or series.rejected[number].sum() < _MIN_BURSTS:
                continue
            judged = (_judged(series, number, time, least) for time in times)
            best = max(filter(None, judged), key=lambda result: result[0], default=None)
            if best is None:
                continue
            z, chance, time = best
            if chance * looked_at < ALPHA:
                where = dict(zip(fields, name, strict=True))
                streams = series.groups.of_stream == number
                yield _Found(z, chance * looked_at, where, streams, time)


def _judged(series: Series, number: int, time: Recurring, least: int) -> tuple[float, float, Recurring] | None:
    images = series.images[number]
    rejected = series.rejected[number]
    n = images[time.slots].sum()
    y = rejected[time.slots].sum()
    others = images.sum() - n
    other_y = rejected.sum() - y
    if min(n, others) < least:
        return None
    rate = y / n
    other_rate = other_y / others
    if not is_clear(np.array(rate), np.array(other_rate)):
        return None
    pooled = rejected.sum() / images.sum()
    size = (images[time.slots] ** 2).sum() / n
    effect = float(series.factors[number] * time.scatter.effect_of(size, pooled))
    variance = pooled * (1 - pooled) * effect * (1 / n + 1 / others)
    z = (rate - other_rate) / variance**0.5
    if y < _MIN_BURSTS * effect or not _recurs(images, rejected, time, other_rate):
        return None
    chance = chance_with_scatter((y, n), (other_y, others), effect)
    return float(z), with_doubt(chance, time.scatter.degrees), time


def _recurs(images: npt.NDArray[np.float64], rejected: npt.NDArray[np.float64], time: Recurring, rate: float) -> bool:
    """Check whether it is worse in most turns that have images then, and in three at least."""
    _, turns = np.unique(time.turns[time.slots], return_inverse=True)
    n = np.bincount(turns, images[time.slots])
    y = np.bincount(turns, rejected[time.slots])
    had_images = n > 0
    is_worse = y[had_images] > rate * n[had_images]
    worse = np.count_nonzero(is_worse)
    looked_at = np.count_nonzero(had_images)
    return bool(worse >= _MIN_TURNS and worse >= _MOSTLY * looked_at)


def _finding(cycle: _Found, seen: Patterns) -> Finding:
    panel, slots = seen.panel, np.flatnonzero(cycle.time.slots)
    tallies = [panel.tally(cycle.streams, at, at + 1) for at in slots.tolist()]
    reasons: dict[str, int] = {}
    for tally in tallies:
        for reason, images in tally.reasons.items():
            reasons[reason] = reasons.get(reason, 0) + images
    within = Tally(sum(tally.total for tally in tallies), reasons)
    whole = panel.tally(cycle.streams)
    others = Tally(whole.total - within.total, {"": whole.rejected - within.rejected})
    excess = within.rejected - within.total * others.rate
    sentence = (
        f"{group_in_words(cycle.where)}: {cycle.time.name}, {percent(within.rate)} of {within.total:,} images are "
        f"rejected, {reason_in_words(within)}; else, {percent(others.rate)} of {others.total:,}. That is "
        f"{excess:,.0f} more than expected."
    )
    newest = datetime.fromtimestamp(panel.slots.begin(int(slots[-1])), UTC)
    look_at = f"Look at who and what delivers then, and at the light; the last such time was {newest:%Y-%m-%d}."
    evidence = evidence_against(within, others, cycle.chance)
    shows = times_of(panel.slots)
    return Finding("recurs", subject_of(cycle.where), sentence, look_at, evidence, cycle.where, shows=shows)
