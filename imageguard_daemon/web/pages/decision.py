"""One decision: the image, its scores and limits, where it is sharp and clipped, what people did, the raw record."""

import json
from typing import Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import HTMLResponse

from imageguard_daemon.audit.by_score import borderline_page, nearest_page
from imageguard_daemon.audit.quarantine_queries import STATE_AFTER, Selection, neighbours, reviews_of
from imageguard_daemon.audit.queries import accepted_before, decision_row
from imageguard_daemon.audit.store import Store
from imageguard_daemon.core.model import SCORE_NAMES, Measures
from imageguard_daemon.quality.policy import thresholds_for
from imageguard_daemon.reporting.text import measured_in_words
from imageguard_daemon.web.cache import SingleFlight
from imageguard_daemon.web.filters import FILTERS, Filters
from imageguard_daemon.web.pages.images import BLACK, SHARPNESS, SHOWABLE, WHITE, place_of
from imageguard_daemon.web.pages.review import name_typed_last
from imageguard_daemon.web.pages.uploads import bars_of
from imageguard_daemon.web.query_parameters import DecisionId, reads
from imageguard_daemon.web.site import Site
from imageguard_daemon.web.templating import Renderer

ACCEPTED_SHOWN = 6


def pages(site: Site, render: Renderer) -> APIRouter:
    """Give the route of this page."""
    router = APIRouter(include_in_schema=False)
    looks: SingleFlight[dict[str, Any]] = SingleFlight()

    @router.get("/decisions/{number}")
    @reads(*FILTERS, "notice")
    async def decision(request: Request, number: DecisionId) -> HTMLResponse:
        filters = Filters.of(request.query_params)
        shown = await looks.get((number, filters), lambda: _shown(site, filters, number))
        own = {"filters": filters, "who": name_typed_last(site, request)}
        own["notice"] = site.notices.get(request.query_params.get("notice", ""))
        return render(request, "decision.html", **shown, **own, sharpness=SHARPNESS, white=WHITE, black=BLACK)

    return router


def _shown(site: Site, filters: Filters, number: int) -> dict[str, Any]:
    """Give what the page shows of the log, the same for all who look."""
    with site.log() as log:
        row = decision_row(log, number)
        if row is None:
            raise HTTPException(404, f"There is no decision {number} in this log.")
        history = reviews_of(log, number)
        around = {
            "is_there": place_of(log, site.settings, number, row) is not None,
            "accepted": accepted_before(log, number, str(row["class"]), ACCEPTED_SHOWN),
            "neighbours": _neighbours(log, filters, filters.selection(site.now()), number),
        }
    action = history[-1].action if history else ""
    state = STATE_AFTER[str(row["verdict"])][action]  # type: ignore[index]
    return {**_recorded(row), **around, "history": history, "state": state}


def _neighbours(log: Store, filters: Filters, selection: Selection, number: int) -> dict[str, int | None]:
    """Give the images before and after this one in the gallery with these filters."""
    if filters.order != "newest":  # backwards there is the way that one came
        after = (nearest_page if filters.order == "nearest" else borderline_page)(log, selection, 1, number).images
        return {"prev": None, "next": after[0].id if after else None}
    newer, older = neighbours(log, selection, number)
    return {"prev": newer, "next": older}


def _recorded(row: dict[str, Any]) -> dict[str, Any]:
    measures, profile = _object(row["measures"]), _object(row["profile"])
    scores = {name: row[name] for name in SCORE_NAMES}
    raw = {**row, "measures": measures, "profile": profile, "issues": _json(row["issues"])}
    return {
        "row": row,
        "bars": bars_of(scores, measures, _needed(str(row["preset"]), profile)),
        "measured": _measured(measures),
        "is_measured": bool(measures),
        "is_showable": row["image_format"] in SHOWABLE,
        "raw": json.dumps(raw, indent=2, ensure_ascii=True, default=str),
    }


def _needed(preset: str, profile: dict[str, Any]) -> Any:
    try:
        return thresholds_for(preset, profile)
    except (ValueError, TypeError):  # of another version
        return {}


def _measured(measures: dict[str, Any]) -> dict[Any, str]:
    try:
        return measured_in_words(Measures(**measures)) if measures else {}
    except TypeError:  # of another version
        return {}


def _json(content: Any) -> Any:
    try:
        return json.loads(content) if isinstance(content, str) else content
    except ValueError:
        return content


def _object(content: Any) -> dict[str, Any]:
    value = _json(content)
    return value if isinstance(value, dict) else {}
