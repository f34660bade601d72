"""Reports for pages and programs, each made once in a while; and the overview, live without reloading."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from imageguard_daemon.audit.counts import Dimension, Scope
from imageguard_daemon.core.errors import UsageError
from imageguard_daemon.core.locks import running_process
from imageguard_daemon.daemon import status
from imageguard_daemon.reporting.page import charts_over_time
from imageguard_daemon.reporting.period import PARAMETERS, parse_period
from imageguard_daemon.reporting.query import report_on
from imageguard_daemon.reporting.rendering import reviewed_in_words, since_in_words
from imageguard_daemon.reporting.report import Bucket, Report, buckets_of
from imageguard_daemon.web.cache import CachePolicy, SingleFlight, StaleWhileRevalidate
from imageguard_daemon.web.filters import Filters
from imageguard_daemon.web.site import Site
from imageguard_daemon.web.templating import Renderer

if TYPE_CHECKING:
    from collections.abc import Callable

    from markupsafe import Markup

PERIODS = {"24h": "24 hours", "7d": "7 days", "30d": "30 days", "365d": "a year"}
_POLICY = CachePolicy(fresh_seconds=15.0, stale_seconds=60.0)
_BY_CLASS = (Dimension.class_,)
WORST_SHOWN = 10
TIMES_SHOWN = 60


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

    def of(self, asked: Asked, by: tuple[Dimension, ...] = _BY_CLASS) -> Report:
        """Give the report on what was asked for, however long it takes; UsageError for what there is not."""
        drawn = self._drawn.fresh(asked.since) if (asked, by) == (Asked(asked.since), _BY_CLASS) else None
        if drawn:
            return drawn.report
        return self._reports.get((asked, by), lambda: self._make(asked, by))

    def soon(self, since: str) -> Drawn | None:
        """Give report and charts of one of `PERIODS` at once; None while they are being made.

        Raises:
            UsageError: it is none of them.
        """
        if since not in PERIODS:
            raise UsageError(f"there is no period {since!r} here; known are {', '.join(PERIODS)}")
        return self._drawn.soon(since, self._drawing(since))

    def close(self) -> None:
        """Begin no more."""
        self._reports.close()
        self._drawn.close()

    def _drawing(self, since: str) -> "Callable[[], Drawn]":
        def draw() -> Drawn:
            report = self._make(Asked(since), _BY_CLASS)
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


def pages(site: Site, render: Renderer, reports: Reports) -> APIRouter:
    """Give the routes of this page."""
    router = APIRouter(include_in_schema=False)
    looks: SingleFlight[dict[str, Any]] = SingleFlight()

    @router.get("/")
    async def overview(request: Request, since: str = "24h") -> HTMLResponse:
        return render(request, "overview.html", **await looks.get(since, lambda: _overview(site, reports, since)))

    @router.get("/live")
    async def live(request: Request, since: str = "24h") -> HTMLResponse:
        return render(request, "live.html", **await looks.get(since, lambda: _overview(site, reports, since)))

    return router


def _overview(site: Site, reports: Reports, since: str) -> dict[str, Any]:
    drawn = reports.soon(since)
    process_id = None if site.is_fleet else running_process(site.settings.state_folder)
    report = drawn.report if drawn else None
    return {
        "since": since,
        "periods": PERIODS,
        "process_id": process_id,
        "is_fleet": site.is_fleet,
        "daemon": status.read(site.settings.state_folder) if process_id else None,
        "report": report,
        "acted_on": since_in_words(report) if report else "",
        "reviewed": list(reviewed_in_words(report)) if report else [],
        "charts": drawn.charts if drawn else {},
        "counted_at": f"{drawn.at:%H:%M:%S} UTC" if drawn else "",
        "worst": [(kind, _worst(groups)) for kind, groups in (("class", report.classes), ("camera", report.cameras))]
        if report
        else [],
        "times": drawn.times[:TIMES_SHOWN] if drawn else [],
        "moment": site.now().strftime("%H:%M:%S UTC"),
    }


def _worst(groups: Any) -> list[tuple[str, Any]]:
    """Rank by the low end of the interval, as reports do: 1 of 1 rejected says less than 90 of 100."""
    rejecting = [(name, one) for name, one in groups.items() if one.rejected]
    return sorted(rejecting, key=lambda pair: (-pair[1].interval[0], -pair[1].total, pair[0]))[:WORST_SHOWN]
