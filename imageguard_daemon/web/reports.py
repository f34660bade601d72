"""Reports and their charts for pages and API, each made once in a while however many ask."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from imageguard_daemon.audit.counts import Dimension, Scope
from imageguard_daemon.core.errors import UsageError
from imageguard_daemon.reporting.page import charts_over_time
from imageguard_daemon.reporting.period import PARAMETERS, parse_period
from imageguard_daemon.reporting.query import report_on
from imageguard_daemon.reporting.report import Bucket, Report, buckets_of
from imageguard_daemon.web.cache import PAGE_TIMEOUT_SECONDS, CachePolicy, StaleWhileRevalidate
from imageguard_daemon.web.filters import Filters
from imageguard_daemon.web.site import Site

if TYPE_CHECKING:
    from collections.abc import Callable

    from markupsafe import Markup

PERIODS = {"24h": "24 hours", "7d": "7 days", "30d": "30 days", "365d": "a year"}
_POLICY = CachePolicy(fresh_seconds=15.0, stale_seconds=60.0)


class Asked(NamedTuple):
    """What a report is to be about, as options of the command; without any, the whole log."""

    since: str = ""
    until: str = ""
    source: str | None = None
    class_name: str | None = None
    camera: str | None = None
    host: str | None = None
    preset: str | None = None

    def scope(self, now: datetime) -> Scope:
        """Give the decisions that are meant; UsageError for what is not a period."""
        return Scope(*parse_period(self.since or None, self.until or None, now, PARAMETERS), *self[2:])


class Drawn(NamedTuple):
    """A report with its charts by name, all of one moment.

    `times` are the buckets with rejections, the newest first, each with the address of its images.
    """

    report: Report
    charts: Mapping[str, "Markup"]
    times: Sequence[tuple[Bucket, str]]
    at: datetime


class Reports:
    """What was made of the log of one site; any thread may ask."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._reports: StaleWhileRevalidate[Report] = StaleWhileRevalidate(_POLICY)
        self._drawn: StaleWhileRevalidate[Drawn] = StaleWhileRevalidate(_POLICY)

    def of(self, asked: Asked, by: tuple[Dimension, ...] = (Dimension.class_,)) -> Report:
        """Give the report on what was asked for, however long it takes; UsageError for what there is not."""
        return self._reports.get((asked, by), lambda: self._make(asked, by))

    def soon(self, since: str) -> Drawn:
        """Give report and charts of one of `PERIODS` at once.

        Raises:
            UsageError: it is none of them.
            NotReadyError: it is being made.
        """
        if since not in PERIODS:
            raise UsageError(f"there is no period {since!r} here; known are {', '.join(PERIODS)}")
        return self._drawn.get(since, self._drawing(since), PAGE_TIMEOUT_SECONDS)

    def close(self) -> None:
        """Begin no more."""
        self._reports.close()
        self._drawn.close()

    def _drawing(self, since: str) -> "Callable[[], Drawn]":
        def draw() -> Drawn:
            report = self._make(Asked(since), (Dimension.class_,))
            charts = charts_over_time(report, lambda reason, bucket: _images(since, reason, bucket))
            rejecting = [one for one in reversed(buckets_of(report)) if one.tally.rejected]
            times = [(one, _images(since, "", one)) for one in rejecting]
            return Drawn(report, charts, times, self._site.now())

        return draw

    def _make(self, asked: Asked, by: tuple[Dimension, ...]) -> Report:
        now = self._site.now()
        with self._site.log() as log:
            return report_on(log, by, asked.scope(now), self._site.settings.reporting, now)


def _images(since: str, reason: str, bucket: Bucket | None) -> str:
    """Give the address of the images that were rejected in a bucket, or in the whole period."""
    begin, until = (_moment(bucket.begin), _moment(bucket.until)) if bucket else (since, "")
    return f"/quarantine?{Filters(reason=reason, state='all', since=begin, until=until).query()}"


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="auto")
