"""Puts pages, API and guard together as one ASGI application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from anyio.to_thread import current_default_thread_limiter
from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from imageguard_daemon import __version__
from imageguard_daemon.errors import ImageguardError, RetryableError, UsageError
from imageguard_daemon.service.maps import MapMaker
from imageguard_daemon.service.thumbnails import ThumbnailMaker
from imageguard_daemon.web import api, decision, entering, gallery, overview, reviewing, showing, trying
from imageguard_daemon.web.checking import Checker
from imageguard_daemon.web.guarding import BodyTooLargeError, BodyTooLateError, Guard
from imageguard_daemon.web.parameters import UnknownParameterError, only_known
from imageguard_daemon.web.pictures import MadeOnce
from imageguard_daemon.web.rendering import Renderer
from imageguard_daemon.web.reports import Reports
from imageguard_daemon.web.site import Site, TooOftenError
from imageguard_daemon.web.thresholds import Thresholds

REQUESTS_AT_ONCE = 6
"""Threads that ask the log. More would only wait for one another, and take more of the processors from the daemon."""


def make_app(site: Site) -> Guard:
    """Give the application for one root."""
    render, reports, thresholds = Renderer(site), Reports(site), Thresholds(site)
    scoring = site.settings.scoring
    thumbnails, maps, checker = MadeOnce(ThumbnailMaker(scoring)), MadeOnce(MapMaker(scoring)), Checker(scoring)

    @asynccontextmanager
    async def life(_app: FastAPI) -> AsyncIterator[None]:
        current_default_thread_limiter().total_tokens = REQUESTS_AT_ONCE
        yield
        for one in (reports, thresholds, thumbnails, maps, checker, site.connections):
            one.close()

    app = FastAPI(
        title="imageguard-daemon",
        version=__version__,
        lifespan=life,
        dependencies=[Depends(only_known)],
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
    )
    desk = trying.Desk(checker)
    for router in (
        entering.pages(site, render),
        overview.pages(site, render, reports),
        gallery.pages(site, render),
        decision.pages(site, render),
        showing.pictures(site, thumbnails, maps),
        reviewing.routes(site, render),
        trying.pages(render, desk),
        trying.interface(desk),
        thresholds.pages(render),
        api.interface(site, reports),
    ):
        app.include_router(router)
    _add_doors(app, render)
    _add_errors(app, render)
    app.mount("/static", _Static(directory=Path(__file__).parent / "static"))
    return Guard(app, site)


class _Static(StaticFiles):
    """Files that browsers keep, and ask each time whether they are still the same."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """Give the file, or say that it has not changed."""
        answer = super().file_response(*args, **kwargs)
        answer.headers["Cache-Control"] = "no-cache"
        return answer


def _add_doors(app: FastAPI, render: Renderer) -> None:
    @app.get("/healthz", include_in_schema=False)
    async def healthz() -> Response:  # in no thread of the pool: it answers while all of them are busy
        return PlainTextResponse("ok\n")

    @app.get("/api", include_in_schema=False)
    def documentation(request: Request) -> Response:
        return render(request, "api.html", paths=app.openapi()["paths"])


def _add_errors(app: FastAPI, render: Renderer) -> None:
    def told(request: Request, status: int, message: str, headers: dict[str, str] | None = None) -> Response:
        if request.url.path.startswith("/api/"):
            return JSONResponse({"detail": message}, status, headers)
        page = render(request, "error.html", status, message=message)
        page.headers.update(headers or {})
        return page

    @app.exception_handler(ImageguardError)
    async def ours(request: Request, error: ImageguardError) -> Response:
        status = 400 if isinstance(error, UsageError) else 503 if isinstance(error, RetryableError) else 500
        return told(request, status, str(error))

    @app.exception_handler(UnknownParameterError)
    async def unknown(request: Request, error: UnknownParameterError) -> Response:
        return told(request, 422, str(error))

    @app.exception_handler(TooOftenError)
    async def too_often(request: Request, error: TooOftenError) -> Response:
        return told(request, 429, f"Too often. Try again in {error} s.", {"Retry-After": str(error)})

    @app.exception_handler(RequestValidationError)
    async def not_valid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return told(request, 422, f"{'.'.join(map(str, first['loc'][1:]))}: {first['msg']}")

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        return told(
            request,
            error.status_code,
            "There is no such page." if error.detail == "Not Found" else error.detail,
            dict(error.headers or {}),
        )

    @app.exception_handler(BodyTooLargeError)
    async def too_large(request: Request, _error: BodyTooLargeError) -> Response:
        return told(request, 413, "More was sent than is taken.")

    @app.exception_handler(BodyTooLateError)
    async def too_late(request: Request, _error: BodyTooLateError) -> Response:
        return told(request, 408, "The rest of the request did not come.", {"Connection": "close"})
