"""Has the rate risen in the last hours? A test that may be looked at again and again.

Model: a cumulative sum (Page's CUSUM) of log-likelihood ratios of each hour's rejections, of twice the usual odds
against the usual ones, divided by the design effect of days. The usual rate is that of four weeks before the last day.
Null: the usual rate. However often it is looked at, the sum passes its limit by chance less than FALSE_A_YEAR times a
year, of all groups together: the mean time to a false alarm is at least exp(limit) hours (Lorden, DOI
10.1214/aoms/1177693055). An alarm is over when the sum of the opposite passes a limit of its own (hysteresis).
"""

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from imageguard_daemon.audit.cells import Cells
from imageguard_daemon.reporting.finding import Finding, evidence_of, group_in_words, reason_in_words, subject_of
from imageguard_daemon.reporting.panel import MOST_CELLS, Counts, Panel, panel_of, streams_in
from imageguard_daemon.reporting.patterns import Patterns
from imageguard_daemon.reporting.questions.change import spoken
from imageguard_daemon.reporting.scatter import Scatter, own_factors, scatter_of
from imageguard_daemon.reporting.tallies import Tally
from imageguard_daemon.reporting.wording import percent

if TYPE_CHECKING:
    from imageguard_daemon.config import Reporting

FALSE_A_YEAR = 1.0
_HOUR_SECONDS = 3_600
DAY_SLOTS, HOURS_A_YEAR = 24, 8_766
BASELINE_SLOTS = 28 * DAY_SLOTS
_LEAST_BASELINE = 3 * DAY_SLOTS
_ODDS = 2.0
_OVER = math.log(24 * 28)
"""The sum at which an alarm is over."""
_LEAST_RATE = 0.005
_LEAST_REJECTED = 3
_GROUPS = ((), ("source",), ("camera",), ("class",))
MOST_HOURS = 24 * 60
_ARRAYS = ("slots", "numbers", "images", "duplicates", "borderline")
_MOST_GROUPS = 500
"""Of each kind, those with the most images: classes by the thousand are left to reports."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """A rate that is higher in the slots from `begin` on; `end` is the slot in which it was over, None if it is not."""

    begin: int
    told: int
    end: int | None
    strength: float


def alarms(images: Counts, rejected: Counts, effects: Counts, limit: float) -> list[list[Alarm]]:
    """Give the alarms of each row of counts by hour; `effects` says how many images count as one."""
    rows, slots = images.shape
    found: list[list[Alarm]] = [[] for _ in range(rows)]
    total, back, begin = np.zeros(rows), np.zeros(rows), np.zeros(rows, np.int64)
    on = np.zeros(rows, bool)
    usual = np.zeros(rows)
    summed, summed_bad = (
        np.concatenate((np.zeros((rows, 1)), part.cumsum(axis=1)), axis=1) for part in (images, rejected)
    )
    for slot in range(_LEAST_BASELINE + DAY_SLOTS, slots):
        last, first = slot - DAY_SLOTS, max(0, slot - DAY_SLOTS - BASELINE_SLOTS)
        n, y = summed[:, last] - summed[:, first], summed_bad[:, last] - summed_bad[:, first]
        usual = np.where(on, usual, _upper(n, y, effects))
        step = _ratio(images[:, slot], rejected[:, slot], usual) / effects
        step = np.where(n > 0, step, 0.0)
        begin = np.where(~on & (total <= 0) & (step > 0), slot, begin)
        total = np.maximum(total + step, 0.0) * ~on
        back = np.maximum(back - step, 0.0) * on
        for row in np.flatnonzero(~on & (total > limit)).tolist():
            found[row].append(Alarm(int(begin[row]), slot, None, float(total[row])))
        for row in np.flatnonzero(on & (back > _OVER)).tolist():
            started = found[row][-1]
            found[row][-1] = Alarm(started.begin, started.told, slot, started.strength)
        started_now, ended_now = ~on & (total > limit), on & (back > _OVER)
        on = (on | started_now) & ~ended_now
        total, back = np.where(started_now, 0.0, total), np.where(ended_now, 0.0, back)
    return found


def limit_for(groups: int) -> float:
    """Give the limit of the sum for so many groups together."""
    return math.log(HOURS_A_YEAR * max(groups, 1) / FALSE_A_YEAR)


def _upper(images: Counts, rejected: Counts, effects: Counts) -> Counts:
    """Give the usual rate, with its standard error on top: few images say little."""
    few, bad = images / effects, rejected / effects
    rate = (bad + 0.5) / (few + 1)
    upper: Counts = np.clip(rate + np.sqrt(rate * (1 - rate) / (few + 1)), _LEAST_RATE, 0.95)
    return upper


def _ratio(images: Counts, rejected: Counts, rate: Counts) -> Counts:
    higher = _ODDS * rate / (1 + (_ODDS - 1) * rate)
    ratio: Counts = rejected * np.log(higher / rate) + (images - rejected) * np.log((1 - higher) / (1 - rate))
    return ratio


def daily_effects(images: Counts, rejected: Counts, scatter: Scatter) -> Counts:
    """Give how many images of each row count as one; hours of one day share what days have of their own."""
    days, bad = by_day(images), by_day(rejected)
    effects = scatter.effects(days, bad.sum(axis=1) / np.maximum(days.sum(axis=1), 1))
    combined: Counts = effects * own_factors(days, bad, effects)
    return combined


def by_day(hours: Counts) -> Counts:
    """Add up hours to days, backwards from the last."""
    whole = hours.shape[1] // DAY_SLOTS * DAY_SLOTS
    days: Counts = hours[:, hours.shape[1] - whole :].reshape(len(hours), -1, DAY_SLOTS).sum(axis=2)
    return days


def risen_now(seen: Patterns, settings: "Reporting") -> list[Finding]:
    """Give what is rejected more than usual and not over, each cause once; the panel must have slots of an hour."""
    panel = seen.panel
    if panel.slots.seconds != _HOUR_SECONDS or panel.slots.number <= _LEAST_BASELINE + DAY_SLOTS:
        return []
    scatter = scatter_of(by_day(panel.images), by_day(panel.rejected))
    kinds = [panel.groups(*fields) for fields in _GROUPS]
    kinds = [kind for kind in kinds if not kind.fields or len(kind) > 1]
    limit = limit_for(sum(min(len(kind), _MOST_GROUPS) for kind in kinds))
    found: list[tuple[float, dict[str, str], npt.NDArray[np.bool_], Alarm]] = []
    for kind in kinds:
        images, rejected = kind.sums(panel.images), kind.sums(panel.rejected)
        most = np.argsort(-images.sum(axis=1), kind="stable")[:_MOST_GROUPS]
        effects = daily_effects(images[most], rejected[most], scatter)
        for row, each in zip(most.tolist(), alarms(images[most], rejected[most], effects, limit), strict=True):
            named = not kind.fields or "camera" not in kind.fields or any(kind.names[row])
            if each and each[-1].end is None and named:
                where = dict(zip(kind.fields, kind.names[row], strict=True))
                found.append((each[-1].strength, where, kind.of_stream == row, each[-1]))
    told: list[npt.NDArray[np.bool_]] = []
    findings = []
    for _, where, chosen, alarm in sorted(found, key=lambda one: (one[3].begin, -one[0])):
        finding = _finding(where, chosen, alarm, seen)
        enough = finding.evidence["rejected"] >= _LEAST_REJECTED and finding.sample_size >= settings.min_sample
        if enough and not any((chosen & before).any() for before in told):
            told.append(chosen)
            findings.append(finding)
    return findings


def _finding(where: dict[str, str], chosen: npt.NDArray[np.bool_], alarm: Alarm, seen: Patterns) -> Finding:
    panel = seen.panel
    first = max(0, alarm.begin - BASELINE_SLOTS)
    now, before = panel.tally(chosen, alarm.begin), panel.tally(chosen, first, alarm.begin)
    why = f", {reason_in_words(now)}" if now.rejected else ""
    sentence = (
        f"{group_in_words(where)}: since {spoken(panel.slots, alarm.begin)}, {percent(now.rate)} of {now.total:,} "
        f"images were rejected{why}; in the {_days(alarm.begin - first)} before, {percent(before.rate)} of "
        f"{before.total:,}."
    )
    others = Tally(before.total, {"": before.rejected})
    compared = {"others_total": others.total, "others_rejected": others.rejected, "others_rate": others.rate}
    evidence = evidence_of(now, before.rate, FALSE_A_YEAR / HOURS_A_YEAR) | compared
    what = "_and_".join(where) or "all"
    subject = subject_of(where) if len(where) != 1 else next(iter(where.values()))
    look_at = "Look at what changed there then. `report` of the last days has examples."
    evidence |= {"since": panel.slots.begin(alarm.begin), "false_alarms_a_year": FALSE_A_YEAR}
    return Finding(f"{what}_got_worse", subject, sentence, look_at, evidence, where, scope=seen.scope)


def _days(hours: int) -> str:
    days = round(hours / DAY_SLOTS)
    return "four weeks" if days * DAY_SLOTS == BASELINE_SLOTS else f"{days} days"


def hourly_panel(cells: Cells) -> Panel:
    """Arrange counts by hour so that there are not too many streams: names are left out, those with most of them first.

    What has no names left is looked at with the rest of its kind only, as part of all images.
    """
    last = int(cells.slots.max(initial=0))
    hours = last - max(int(cells.slots.min(initial=last)), last - MOST_HOURS + 1) + 1
    recent = cells.slots > last - hours
    cells = replace(cells, **{name: getattr(cells, name)[recent] for name in _ARRAYS})
    for left_out in (("host", "preset"), ("class_name",), ("camera",), ("source",)):
        if len(streams_in(cells)) <= MOST_CELLS // hours:
            break
        keys = [key and key._replace(**dict.fromkeys(left_out, "")) for key in cells.keys]
        cells = replace(cells, keys=keys)
    return panel_of(cells, MOST_HOURS)
