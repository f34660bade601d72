"""The galleries of rejected and of accepted images: small pictures, filtered by the address, a page at a time."""

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from imageguard_daemon.audit.by_score import Nearest, borderline_page, nearest_page
from imageguard_daemon.audit.quarantine_queries import ACCEPTED_STATES, EVER_QUARANTINED, number_selected, page
from imageguard_daemon.core.model import ISSUES, MAX_INT64, SCORE_NAMES
from imageguard_daemon.web.cache import SingleFlight
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


def pages(site: Site, render: Renderer) -> APIRouter:
    """Give the routes of these pages."""
    router = APIRouter(include_in_schema=False)
    pages_asked: SingleFlight[Nearest] = SingleFlight()

    @router.get("/quarantine")
    @reads(*FILTERS)
    def quarantine(request: Request, after: Number = None, trail: Trail = "", notice: Key = "") -> HTMLResponse:
        return gallery(request, Filters.of(request.query_params), after, trail, notice)

    @router.get("/accepted")
    @reads(*FILTERS)
    def accepted(request: Request, after: Number = None, trail: Trail = "", notice: Key = "") -> HTMLResponse:
        filters = Filters.of(request.query_params)
        if not {*FILTERS} & {*request.query_params}:
            filters = _LATEST
        elif "state" not in request.query_params:
            filters = filters.but(state="accepted")
        return gallery(request, filters, after, trail, notice)

    def gallery(request: Request, filters: Filters, after: int | None, trail: str, notice: str) -> HTMLResponse:
        been = trail_of(trail)
        images = pages_asked.get((filters, after), lambda: _page(site, filters, after))
        shown = {"shown": images, "notice": site.notices.get(notice)}
        places = {"onward": _trail([*been, after or 0]), "back": _back(been), "page": page_of(request.query_params)}
        who = name_typed_last(site, request)
        choices = _CHOICES | (_OF_ACCEPTED | {"arrivals": _ARRIVALS} if filters.is_accepted else _OF_REJECTED)
        return render(request, "quarantine.html", filters=filters, who=who, **shown, **places, **choices)

    @router.get("/quarantine/count")
    @reads(*FILTERS)
    def count(request: Request) -> HTMLResponse:
        selection = replace(Filters.of(request.query_params).selection(site.now()), limit=MAX_IMAGES + 1)
        with site.log() as log:
            images = number_selected(log, selection)
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
