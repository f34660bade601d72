"""The overview: what the daemon does now, what was decided, what stands out; live without reloading."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from imageguard_daemon.core.locks import running_process
from imageguard_daemon.daemon import status
from imageguard_daemon.reporting.tables import reviewed_in_words, since_in_words
from imageguard_daemon.web.cache import NotReadyError
from imageguard_daemon.web.reports import PERIODS, Drawn, Reports
from imageguard_daemon.web.site import Site
from imageguard_daemon.web.templating import Renderer

WORST_SHOWN = 10
TIMES_SHOWN = 60


def pages(site: Site, render: Renderer, reports: Reports) -> APIRouter:
    """Give the routes of this page."""
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    def overview(request: Request, since: str = "24h") -> HTMLResponse:
        return render(request, "overview.html", **_overview(site, reports, since))

    @router.get("/live")
    def live(request: Request, since: str = "24h") -> HTMLResponse:
        return render(request, "live.html", **_overview(site, reports, since))

    return router


def _soon(reports: Reports, since: str) -> Drawn | None:
    try:
        return reports.soon(since)
    except NotReadyError:
        return None


def _overview(site: Site, reports: Reports, since: str) -> dict[str, Any]:
    drawn = _soon(reports, since)
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
