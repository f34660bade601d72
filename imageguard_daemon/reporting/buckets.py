"""The parts of time that charts and tables of a report are about: minutes, hours, days or weeks, without gaps. Pure."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from imageguard_daemon.reporting.report import Report
from imageguard_daemon.reporting.tallies import Tally, together

DAY, WEEK = timedelta(days=1), timedelta(weeks=1)
_UNITS = {timedelta(hours=1): "hour", DAY: "day", WEEK: "week"}
_WEEKS_FROM = timedelta(days=100)
"""So much time is shown as weeks."""


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
    first, end = min(report.periods), max(report.periods) + size
    begin, since, until = first, report.scope.since or first, report.scope.until or end
    if size == DAY and end - first >= _WEEKS_FROM:
        size, begin = WEEK, first - timedelta(days=first.weekday())
        since, until = max(since, first), min(until, end)
    inside: defaultdict[int, list[Tally]] = defaultdict(list)
    for moment, tally in report.periods.items():
        inside[(moment - begin) // size].append(tally)
    for number in range(max(inside) + 1):
        one = begin + number * size
        yield Bucket(size, max(one, since), min(one + size, until), together(inside[number]))
