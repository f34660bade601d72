"""The galleries of rejected and accepted images, a page at a time, and what narrows them: names and scores."""

from dataclasses import dataclass, replace
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from imageguard_daemon.audit.by_score import (
    BUCKETS,
    OVERALL,
    Nearest,
    borderline_page,
    count_scores,
    highest,
    nearest_page,
)
from imageguard_daemon.audit.columns import open_columns
from imageguard_daemon.audit.quarantine_queries import ACCEPTED_STATES, EVER_QUARANTINED, number_selected, page
from imageguard_daemon.core.model import ISSUES, MAX_INT64, SCORE_NAMES
from imageguard_daemon.reporting.text import asked_for
from imageguard_daemon.web.cache import CachePolicy, SingleFlight, StaleWhileRevalidate
from imageguard_daemon.web.filters import FILTERS, Filters
from imageguard_daemon.web.pages.review import MAX_IMAGES, name_typed_last
from imageguard_daemon.web.query_parameters import WholeNumber, page_of, reads, trail_of
from imageguard_daemon.web.site import Site
from imageguard_daemon.web.templating import Renderer

PAGE_SIZE = 24
PAGES_BACK = 50
"""Pages that lead back one by one; from further on there is the first page."""
_CHOICES = {"reasons": ISSUES, "scores": ("score", *SCORE_NAMES)}
_OF_REJECTED = {"states": (*EVER_QUARANTINED, "all"), "orders": ("newest", "nearest")}
_OF_ACCEPTED = {"states": ACCEPTED_STATES, "orders": ("newest", "borderline")}
_ARRIVALS = {"1m": "last minute", "1h": "last hour", "1d": "last day", "": "any time"}
_LATEST = Filters(state="accepted", since="1h", order="borderline")
Number = Annotated[WholeNumber | None, Query(ge=0, le=MAX_INT64)]
Key = Annotated[str, Query(max_length=64)]
Trail = Annotated[str, Query(pattern=r"^([0-9]{1,19}(\.[0-9]{1,19})*)?$", max_length=20 * PAGES_BACK)]
NAMES_OFFERED = 20
_NAMES = CachePolicy(fresh_seconds=60.0, stale_seconds=3_600.0)
_COUNTS = CachePolicy(fresh_seconds=15.0, stale_seconds=60.0, max_answers=64)
Typed = Annotated[str, Query(max_length=4_096)]


def pages(site: Site, render: Renderer) -> APIRouter:
    """Give the routes of these pages."""
    router = APIRouter(include_in_schema=False)
    pages_asked: SingleFlight[Nearest] = SingleFlight()
    counts: SingleFlight[int] = SingleFlight()

    @router.get("/quarantine")
    @reads(*FILTERS)
    async def quarantine(request: Request, after: Number = None, trail: Trail = "", notice: Key = "") -> HTMLResponse:
        return await gallery(request, Filters.of(request.query_params), after, trail, notice)

    @router.get("/accepted")
    @reads(*FILTERS)
    async def accepted(request: Request, after: Number = None, trail: Trail = "", notice: Key = "") -> HTMLResponse:
        filters = Filters.of(request.query_params)
        if not {*FILTERS} & {*request.query_params}:
            filters = _LATEST
        elif "state" not in request.query_params:
            filters = filters.but(state="accepted")
        return await gallery(request, filters, after, trail, notice)

    async def gallery(request: Request, filters: Filters, after: int | None, trail: str, notice: str) -> HTMLResponse:
        been = trail_of(trail)
        images = await pages_asked.get((filters, after), lambda: _page(site, filters, after))
        shown = {"shown": images, "notice": site.notices.get(notice)}
        places = {"onward": _trail([*been, after or 0]), "back": _back(been), "page": page_of(request.query_params)}
        who = name_typed_last(site, request)
        choices = _CHOICES | (_OF_ACCEPTED | {"arrivals": _ARRIVALS} if filters.is_accepted else _OF_REJECTED)
        return render(request, "quarantine.html", filters=filters, who=who, **shown, **places, **choices)

    @router.get("/quarantine/count")
    @reads(*FILTERS)
    async def count(request: Request) -> HTMLResponse:
        filters = Filters.of(request.query_params)
        images = await counts.get(filters, lambda: _number(site, filters))
        return render(request, "count.html", images=images, most=MAX_IMAGES)

    return router


def _trail(been: list[int]) -> str:
    return ".".join(map(str, been[-PAGES_BACK:]))


def _back(been: list[int]) -> dict[str, object] | None:
    """Give where the page before this one began, and how one came there."""
    if not been:
        return None
    *earlier, last = been
    return {**({"after": last} if last else {}), **({"trail": _trail(earlier)} if earlier else {})}


def _number(site: Site, filters: Filters) -> int:
    selection = replace(filters.selection(site.now()), limit=MAX_IMAGES + 1)
    with site.log() as log:
        return number_selected(log, selection)


def _page(site: Site, filters: Filters, after: int | None) -> Nearest:
    selection = filters.selection(site.now())
    with site.log() as log:
        if filters.order == "nearest":
            return nearest_page(log, selection, PAGE_SIZE, after)
        if filters.order == "borderline":
            return borderline_page(log, selection, PAGE_SIZE, after)
        images = page(log, replace(selection, limit=PAGE_SIZE + 1), after)
    more = images[PAGE_SIZE - 1].id if len(images) > PAGE_SIZE else None
    return Nearest(tuple(images[:PAGE_SIZE]), more)


@dataclass(frozen=True, slots=True)
class Part:
    """The images with scores in a range: how many, and how high its bar is, of 100; `is_chosen` by the filter."""

    low: float
    high: float
    images: int
    height: float
    is_chosen: bool


class Narrowing:
    """The routes, and what was asked of the log for them."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._names: StaleWhileRevalidate[list[str]] = StaleWhileRevalidate(_NAMES)
        self._counts: StaleWhileRevalidate[list[int]] = StaleWhileRevalidate(_COUNTS)
        self._looks: SingleFlight[list[Part] | None] = SingleFlight()

    def pages(self, render: Renderer) -> APIRouter:
        """Give the routes."""
        router = APIRouter(include_in_schema=False)

        @router.get("/quarantine/classes")
        def classes(request: Request, class_name: Typed = "") -> HTMLResponse:
            return render(request, "names.html", names=self._offered("class_name", class_name))

        @router.get("/quarantine/cameras")
        def cameras(request: Request, camera: Typed = "") -> HTMLResponse:
            return render(request, "names.html", names=self._offered("camera", camera))

        @router.get("/quarantine/scores")
        @reads(*FILTERS)
        async def scores(request: Request) -> HTMLResponse:
            filters = Filters.of(request.query_params)
            # One thread waits for the counts, whoever asks: fifty of them would take turns with what counts.
            parts = await self._looks.get(filters, lambda: self._parts(filters))
            is_piece = "hx-request" in request.headers
            template = "scores.html" if is_piece else "scores_page.html"
            score = filters.score or OVERALL
            return render(request, template, filters=filters, score=score, parts=parts)

        return router

    def close(self) -> None:
        """Begin no more."""
        self._names.close()
        self._counts.close()

    def _offered(self, field: str, typed: str) -> list[str]:
        """Give the names that have what was typed in them, those that begin with it first."""
        names = self._names.soon(field, lambda: self._known(field)) or []
        sought = typed.casefold()
        matching = [name for name in names if sought in name.casefold()]
        return sorted(matching, key=lambda name: (not name.casefold().startswith(sought), name))[:NAMES_OFFERED]

    def _known(self, field: str) -> list[str]:
        with self._site.log() as log, open_columns(log) as columns:
            return sorted({asked_for(name) for name in columns.keys.names(field)})

    def _parts(self, filters: Filters) -> list[Part] | None:
        name, selection = filters.score or OVERALL, filters.selection(self._site.now())

        def count() -> list[int]:
            with self._site.log() as log:
                return count_scores(log, selection, name)

        asked = tuple(pair for pair in filters.pairs() if pair[0] not in {"low", "high", "order"})
        counts = self._counts.soon(asked, count)
        if counts is None:
            return None
        low, high = selection.scores.get(name, (-1.0, -1.0))
        size, most = highest(name) / BUCKETS, max(*counts, 1)
        edges = [(round(at * size, 2), round((at + 1) * size, 2)) for at in range(BUCKETS)]
        return [
            Part(begin, end, images, 100 * images / most, low <= begin and end <= high)
            for (begin, end), images in zip(edges, counts, strict=True)
        ]
