"""The pages that only look: overview, quarantine, one decision."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import HTMLResponse, Response

from imageguard_daemon.audit.counts import Dimension, Scope
from imageguard_daemon.audit.listing import decision_row
from imageguard_daemon.audit.quarantined import STATE_AFTER, Rejected, page, reviews_of
from imageguard_daemon.errors import UsageError
from imageguard_daemon.model import ISSUES, SCORE_NAMES, Measures
from imageguard_daemon.quality.policy import thresholds_for
from imageguard_daemon.reporting.gathering import report_on
from imageguard_daemon.reporting.page import charts_over_time
from imageguard_daemon.reporting.period import parse_period
from imageguard_daemon.reporting.report import Report
from imageguard_daemon.reporting.wording import measured_in_words
from imageguard_daemon.service import status
from imageguard_daemon.service.locking import running_process
from imageguard_daemon.web.checking import bars_of
from imageguard_daemon.web.filters import ORDERS, STATE_NAMES, Filters
from imageguard_daemon.web.pictures import Thumbnails, place_of, whole
from imageguard_daemon.web.rendering import Renderer
from imageguard_daemon.web.site import Remembered, Site

PAGE_SIZE = 24
NEAREST_OF = 1_000
"""How many of the newest are put in order of their distance: a page must not read a log of millions."""
PERIODS = {"24h": "24 hours", "7d": "7 days", "30d": "30 days", "365d": "a year"}
REPORT_SECONDS = 15.0
_LARGEST_ID = (1 << 63) - 1
DecisionId = Annotated[int, Path(ge=1, le=_LARGEST_ID)]
PICTURE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "private, max-age=3600",
    "Content-Disposition": "inline",
}


class Reports:
    """Reports for pages and API, each made once in a while however many ask."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._made: Remembered[Report] = Remembered(REPORT_SECONDS)

    def of(self, since: str, by: tuple[Dimension, ...] = (Dimension.class_,)) -> Report:
        """Give the report on what was decided since then; UsageError for what is no time."""
        return self._made.get((since, by), lambda: self._make(since, by))

    def _make(self, since: str, by: tuple[Dimension, ...]) -> Report:
        now = datetime.now(UTC)
        scope = Scope(parse_period(since, None, now)[0] if since else None)
        with self._site.log() as engine:
            return report_on(engine, by, scope, self._site.settings.reporting, now)


def pages(site: Site, render: Renderer, reports: Reports) -> APIRouter:
    """Give the routes of these pages."""
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    def overview(request: Request, since: str = "24h") -> HTMLResponse:
        return render(request, "overview.html", **_overview(site, reports, since))

    @router.get("/live")
    def live(request: Request, since: str = "24h") -> HTMLResponse:
        return render(request, "live.html", **_overview(site, reports, since))

    @router.get("/charts/{which}.svg")
    def chart(which: str, since: str = "24h") -> Response:
        drawn = charts_over_time(reports.of(_known(since)))
        if which not in drawn:
            return Response("no such chart\n", 404)
        headers = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox"}
        return Response(str(drawn[which]), media_type="image/svg+xml", headers=headers)

    @router.get("/quarantine")
    def quarantine(request: Request, after: Annotated[int | None, Query(ge=0, le=_LARGEST_ID)] = None) -> HTMLResponse:
        filters = Filters.of(request.query_params)
        images, more = _page(site, filters, after)
        choices = {"reasons": ISSUES, "states": STATE_NAMES, "orders": ORDERS, "scores": ("score", *SCORE_NAMES)}
        return render(request, "quarantine.html", filters=filters, images=images, more=more, after=after, **choices)

    @router.get("/decisions/{number}")
    def decision(request: Request, number: DecisionId) -> HTMLResponse:
        with site.log() as engine:
            row = decision_row(engine, number)
            history = reviews_of(engine, number) if row else []
            place = place_of(engine, site.settings, number) if row else None
        if row is None:
            return render(request, "error.html", 404, message=f"There is no decision {number} in this log.")
        return render(
            request,
            "decision.html",
            **_decision(row),
            history=history,
            is_there=place is not None,
            state=state_of(history),
        )

    return router


def pictures(site: Site, thumbnails: Thumbnails) -> APIRouter:
    """Give the routes of pictures."""
    router = APIRouter(include_in_schema=False)

    @router.get("/decisions/{number}/thumbnail")
    def thumbnail(number: DecisionId) -> Response:
        with site.log() as engine:
            place = place_of(engine, site.settings, number)
        jpeg = thumbnails.of(*place) if place else b""
        return Response(jpeg, media_type="image/jpeg", headers=PICTURE_HEADERS) if jpeg else Response(status_code=404)

    @router.get("/decisions/{number}/image")
    def image(number: DecisionId) -> Response:
        with site.log() as engine:
            place = place_of(engine, site.settings, number)
        data, media_type = whole(*place) if place else (b"", "")
        if not data:
            return Response("not shown: gone, changed since, too large, or of a format browsers do not show\n", 404)
        return Response(data, media_type=media_type, headers=PICTURE_HEADERS)

    return router


def _known(since: str) -> str:
    if since not in PERIODS:
        raise UsageError(f"there is no period {since!r} here; known are {', '.join(PERIODS)}")
    return since


def _overview(site: Site, reports: Reports, since: str) -> dict[str, Any]:
    process_id = None if site.is_fleet else running_process(site.settings.state_folder)
    report = reports.of(_known(since))
    worst = [(keys[0], one) for keys, one in report.groups.items() if one.rejected][:10]
    return {
        "since": since,
        "periods": PERIODS,
        "process_id": process_id,
        "is_fleet": site.is_fleet,
        "daemon": status.read(site.settings.state_folder) if process_id else None,
        "report": report,
        "has_chart": bool(report.overall.rejected and report.periods),
        "worst": worst,
        "moment": datetime.now(UTC).strftime("%H:%M:%S UTC"),
    }


def _page(site: Site, filters: Filters, after: int | None) -> tuple[list[Rejected], int | None]:
    """Give a page of images, and what the next one goes on after: an id, or a place among the nearest."""
    selection = filters.selection(datetime.now(UTC))
    nearest = filters.order == "nearest"
    limit = NEAREST_OF if nearest else PAGE_SIZE + 1
    with site.log() as engine:
        images = page(engine, replace(selection, limit=limit), None if nearest else after)
    if nearest:
        begin = after or 0
        images = sorted(images, key=lambda image: (-image.score, -image.id))[begin:]
        return images[:PAGE_SIZE], begin + PAGE_SIZE if len(images) > PAGE_SIZE else None
    return images[:PAGE_SIZE], images[PAGE_SIZE - 1].id if len(images) > PAGE_SIZE else None


def _decision(row: dict[str, Any]) -> dict[str, Any]:
    measures, profile = _object(row["measures"]), _object(row["profile"])
    scores = {name: row[name] for name in SCORE_NAMES}
    try:
        needed = thresholds_for(row["preset"], profile)
    except (ValueError, TypeError):
        needed = {}
    try:
        measured = measured_in_words(Measures(**measures)) if measures else {}
    except TypeError:  # of another version
        measured = {}
    raw = {**row, "measures": measures, "profile": profile, "issues": _json(row["issues"])}
    text = json.dumps(raw, indent=2, ensure_ascii=True, default=str)
    return {"row": row, "bars": bars_of(scores, needed), "measured": measured, "raw": text}


def _json(content: Any) -> Any:
    try:
        return json.loads(content) if isinstance(content, str) else content
    except ValueError:
        return content


def _object(content: Any) -> dict[str, Any]:
    found = _json(content)
    return found if isinstance(found, dict) else {}


def state_of(history: list[Any]) -> str:
    """Say what an image is after these reviews."""
    return STATE_AFTER[history[-1].action] if history else "waiting"
