"""Has the rate risen in the last hours? A test that may be looked at again and again.

Model: a cumulative sum (Page's CUSUM) of log-likelihood ratios of each hour's rejections, of twice the usual odds
against the usual ones. The usual rate is that of four weeks before the last day. Null: the usual rate times what the
day has of its own, which is gamma-distributed (so that counts are negative binomial) and shared by the hours of a day;
bursts count as one image. However often it is looked at, the sum passes its limit by chance less than FALSE_A_YEAR
times a year, of all groups together: the mean time to a false alarm is at least exp(limit) hours (Lorden, DOI
10.1214/aoms/1177693055). An alarm is over when the sum of the opposite passes a limit of its own (hysteresis).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from imageguard_daemon.audit.aggregation import Cells
from imageguard_daemon.audit.keys import Keys
from imageguard_daemon.reporting.finding import (
    ALPHA,
    CLEARLY_HIGHER,
    Finding,
    evidence_against,
    got_worse,
    group_in_words,
    reason_in_words,
)
from imageguard_daemon.reporting.panel import MAX_CELLS, Counts, Groups, Panel, Patterns, number_of_streams, panel_of
from imageguard_daemon.reporting.questions.change import spoken
from imageguard_daemon.reporting.scatter import Scatter, own_factors, scatter_of
from imageguard_daemon.reporting.statistics import chance_of_difference
from imageguard_daemon.reporting.text import percent

if TYPE_CHECKING:
    from imageguard_daemon.config import Reporting

FALSE_A_YEAR = 1.0
_HOUR_SECONDS = 3_600
DAY_SLOTS, HOURS_A_YEAR = 24, 8_766
BASELINE_SLOTS = 28 * DAY_SLOTS
_MIN_BASELINE = 3 * DAY_SLOTS
_ODDS = 2.0
_OVER = math.log(24 * 28)
"""The sum at which an alarm is over."""
_MIN_RATE = 0.005
_DOUBT = 0.5
"""So many standard errors of the usual rate are added to it."""
_MIN_REJECTED = 3
_GROUPS = ((), ("source",), ("camera",), ("class",))
MAX_HOURS = 24 * 60
_ARRAYS = ("slots", "numbers", "images", "duplicates", "borderline")
_MAX_GROUPS = 500
"""Of each kind, those with the most images: classes by the thousand are left to reports."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """A rate that is higher in the slots from `begin` on, and was certain to be in the slot `raised`.

    `end` is the slot in which it was over, None if it is not.
    """

    begin: int
    raised: int
    end: int | None
    strength: float


@dataclass(frozen=True, slots=True)
class Spread:
    """How counts by hour scatter: so many images of each row count as one, and days differ for all rows.

    `day` is the squared coefficient of variation of days; the first slot is hour `begin` of its day.
    """

    bursts: Counts
    day: float = 0.0
    begin: int = 0


def alarms(images: Counts, rejected: Counts, spread: Spread, limit: float) -> list[list[Alarm]]:
    """Give the alarms of each row of counts by hour."""
    rows, slots = images.shape
    alarms_of: list[list[Alarm]] = [[] for _ in range(rows)]
    total = np.zeros(rows)
    back = np.zeros(rows)
    begin = np.zeros(rows, np.int64)
    on = np.zeros(rows, bool)
    usual, so_far = np.zeros(rows), np.zeros(rows)
    summed, summed_bad = _summed(images), _summed(rejected)
    for slot in range(_MIN_BASELINE + DAY_SLOTS, slots):
        last = slot - DAY_SLOTS
        first = max(0, last - BASELINE_SLOTS)
        n = summed[:, last] - summed[:, first]
        y = summed_bad[:, last] - summed_bad[:, first]
        # While an alarm lasts, what was usual stays: else the alarm would become the usual, and be over by itself.
        days = (last - first) / DAY_SLOTS
        usual = np.where(on, usual, _upper(n, y, spread, days))
        hour_of_day = (spread.begin + slot) % DAY_SLOTS
        midnight = max(slot - hour_of_day, _MIN_BASELINE + DAY_SLOTS)
        if midnight == slot:
            so_far = np.zeros(rows)
        today = summed[:, slot + 1] - summed[:, midnight]
        bad_today = summed_bad[:, slot + 1] - summed_bad[:, midnight]
        # The hours of a day share what the day has: the sum is of days, and of this one has what the last hour added.
        ratio = _ratio(today, bad_today, usual, spread)
        step = np.where(n > 0, ratio - so_far, 0.0)
        so_far = ratio
        begin = np.where(~on & (total <= 0) & (step > 0), slot, begin)
        total = np.maximum(total + step, 0.0) * ~on
        back = np.maximum(back - step, 0.0) * on
        starts = ~on & (total > limit)
        ends = on & (back > _OVER)
        for row in np.flatnonzero(starts).tolist():
            alarms_of[row].append(Alarm(int(begin[row]), slot, None, float(total[row])))
        for row in np.flatnonzero(ends).tolist():
            alarms_of[row][-1] = replace(alarms_of[row][-1], end=slot)
        on = (on | starts) & ~ends
        # What began and what ended is decided: both sums start at 0 again.
        total[starts] = 0.0
        back[ends] = 0.0
    return alarms_of


def _summed(rows: Counts) -> Counts:
    """Give sums up to each slot: of any time, the sum is a difference."""
    nothing = np.zeros((len(rows), 1))
    return np.concatenate((nothing, rows.cumsum(axis=1)), axis=1)


def limit_for(groups: int) -> float:
    """Give the limit of the sum for so many groups together."""
    return math.log(HOURS_A_YEAR * max(groups, 1) / FALSE_A_YEAR)


def _upper(images: Counts, rejected: Counts, spread: Spread, days: float) -> Counts:
    """Give the usual rate, with half its standard error on top: few images and few days say little."""
    few = images / spread.bursts
    bad = rejected / spread.bursts
    rate = (bad + 0.5) / (few + 1)  # never 0: none of few may yet be one of many
    by_bursts = rate * (1 - rate) / (few + 1)
    by_days = spread.day * rate**2 / days
    variance = by_bursts + by_days
    upper: Counts = np.clip(rate + _DOUBT * np.sqrt(variance), _MIN_RATE, 0.95)
    return upper


def _ratio(images: Counts, rejected: Counts, rate: Counts, spread: Spread) -> Counts:
    """Give the logarithm of how much likelier the counts of a day so far are at the higher rate than at the usual one.

    Negative binomial, with the variance of the binomial where days do not differ.
    """
    times = _ODDS / (1 + (_ODDS - 1) * rate)
    bursts = spread.bursts * (1 - rate)
    bad = rejected / bursts
    expected = images * rate / bursts
    if not spread.day:
        return bad * np.log(times) - expected * (times - 1)
    shape = 1 / spread.day
    odds = (times * expected + shape) / (expected + shape)
    ratio: Counts = bad * np.log(times) - (bad + shape) * np.log(odds)
    return ratio


def spread_of(images: Counts, rejected: Counts, scatter: Scatter, begin: int = 0) -> Spread:
    """Give how rows of counts by hour scatter; what a row has beyond `scatter`, that of all, counts as bursts."""
    days = by_day(images, begin)
    bad = by_day(rejected, begin)
    rates = bad.sum(axis=1) / np.maximum(days.sum(axis=1), 1)
    factors = own_factors(days, bad, scatter.effects(days, rates))
    return Spread(scatter.burst * factors, scatter.day, begin)


def by_day(hours: Counts, begin: int = 0) -> Counts:
    """Add up hours to days; the first slot is hour `begin` of its day."""
    starts = np.arange(-begin, hours.shape[1], DAY_SLOTS)
    days: Counts = np.add.reduceat(hours, np.maximum(starts, 0), axis=1)
    return days


def risen_now(seen: Patterns, settings: "Reporting") -> list[Finding]:
    """Give what is rejected more than usual and not over, each cause once; the panel must have slots of an hour."""
    panel = seen.panel
    if panel.slots.seconds != _HOUR_SECONDS or panel.slots.number <= _MIN_BASELINE + DAY_SLOTS:
        return []
    begin = panel.slots.first_second // _HOUR_SECONDS % DAY_SLOTS
    before = slice(-DAY_SLOTS)  # what begins now must not hide itself
    scatter = scatter_of(by_day(panel.images[:, before], begin), by_day(panel.rejected[:, before], begin))
    kinds = [panel.groups(*fields) for fields in _GROUPS]
    kinds = [kind for kind in kinds if not kind.fields or len(kind) > 1]
    limit = limit_for(sum(min(len(kind), _MAX_GROUPS) for kind in kinds))
    current: list[_Current] = []
    for kind in kinds:
        images = kind.sums(panel.images)
        rejected = kind.sums(panel.rejected)
        most = np.argsort(-images.sum(axis=1), kind="stable")[:_MAX_GROUPS]
        spread = spread_of(images[most, before], rejected[most, before], scatter, begin)
        raised = alarms(images[most], rejected[most], spread, limit)
        current += _not_over(kind, dict(zip(most.tolist(), raised, strict=True)))
    return _reported(current, seen, settings)


class _Current(NamedTuple):
    """A group with an alarm that is not over."""

    where: dict[str, str]
    streams: npt.NDArray[np.bool_]
    alarm: Alarm


def _not_over(kind: Groups, alarms_of: Mapping[int, Sequence[Alarm]]) -> Iterator[_Current]:
    for row, raised in alarms_of.items():
        is_named = "camera" not in kind.fields or any(kind.names[row])
        if raised and raised[-1].end is None and is_named:
            where = dict(zip(kind.fields, kind.names[row], strict=True))
            yield _Current(where, kind.of_stream == row, raised[-1])


def _reported(current: Sequence[_Current], seen: Patterns, settings: "Reporting") -> list[Finding]:
    """Give the findings of groups that have a cause of their own, what began first at the head."""
    reported: list[_Current] = []
    findings = []
    for group in sorted(current, key=lambda group: (group.alarm.begin, -group.alarm.strength)):
        finding = _finding(group.where, group.streams, group.alarm, seen)
        is_enough = finding.evidence["rejected"] >= _MIN_REJECTED and finding.sample_size >= settings.min_sample
        if is_enough and all(_is_its_own(group, before, seen.panel) for before in reported):
            reported.append(group)
            findings.append(finding)
    return findings


def _is_its_own(group: _Current, before: _Current, panel: Panel) -> bool:
    """Check whether an alarm has a cause of its own beside one reported before, of others that it is perhaps a part of.

    What was raised later, and is clearly worse than they are now, would else wait until they are over.
    """
    alarm = group.alarm
    if not (group.streams & before.streams).any():
        return True
    if alarm.raised <= before.alarm.raised:
        return False
    begin = max(alarm.begin, alarm.raised - DAY_SLOTS)
    ours = panel.tally(group.streams, begin)
    theirs = panel.tally(before.streams & ~group.streams, begin)
    chance = chance_of_difference((ours.rejected, ours.total), (theirs.rejected, theirs.total))
    return ours.rate >= CLEARLY_HIGHER * theirs.rate and chance < ALPHA


def _finding(where: dict[str, str], streams: npt.NDArray[np.bool_], alarm: Alarm, seen: Patterns) -> Finding:
    panel = seen.panel
    first = max(0, alarm.begin - BASELINE_SLOTS)
    now = panel.tally(streams, alarm.begin)
    before = panel.tally(streams, first, alarm.begin)
    why = f", {reason_in_words(now)}" if now.rejected else ""
    sentence = (
        f"{group_in_words(where)}: since {spoken(panel.slots, alarm.begin)}, {percent(now.rate)} of {now.total:,} "
        f"images were rejected{why}; in the {_days(alarm.begin - first)} before, {percent(before.rate)} of "
        f"{before.total:,}."
    )
    evidence = evidence_against(now, before, FALSE_A_YEAR / HOURS_A_YEAR)
    evidence |= {"since": panel.slots.begin(alarm.begin), "false_alarms_a_year": FALSE_A_YEAR}
    kind, subject = got_worse(where)
    look_at = "Look at what changed there then. `report` of the last days has examples."
    return Finding(kind, subject, sentence, look_at, evidence, where, scope=seen.scope)


def _days(hours: int) -> str:
    days = round(hours / DAY_SLOTS)
    return "four weeks" if days * DAY_SLOTS == BASELINE_SLOTS else f"{days} days"


def hourly_panel(cells: Cells) -> Panel:
    """Arrange counts by hour so that there are not too many streams: names are left out, those with most of them first.

    What has no names left is looked at with the rest of its kind only, as part of all images.
    """
    last = int(cells.slots.max(initial=0))
    hours = last - max(int(cells.slots.min(initial=last)), last - MAX_HOURS + 1) + 1
    recent = cells.slots > last - hours
    cells = replace(cells, **{name: getattr(cells, name)[recent] for name in _ARRAYS})
    for left_out in (("host", "preset"), ("class_name",), ("camera",), ("source",)):
        if number_of_streams(cells) <= MAX_CELLS // hours:
            break
        nameless = dict.fromkeys(left_out, "")
        keys = Keys.numbered(key and key._replace(**nameless) for key in cells.keys)
        cells = replace(cells, keys=keys)
    return panel_of(cells, MAX_HOURS)
