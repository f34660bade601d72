"""The report itself: what was asked, the numbers, and the findings, ready to be shown in any form.

Charts and tables show its time in buckets of minutes, hours, days or weeks, without gaps.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from imageguard_daemon.audit.counts import PERIODS, Count, Dimension, RecordedImage, Scope
from imageguard_daemon.audit.keys import Numbers
from imageguard_daemon.audit.reviewed_images import ReviewCount
from imageguard_daemon.reporting.finding import Finding
from imageguard_daemon.reporting.findings import find_patterns
from imageguard_daemon.reporting.panel import Counts, Panel, Patterns, panel_of_tallies
from imageguard_daemon.reporting.questions.boundary import Missed
from imageguard_daemon.reporting.questions.oddities import Later, stamped_later
from imageguard_daemon.reporting.score_stats import NearThreshold, Percentiles, ScoreStats, percentiles
from imageguard_daemon.reporting.sizes import Bands
from imageguard_daemon.reporting.tallies import (
    Recall,
    Reviewed,
    Tally,
    Trend,
    recall,
    reviewed,
    reviewed_by,
    tallies_at,
    tallies_by,
    tally,
    together,
    trend,
)

if TYPE_CHECKING:
    from imageguard_daemon.config import Reporting


Grouping = tuple[Dimension, ...]
EVERYTHING: Grouping = (Dimension.class_, Dimension.source, Dimension.camera)
"""What findings look at, whatever a report is grouped by; also what totals are made from."""
_SLOTS_MS = (86_400_000, 3_600_000, 300_000)
_MIN_SLOTS = 6
"""The longest part of time of which a report has so many is what changes are looked for in."""
_SHORT = timedelta(days=4)
_HOUR = timedelta(hours=1)
DAY, WEEK = timedelta(days=1), timedelta(weeks=1)
_UNITS = {timedelta(hours=1): "hour", DAY: "day", WEEK: "week"}
_WEEKS_FROM = timedelta(days=100)
"""So much time is shown as weeks."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the log has to say: `counts` for each of `groupings_for`, `earlier` the same for the period before."""

    counts: Mapping[Grouping, Sequence[Count]]
    earlier: Mapping[Grouping, Sequence[Count]] | None = None
    score_stats: ScoreStats | None = None
    images: Mapping[int, RecordedImage] = field(default_factory=dict)
    bands: Mapping[str, Bands] = field(default_factory=dict)
    of_a_log: bool = True
    """Whether they are of a log, not of a folder judged in place."""
    later: Later | None = None
    reviews: Sequence[ReviewCount] | None = None
    end: datetime | None = None
    """When the report ends; None with its last image."""
    panel: Panel | None = None
    """The same counts by stream and time, for findings; without one they know nothing of time."""
    missed: Sequence[Missed] = ()
    """Thresholds that many images miss by little, with what lower ones would decide."""


@dataclass(frozen=True, slots=True)
class Report:
    """All numbers of one report.

    `groups` are in the order to show: periods as they went by, reasons by frequency, all others worst first; a key for
    each dimension of `by`. In a report by reason a group's `total` is that of all images: its rate is the share of all
    that this reason cost. `before` are the groups in the period before, where there is one to compare with.
    """

    by: Grouping
    scope: Scope
    overall: Tally
    groups: Mapping[tuple[str, ...], Tally]
    findings: tuple[Finding, ...]
    rejection_rate_limit: float
    before: Mapping[tuple[str, ...], Tally] = field(default_factory=dict)
    trend: Trend | None = None
    percentiles: tuple[Percentiles, ...] = ()
    nearest: tuple[tuple[NearThreshold, RecordedImage | None], ...] = ()
    score_stats: ScoreStats | None = None
    classes: Mapping[str, Tally] = field(default_factory=dict)
    cameras: Mapping[str, Tally] = field(default_factory=dict)
    periods: Mapping[datetime, Tally] = field(default_factory=dict)
    """What was decided in the `period` that begins at a moment: a day, or in a short report an hour or some minutes."""
    period: timedelta = timedelta(days=1)
    examples: tuple[RecordedImage, ...] = ()
    """The newest rejected images of the most frequent reasons, as far as they were not archived."""
    reviewed: Reviewed | None = None
    """What people said of the images; None of a folder that was judged in place."""
    reviewed_groups: Mapping[tuple[str, ...], Reviewed] = field(default_factory=dict)
    """The same of groups that have some."""

    @property
    def borderline(self) -> int:
        """Images that a person should look at first, whatever their verdict."""
        return self.score_stats.borderline_images if self.score_stats else 0

    @property
    def in_quarantine(self) -> int:
        """Images that the daemon or people rejected, and that nobody released or deleted since."""
        return (self.reviewed or Reviewed()).in_quarantine(self.overall.rejected)

    @property
    def recall(self) -> Recall | None:
        """The estimated share of the bad images that were rejected; None where reviews do not say."""
        rejected = self.overall.rejected
        return recall(self.reviewed, rejected, self.overall.total - rejected) if self.reviewed else None


def groupings_for(by: Grouping, span: timedelta) -> tuple[Grouping, ...]:
    """Give what must be counted for a report on so much time."""
    asked = _asked(by)
    period = Dimension.hour if span <= _SHORT else Dimension.day
    is_within = set(asked) <= set(EVERYTHING)
    groupings = (EVERYTHING, (period,)) if is_within else (EVERYTHING, asked, (period,))
    return tuple(dict.fromkeys(groupings))


def groupings_before(by: Grouping) -> tuple[Grouping, ...]:
    """Give what must be counted of the period before: nothing by time, for its days are others."""
    if any(dimension in PERIODS for dimension in by):
        return (EVERYTHING,)
    return tuple(dict.fromkeys((EVERYTHING, _asked(by) or EVERYTHING)))


def period_before(scope: Scope, now: datetime | None) -> Scope | None:
    """Give the equally long period that ends where this one begins; None where it has no beginning or no end."""
    end = scope.until or now
    if scope.since is None or end is None or end <= scope.since:
        return None
    try:
        begin = scope.since - (end - scope.since)
    except OverflowError:
        return None
    return replace(scope, since=begin, until=scope.since)


def make_report(by: Grouping, scope: Scope, facts: Facts, settings: "Reporting") -> Report:
    """Turn the facts into a report."""
    everything = facts.counts[EVERYTHING]
    overall = tally(everything)
    earlier = facts.earlier
    in_time = any(dimension in PERIODS for dimension in by)
    findings = find_patterns(_patterns(facts, scope), settings)
    return Report(
        by=by,
        scope=scope,
        overall=overall,
        groups=_groups(by, facts.counts),
        findings=(*findings, *stamped_later(facts.later, scope)),
        rejection_rate_limit=settings.rejection_rate_limit,
        before=_groups(by, earlier) if earlier is not None and not in_time else {},
        trend=trend(overall, tally(earlier[EVERYTHING])) if earlier is not None else None,
        percentiles=percentiles(facts.score_stats.histogram) if facts.score_stats else (),
        nearest=_nearest(facts),
        score_stats=facts.score_stats,
        classes=tallies_at(EVERYTHING.index(Dimension.class_), everything),
        cameras=tallies_at(EVERYTHING.index(Dimension.camera), everything),
        **_series(facts),
        examples=_examples(facts, overall),
        **_reviewed(by, facts.reviews),
    )


def _patterns(facts: Facts, scope: Scope) -> Patterns:
    panel = facts.panel or _panel_of(facts.counts[EVERYTHING])
    by_one_rule, newest = None, None
    if facts.score_stats:
        by_one_rule, newest = _by_stream(facts.score_stats, panel)
    return Patterns(
        panel,
        facts.missed,
        facts.bands,
        by_one_rule,
        newest,
        end_second=facts.end.timestamp() if facts.end else None,
        of_a_log=facts.of_a_log,
        scope=scope,
    )


def _reviewed(by: Grouping, reviews: Sequence[ReviewCount] | None) -> dict[str, Any]:
    if reviews is None:
        return {}
    return {"reviewed": reviewed(reviews), "reviewed_groups": reviewed_by(by, reviews)}


def slot_ms(span_ms: int) -> int:
    """Give the part of time in which a report of this length is looked at."""
    return next((slot for slot in _SLOTS_MS if span_ms >= _MIN_SLOTS * slot), _SLOTS_MS[-1])


def _panel_of(everything: Sequence[Count]) -> Panel:
    groups = tallies_by(range(len(EVERYTHING)), everything)
    fields = [str(dimension) for dimension in EVERYTHING]
    return panel_of_tallies((dict(zip(fields, keys, strict=True)), group) for keys, group in groups.items())


def _by_stream(score_stats: ScoreStats, panel: Panel) -> tuple[Counts | None, Numbers | None]:
    """Give what score stats have of keys for streams: rejections by one rule, and the newest rejected decision."""
    with_stream = np.flatnonzero(panel.stream_of_key >= 0)
    if len(score_stats.newest) != len(panel.stream_of_key):
        return None, None
    streams = panel.stream_of_key[with_stream]
    newest = np.zeros(len(panel.streams), np.int64)
    np.maximum.at(newest, streams, score_stats.newest[with_stream])
    if score_stats.by_one_rule is None:
        return None, newest
    rejected = np.bincount(streams, score_stats.by_one_rule[with_stream], minlength=len(newest))
    return rejected.astype(float), newest


def _series(facts: Facts) -> dict[str, Any]:
    # Parts of an hour are known to the panel alone: what is counted by time has hours at best.
    if facts.panel and facts.panel.slots.seconds < _HOUR.total_seconds():
        slots = facts.panel.slots
        tallies = facts.panel.tallies_of_slots()
        begins = (datetime.fromtimestamp(slots.begin(slot), UTC) for slot in range(slots.number))
        periods = dict(zip(begins, tallies, strict=True))
        return {"periods": periods, "period": timedelta(seconds=slots.seconds)}
    days = tallies_at(0, facts.counts.get((Dimension.day,), ()))
    hours = tallies_at(0, facts.counts.get((Dimension.hour,), ()))
    # One hour more than fits: a report may begin and end within an hour.
    is_short = hours and (not days or len(hours) <= _SHORT // _HOUR + 1)
    counted = hours if is_short else days
    series = {_begin_of(name): tally for name, tally in counted.items()}
    return {"periods": series, "period": _HOUR if is_short else DAY}


def _begin_of(period: str) -> datetime:
    """Read `2025-01-31`, or an hour as `2025-01-31T08`."""
    return datetime.fromisoformat(f"{period}:00" if "T" in period else period).replace(tzinfo=UTC)


def _asked(by: Grouping) -> Grouping:
    """Give what is counted to group by this: every count has a reason anyway."""
    return tuple(dimension for dimension in by if dimension is not Dimension.reason)


def _examples(facts: Facts, overall: Tally) -> tuple[RecordedImage, ...]:
    by_reason = facts.score_stats.examples if facts.score_stats else {}
    ids = [number for reason in overall.ranked_reasons() for number in by_reason.get(reason, ())]
    return tuple(facts.images[number] for number in ids if number in facts.images)


def _nearest(facts: Facts) -> tuple[tuple[NearThreshold, RecordedImage | None], ...]:
    if not facts.score_stats:
        return ()
    nearest = (*facts.score_stats.rejected_nearest, *facts.score_stats.accepted_nearest)
    return tuple((near, facts.images.get(near.id)) for near in nearest)


def _groups(by: Grouping, counts: Mapping[Grouping, Sequence[Count]]) -> dict[tuple[str, ...], Tally]:
    asked = _asked(by)
    counted = asked if asked in counts else EVERYTHING
    positions = [counted.index(dimension) for dimension in asked]
    groups = tallies_by(positions, counts[counted])
    if Dimension.reason in by:
        at = by.index(Dimension.reason)
        groups = {
            (*keys[:at], reason, *keys[at:]): Tally(group.total, {reason: images})
            for keys, group in groups.items()
            for reason, images in group.reasons.items()
        }
    return dict(sorted(groups.items(), key=lambda group: _order(by, *group)))


def _order(by: Grouping, keys: tuple[str, ...], group: Tally) -> tuple[object, ...]:
    """Rank by time, then by the low end of the interval: 1 of 1 rejected says less than 90 of 100."""
    periods = tuple(key for key, dimension in zip(keys, by, strict=True) if dimension in PERIODS)
    return periods, -group.interval[0], -group.total, keys


@dataclass(frozen=True, slots=True)
class Bucket:
    """What was decided in one part of time; weeks begin on Monday.

    `begin` and `until` are cut to the report. A bucket that `is_part` of an hour, day or week would look like a drop.
    """

    size: timedelta
    begin: datetime
    until: datetime
    tally: Tally

    @property
    def unit(self) -> str:
        """How long it is when it is whole, in words."""
        return _UNITS.get(self.size, f"{self.size // timedelta(minutes=1)} minutes")

    @property
    def is_part(self) -> bool:
        """Whether the report has only a part of it."""
        return self.until - self.begin < self.size

    @property
    def name(self) -> str:
        """When it is, for people."""
        if self.size == DAY and not self.is_part:
            return f"{self.begin:%Y-%m-%d}"
        part = " (part)" if self.is_part else ""
        if self.size == WEEK:
            return f"{self.begin:%Y-%m-%d} to {self.until - timedelta(microseconds=1):%Y-%m-%d}{part}"
        end = f"{self.until:%H:%M}" if self.until.date() == self.begin.date() else "24:00"
        return f"{self.begin:%Y-%m-%d %H:%M} to {end}{part}"


def buckets_of(report: Report) -> list[Bucket]:
    """Give the buckets from the first with an image to the last, those without any as well."""
    return list(_buckets(report)) if report.periods else []


def _buckets(report: Report) -> Iterator[Bucket]:
    size = report.period
    first = min(report.periods)
    end = max(report.periods) + size
    begin = first
    since = report.scope.since or first
    until = report.scope.until or end
    if size == DAY and end - first >= _WEEKS_FROM:
        size = WEEK
        begin = first - timedelta(days=first.weekday())
        # The log's own ends: a week of which it has a part is drawn as a part.
        since = max(since, first)
        until = min(until, end)
    inside: defaultdict[int, list[Tally]] = defaultdict(list)
    for moment, part in report.periods.items():
        inside[(moment - begin) // size].append(part)
    for number in range(max(inside) + 1):
        start = begin + number * size
        yield Bucket(size, max(start, since), min(start + size, until), together(inside[number]))
