"""What helps to narrow the gallery: names to choose from as they are typed, and how many images have which score."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from imageguard_daemon.audit.by_score import BUCKETS, OVERALL, count_scores, highest
from imageguard_daemon.audit.columns import open_columns
from imageguard_daemon.reporting.text import asked_for
from imageguard_daemon.web.cache import PAGE_TIMEOUT_SECONDS, CachePolicy, NotReadyError, StaleWhileRevalidate
from imageguard_daemon.web.filters import FILTERS, Filters
from imageguard_daemon.web.query_parameters import reads
from imageguard_daemon.web.site import Site
from imageguard_daemon.web.templating import Renderer

NAMES_OFFERED = 20
_NAMES = CachePolicy(fresh_seconds=60.0, stale_seconds=3_600.0)
_COUNTS = CachePolicy(fresh_seconds=15.0, stale_seconds=60.0, max_answers=64)
Typed = Annotated[str, Query(max_length=4_096)]


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
        def scores(request: Request) -> HTMLResponse:
            filters = Filters.of(request.query_params)
            is_piece = "hx-request" in request.headers
            given = {"filters": filters, "score": filters.score or OVERALL, "parts": self._parts(filters)}
            return render(request, "scores.html" if is_piece else "scores_page.html", **given)

        return router

    def close(self) -> None:
        """Begin no more."""
        self._names.close()
        self._counts.close()

    def _offered(self, field: str, typed: str) -> list[str]:
        """Give the names that have what was typed in them, those that begin with it first."""
        known = _soon(self._names, field, lambda: self._known(field)) or []
        sought = typed.casefold()
        found = [name for name in known if sought in name.casefold()]
        return sorted(found, key=lambda name: (not name.casefold().startswith(sought), name))[:NAMES_OFFERED]

    def _known(self, field: str) -> list[str]:
        with self._site.log() as log, open_columns(log) as columns:
            return sorted({asked_for(getattr(key, field)) for key in columns.keys if key})

    def _parts(self, filters: Filters) -> list[Part] | None:
        name, selection = filters.score or OVERALL, filters.selection(self._site.now())

        def count() -> list[int]:
            with self._site.log() as log:
                return count_scores(log, selection, name)

        asked = tuple(pair for pair in filters.pairs() if pair[0] not in {"low", "high", "order"})
        counts = _soon(self._counts, asked, count)
        if counts is None:
            return None
        low, high = selection.scores.get(name, (-1.0, -1.0))
        size, most = highest(name) / BUCKETS, max(*counts, 1)
        edges = [(round(at * size, 2), round((at + 1) * size, 2)) for at in range(BUCKETS)]
        return [
            Part(begin, end, images, 100 * images / most, low <= begin and end <= high)
            for (begin, end), images in zip(edges, counts, strict=True)
        ]


def _soon(remembered: "StaleWhileRevalidate[Any]", key: object, make: Callable[[], Any]) -> Any:
    try:
        return remembered.get(key, make, PAGE_TIMEOUT_SECONDS)
    except NotReadyError:
        return None
