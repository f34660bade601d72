"""Answers for programs: decisions in keyset pages, the report, its findings."""

import asyncio
import itertools
import json
from collections.abc import Iterator
from typing import Annotated, Any

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, HTTPException, Query
from fastapi.responses import JSONResponse
from pydantic import Field

from imageguard_daemon.audit.counts import PERIODS, Dimension
from imageguard_daemon.audit.listing import newest_decisions
from imageguard_daemon.core.errors import UsageError
from imageguard_daemon.core.model import MAX_INT64
from imageguard_daemon.reporting import rendering
from imageguard_daemon.web import api_models
from imageguard_daemon.web.query_parameters import DIGITS
from imageguard_daemon.web.reports import Asked, Reports
from imageguard_daemon.web.site import Site

MAX_WAITING = 16
"""Questions that may wait for a report; further ones are told to come again."""
_DAY = (
    "20[0-9]{2}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))"
    "|20([02468][048]|[13579][26])-02-29"
)
_CLOCK = "T([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])?"
_TIME = f"^([0-9]{{1,4}}[mhdw]|({_DAY})({_CLOCK})?)?$"
Since = Annotated[
    str, Query(pattern=_TIME, description="Decided since then: 24h, 7d, 2025-01-31, 2025-01-31T08:30; empty: all.")
]
Until = Annotated[str, Query(pattern=_TIME, description="Decided before then; a plain date is included.")]


def _crossings() -> Iterator[str]:
    yield from map(str, Dimension)
    for one, other in itertools.permutations(Dimension, 2):
        if not {one, other} <= set(PERIODS):
            yield f"{one},{other}"


By = Annotated[
    str,
    Query(
        pattern=f"^({'|'.join(_crossings())})$",
        description="What to group by: class, reason, source, camera, host, preset, hour, day or week; two of them, as "
        "class,reason, are crossed.",
    ),
]


def _only(what: str, alias: str | None = None) -> Any:
    return Query(alias=alias, max_length=4_096, pattern=r"^[^\x00]*$", description=f"Only {what}.")


def _asked(  # noqa: PLR0913, PLR0917 - one parameter for each option of the command
    since: Since = "",
    until: Until = "",
    source: Annotated[str | None, _only("this source")] = None,
    class_name: Annotated[str | None, _only("this class; empty: images without one", "class")] = None,
    camera: Annotated[str | None, _only("this camera; empty: images without one")] = None,
    host: Annotated[str | None, _only("this host")] = None,
    preset: Annotated[str | None, _only("what this preset judged")] = None,
) -> Asked:
    return Asked(since, until, source, class_name, camera, host, preset)


AskedFor = Annotated[Asked, Depends(_asked)]


def interface(site: Site, reports: Reports) -> APIRouter:
    """Give the routes."""
    router = APIRouter(prefix="/api", tags=["log"])

    @router.get("/decisions", response_model=api_models.Decisions, responses=api_models.ALWAYS)
    def decisions(
        before: Annotated[
            int,
            Field(ge=1, le=MAX_INT64),
            DIGITS,
            Query(description="`next_before` of the last page."),
        ] = MAX_INT64,
        limit: Annotated[int, Field(ge=1, le=500), DIGITS, Query()] = 50,
    ) -> JSONResponse:
        """Decisions, newest first, by the columns of the view `decisions`."""
        with site.log() as log:
            rows = newest_decisions(log, before, limit + 1)
        more = rows[limit - 1]["id"] if len(rows) > limit else None
        return JSONResponse({"decisions": [_plain(row) for row in rows[:limit]], "next_before": more})

    # Answers that may take long have threads of their own, and few may wait for one: pages never stand behind them.
    # Who asks what is being answered already waits along, however many they are.
    limiter = CapacityLimiter(1)
    at_work: dict[tuple[Asked, tuple[Dimension, ...]], asyncio.Task[dict[str, Any]]] = {}

    @router.get("/report", response_model=api_models.Report, responses=api_models.ALWAYS | api_models.NOT_THERE)
    async def report(asked: AskedFor, by: By = "class") -> JSONResponse:
        """The same as `report --format json` with these options."""
        return JSONResponse(await soon(asked, tuple(map(Dimension, by.split(",")))))

    @router.get("/findings", response_model=api_models.Findings, responses=api_models.ALWAYS | api_models.NOT_THERE)
    async def findings(asked: AskedFor) -> JSONResponse:
        """What stands out."""
        return JSONResponse({"since": asked.since, "findings": (await soon(asked))["findings"]})

    async def soon(asked: Asked, by: tuple[Dimension, ...] = (Dimension.class_,)) -> dict[str, Any]:
        question = (asked, by)
        if question not in at_work:
            if len(at_work) > MAX_WAITING:
                raise HTTPException(503, "Too many reports are waited for; ask again soon.")
            at_work[question] = asyncio.create_task(run_sync(made, asked, by, limiter=limiter))
            at_work[question].add_done_callback(lambda _: at_work.pop(question))
        return await asyncio.shield(at_work[question])

    def made(asked: Asked, by: tuple[Dimension, ...]) -> dict[str, Any]:
        try:
            return rendering.as_dict(reports.of(asked, by))
        except UsageError as error:  # each option is well formed: what is asked for is not there
            raise HTTPException(404, str(error)) from error

    return router


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    parsed = {name: json.loads(row[name]) for name in ("issues", "measures", "profile") if isinstance(row[name], str)}
    return {**row, **parsed}
