"""The quarantine: small pictures with their reasons, filtered by the address, a page at a time."""

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from imageguard_daemon.audit.nearest import Nearest, nearest_page
from imageguard_daemon.audit.quarantined import page
from imageguard_daemon.model import ISSUES, SCORE_NAMES
from imageguard_daemon.web.filters import ORDERS, STATE_NAMES, Filters
from imageguard_daemon.web.rendering import Renderer
from imageguard_daemon.web.site import Site

PAGE_SIZE = 24
_LARGEST_ID = (1 << 63) - 1
_CHOICES = {"reasons": ISSUES, "states": STATE_NAMES, "orders": ORDERS, "scores": ("score", *SCORE_NAMES)}


def pages(site: Site, render: Renderer) -> APIRouter:
    """Give the routes of this page."""
    router = APIRouter(include_in_schema=False)

    @router.get("/quarantine")
    def quarantine(request: Request, after: Annotated[int | None, Query(ge=0, le=_LARGEST_ID)] = None) -> HTMLResponse:
        filters = Filters.of(request.query_params)
        return render(
            request, "quarantine.html", filters=filters, shown=_page(site, filters, after), after=after, **_CHOICES
        )

    return router


def _page(site: Site, filters: Filters, after: int | None) -> Nearest:
    selection = filters.selection(site.now())
    with site.log() as engine:
        if filters.order == "nearest":
            return nearest_page(engine, selection, PAGE_SIZE, after)
        images = page(engine, replace(selection, limit=PAGE_SIZE + 1), after)
    more = images[PAGE_SIZE - 1].id if len(images) > PAGE_SIZE else None
    return Nearest(tuple(images[:PAGE_SIZE]), more)
