"""Answers for programs: decisions in keyset pages, the report, its findings."""

import asyncio
import itertools
import json
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, HTTPException, Query
from fastapi.responses import JSONResponse, Response
from pydantic import AfterValidator, Field, WithJsonSchema

from imageguard_daemon.audit.counts import PERIODS, Dimension
from imageguard_daemon.audit.queries import newest_decisions
from imageguard_daemon.core.errors import UsageError
from imageguard_daemon.core.model import MAX_INT64
from imageguard_daemon.core.names import printable
from imageguard_daemon.reporting import rendering
from imageguard_daemon.reporting.report import Grouping
from imageguard_daemon.web import api_models
from imageguard_daemon.web.cache import SingleFlight
from imageguard_daemon.web.pages.overview import Asked, Reports
from imageguard_daemon.web.query_parameters import DIGITS
from imageguard_daemon.web.site import Site

MAX_WAITING = 16
"""Questions that may wait for a report; further ones are told to come again."""
_AGO = "^([0-9]{1,4}[mhdw])?$"


def _time(text: str) -> str:
    """Let through how long ago something was, a date or a moment; whether it makes sense is for the report to say.

    Raises:
        ValueError: it is none of them.
    """
    if not re.fullmatch(_AGO, text):
        try:
            datetime.fromisoformat(text)
        except ValueError:
            raise ValueError(
                f"{printable(text[:30])!r} is not a time such as 7d, 2025-01-31 or 2025-01-31T08:30"
            ) from None
    return text


# The calendar is Python's: a pattern would have to know which months have 31 days and which years are leap years.
_Time = Annotated[
    str,
    AfterValidator(_time),
    WithJsonSchema({"type": "string", "anyOf": [{"pattern": _AGO}, {"format": "date"}, {"format": "date-time"}]}),
]
Since = Annotated[_Time, Query(description="Decided since then: 24h, 7d, 2025-01-31, 2025-01-31T08:30; empty: all.")]
Until = Annotated[_Time, Query(description="Decided before then; a plain date is included.")]


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


async def _asked(  # noqa: PLR0913, PLR0917 - one parameter for each option of the command
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


class ReportQueue:
    """Reports that programs wait for, in a thread of their own and few at a time: pages never stand behind them."""

    def __init__(self, reports: Reports) -> None:
        self._reports = reports
        self._limiter = CapacityLimiter(1)
        self._at_work: dict[tuple[Asked, Grouping], asyncio.Task[dict[str, Any]]] = {}

    async def get(self, asked: Asked, by: Grouping = (Dimension.class_,)) -> dict[str, Any]:
        """Give the report on what was asked for; who asks what is being answered already waits along.

        Raises:
            HTTPException: too many are waited for, or what is asked for is not there.
        """
        question = (asked, by)
        if question not in self._at_work:
            if len(self._at_work) > MAX_WAITING:
                raise HTTPException(503, "Too many reports are waited for; ask again soon.")
            self._at_work[question] = asyncio.create_task(run_sync(self._make, *question, limiter=self._limiter))
            self._at_work[question].add_done_callback(lambda _: self._at_work.pop(question))
        return await asyncio.shield(self._at_work[question])

    def _make(self, asked: Asked, by: Grouping) -> dict[str, Any]:
        try:
            return rendering.as_dict(self._reports.of(asked, by))
        except UsageError as error:  # each option is well formed: what is asked for is not there
            raise HTTPException(404, str(error)) from error


def interface(site: Site, reports: Reports) -> APIRouter:
    """Give the routes."""
    router = APIRouter(prefix="/api", tags=["log"])
    pages_asked: SingleFlight[bytes] = SingleFlight()
    queue = ReportQueue(reports)

    @router.get("/decisions", response_model=api_models.Decisions, responses=api_models.ALWAYS)
    async def decisions(
        before: Annotated[
            int, Field(ge=1, le=MAX_INT64), DIGITS, Query(description="`next_before` of the last page.")
        ] = MAX_INT64,
        limit: Annotated[int, Field(ge=1, le=500), DIGITS, Query()] = 50,
    ) -> Response:
        """Decisions, newest first, by the columns of the view `decisions`."""
        body = await pages_asked.get((before, limit), lambda: _page(site, before, limit))
        return Response(body, media_type=JSONResponse.media_type)

    @router.get("/report", response_model=api_models.Report, responses=api_models.ALWAYS | api_models.NOT_THERE)
    async def report(asked: AskedFor, by: By = "class") -> JSONResponse:
        """The same as `report --format json` with these options."""
        return JSONResponse(await queue.get(asked, tuple(map(Dimension, by.split(",")))))

    @router.get("/findings", response_model=api_models.Findings, responses=api_models.ALWAYS | api_models.NOT_THERE)
    async def findings(asked: AskedFor) -> JSONResponse:
        """What stands out."""
        return JSONResponse({"since": asked.since, "findings": (await queue.get(asked))["findings"]})

    return router


def _page(site: Site, before: int, limit: int) -> bytes:
    with site.log() as log:
        rows = newest_decisions(log, before, limit + 1)
    more = rows[limit - 1]["id"] if len(rows) > limit else None
    return bytes(JSONResponse({"decisions": [_plain(row) for row in rows[:limit]], "next_before": more}).body)


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    parsed = {name: json.loads(row[name]) for name in ("issues", "measures", "profile") if isinstance(row[name], str)}
    return {**row, **parsed}
