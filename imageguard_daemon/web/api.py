"""Answers for programs: decisions in keyset pages, the report, its findings."""

import json
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from imageguard_daemon.audit.counts import Dimension
from imageguard_daemon.audit.listing import newest_decisions
from imageguard_daemon.reporting import rendering
from imageguard_daemon.web.reports import Reports
from imageguard_daemon.web.site import Site

_LARGEST_ID = (1 << 63) - 1
_DAY = (
    "20[0-9]{2}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))"
    "|20([02468][048]|[13579][26])-02-29"
)
_SINCE = f"^([0-9]{{1,4}}[mhdw]|({_DAY})(T([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?Z?)?)?$"
Since = Annotated[
    str, Query(pattern=_SINCE, description="Decided since then: 24h, 7d, 2025-01-31, 2025-01-31T08:30; empty: all.")
]
By = Literal["class", "reason", "source", "camera", "host", "preset", "hour", "day", "week"]


class Problem(BaseModel):
    """What was wrong with a question, in words."""

    detail: str


PROBLEMS: dict[int | str, dict[str, Any]] = {
    422: {"model": Problem, "description": "The question makes no sense; `detail` says why."}
}


def interface(site: Site, reports: Reports) -> APIRouter:
    """Give the routes."""
    router = APIRouter(prefix="/api", tags=["log"])

    @router.get("/decisions", responses=PROBLEMS)
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

    @router.get("/report", responses=PROBLEMS)
    def report(since: Since = "7d", by: By = "class") -> JSONResponse:
        """The same as `report --format json`."""
        return JSONResponse(rendering.as_dict(reports.of(since, (Dimension(by),))))

    @router.get("/findings", responses=PROBLEMS)
    def findings(since: Since = "7d") -> JSONResponse:
        """What stands out."""
        return JSONResponse({"since": since, "findings": rendering.as_dict(reports.of(since))["findings"]})

    return router


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    parsed = {name: json.loads(row[name]) for name in ("issues", "measures", "profile") if isinstance(row[name], str)}
    return {**row, **parsed}
