"""Answers for programs: decisions in keyset pages, the report, its findings."""

import json
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse

from imageguard_daemon.audit.counts import Dimension
from imageguard_daemon.audit.listing import newest_decisions
from imageguard_daemon.reporting import rendering
from imageguard_daemon.web.reports import Reports
from imageguard_daemon.web.site import Site

_LARGEST_ID = (1 << 63) - 1
_BAD: dict[int | str, dict[str, Any]] = {400: {"description": "The question makes no sense; `detail` says why."}}
Since = Annotated[str, Query(max_length=40, description="Decided since then: 24h, 7d ago, or 2025-01-31; empty: all.")]
By = Literal["class", "reason", "source", "camera", "host", "preset", "hour", "day", "week"]


def interface(site: Site, reports: Reports) -> APIRouter:
    """Give the routes."""
    router = APIRouter(prefix="/api", tags=["log"])

    @router.get("/decisions")
    def decisions(
        before: Annotated[
            int, Query(ge=1, le=_LARGEST_ID, description="`next_before` of the last page.")
        ] = _LARGEST_ID,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
    ) -> JSONResponse:
        """Decisions, newest first, by the columns of the view `decisions`."""
        with site.log() as engine:
            rows = newest_decisions(engine, before, limit + 1)
        more = rows[limit - 1]["id"] if len(rows) > limit else None
        return JSONResponse({"decisions": [_plain(row) for row in rows[:limit]], "next_before": more})

    @router.get("/report", responses=_BAD)
    def report(since: Since = "7d", by: By = "class") -> JSONResponse:
        """The same as `report --format json`."""
        return JSONResponse(rendering.as_dict(reports.of(since, (Dimension(by),))))

    @router.get("/findings", responses=_BAD)
    def findings(since: Since = "7d") -> JSONResponse:
        """What stands out."""
        return JSONResponse({"since": since, "findings": rendering.as_dict(reports.of(since))["findings"]})

    return router


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    parsed = {name: json.loads(row[name]) for name in ("issues", "measures", "profile") if isinstance(row[name], str)}
    return {**row, **parsed}
