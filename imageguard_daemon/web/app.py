"""Puts pages, API and guard together as one application, and says what went wrong in words of ours."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

from anyio.to_thread import current_default_thread_limiter, run_sync
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from imageguard_daemon import __version__
from imageguard_daemon.core.errors import ImageguardError, RetryableError, UsageError
from imageguard_daemon.core.model import MAX_INT64
from imageguard_daemon.sandbox.pictures import MapMaker, ThumbnailMaker
from imageguard_daemon.web import api, api_models
from imageguard_daemon.web.pages import decision, gallery, images, overview, review, uploads
from imageguard_daemon.web.pages.gallery import Narrowing
from imageguard_daemon.web.pages.images import RenderCache
from imageguard_daemon.web.pages.overview import Reports
from imageguard_daemon.web.pages.thresholds import Thresholds
from imageguard_daemon.web.pages.uploads import Checker
from imageguard_daemon.web.query_parameters import UnknownParameterError, only_known
from imageguard_daemon.web.security import CLOSE, BodyTooLargeError, BodyTooLateError, Guard, login
from imageguard_daemon.web.site import Site, TooOftenError
from imageguard_daemon.web.templating import STATIC, Renderer, digest_of

REQUESTS_AT_ONCE = 6
"""Threads that ask the log. More would only wait for one another, and take more of the processors from the daemon."""
_TITLES = {
    HTTPStatus.BAD_REQUEST: "Invalid request",
    HTTPStatus.UNAUTHORIZED: "A token is needed",
    HTTPStatus.FORBIDDEN: "Not allowed",
    HTTPStatus.NOT_FOUND: "Not found",
    HTTPStatus.METHOD_NOT_ALLOWED: "Not allowed",
    HTTPStatus.REQUEST_TIMEOUT: "It did not arrive",
    HTTPStatus.CONFLICT: "It has changed meanwhile",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "Too large",
    HTTPStatus.MISDIRECTED_REQUEST: "Unknown host name",
    HTTPStatus.UNPROCESSABLE_ENTITY: "Invalid request",
    HTTPStatus.TOO_MANY_REQUESTS: "Too often",
    HTTPStatus.INTERNAL_SERVER_ERROR: "Something is wrong at the server",
    HTTPStatus.SERVICE_UNAVAILABLE: "Not now",
}
_IN_OUR_WORDS = {
    HTTPStatus.NOT_FOUND: ("Not Found", "There is no such page."),
    HTTPStatus.METHOD_NOT_ALLOWED: ("Method Not Allowed", "This address does not take such requests."),
    HTTPStatus.BAD_REQUEST: ("There was an error parsing the body", "What was sent cannot be read."),
}
"""What the framework says by itself, and what is said in its place."""
_RETRY_AFTER = {"Retry-After": "5"}
_UNEXPECTED = "This was not foreseen; the log of the pages has more. Nothing in the folders was changed by it."


def make_app(site: Site) -> Guard:
    """Give the application for one root."""
    render, closing = Renderer(site), ExitStack()

    @asynccontextmanager
    async def life(_app: FastAPI) -> AsyncIterator[None]:
        current_default_thread_limiter().total_tokens = REQUESTS_AT_ONCE
        preparing = asyncio.create_task(run_sync(render.prepare))
        yield
        await preparing
        closing.close()

    app = FastAPI(
        title="imageguard-daemon",
        version=__version__,
        lifespan=life,
        dependencies=[Depends(only_known)],
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
    )
    for router in (*_routers(site, render, closing), *_routers_of_log(site, render, closing)):
        app.include_router(router)
    _add_doors(app, render, site)
    error_pages = ErrorPages(render)
    error_pages.add_to(app)
    return Guard(app, site, error_pages)


def _routers(site: Site, render: Renderer, closing: ExitStack) -> Iterator[APIRouter]:
    """Give what needs no log; what has processes or threads is closed with the application."""
    checker = Checker(site.settings.scoring, site.settings.state_folder if site.has_log else None)
    closing.callback(checker.close)
    intake = uploads.UploadIntake(checker)
    yield login(site, render)
    yield uploads.pages(render, intake)
    yield uploads.interface(intake)


def _routers_of_log(site: Site, render: Renderer, closing: ExitStack) -> Iterator[APIRouter]:
    if not site.has_log:
        return
    scoring = site.settings.scoring
    reports, thresholds, narrowing = Reports(site), Thresholds(site), Narrowing(site)
    thumbnails, maps = RenderCache(ThumbnailMaker(scoring)), RenderCache(MapMaker(scoring))
    # Closed from the last to the first: what reads the log ends before its connections do.
    for part in (site.connections, reports, thresholds, narrowing, thumbnails, maps):
        closing.callback(part.close)
    yield overview.pages(site, render, reports)
    yield gallery.pages(site, render)
    yield narrowing.pages(render)
    yield decision.pages(site, render)
    yield images.pictures(site, thumbnails, maps)
    yield review.routes(site, render)
    yield thresholds.pages(render)
    yield api.interface(site, reports)


class _Static(StaticFiles):
    """Files that browsers keep: for ever by the addresses that pages have, which name the content."""

    def file_response(self, full_path: Any, stat_result: Any, scope: Any, status_code: int = 200) -> Response:
        """Give the file, or say that it has not changed."""
        answer = super().file_response(full_path, stat_result, scope, status_code)
        # By what the file is now: after an upgrade beneath a running server its pages still name what was there before.
        is_named = scope["query_string"] == digest_of(Path(full_path)).encode()
        answer.headers["Cache-Control"] = "public, max-age=31536000, immutable" if is_named else "no-cache"
        return answer


def _add_doors(app: FastAPI, render: Renderer, site: Site) -> None:
    if not site.has_log:
        app.add_api_route("/", lambda: RedirectResponse("/check"), include_in_schema=False)

    @app.get("/healthz", include_in_schema=False)
    async def healthz() -> Response:  # in no thread of the pool: it answers while all of them are busy
        return PlainTextResponse("ok\n")

    @app.get("/api", include_in_schema=False)
    def documentation(request: Request) -> Response:
        return render(request, "api.html", paths=app.openapi()["paths"], largest=MAX_INT64)

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            needs_token = site.access.tokens is not None
            app.openapi_schema = api_models.with_security(FastAPI.openapi(app), needs_token=needs_token)
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]
    of_pages, of_charts = STATIC
    app.mount("/static", _Static(directory=of_pages, packages=[("imageguard_daemon.reporting", of_charts.name)]))


class ErrorPages:
    """Gives the answers that say what was wrong."""

    def __init__(self, render: Renderer) -> None:
        self._render = render

    def __call__(
        self, request: Request, status: int, message: str, headers: Mapping[str, str] | None = None
    ) -> Response:
        """Answer as JSON where a program asked, else as a page. What may pass says when to ask again."""
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            headers = {**_RETRY_AFTER, **(headers or {})}
        if request.scope["path"].startswith("/api/"):
            return JSONResponse({"detail": message}, status, headers)
        page = self._render(
            request, "error.html", status, message=message, title=_TITLES.get(HTTPStatus(status), "Not done")
        )
        page.headers.update(headers or {})
        return page

    def add_to(self, app: FastAPI) -> None:
        """Have the application answer all its errors so."""

        @app.exception_handler(ImageguardError)
        async def ours(request: Request, error: ImageguardError) -> Response:
            status = 400 if isinstance(error, UsageError) else 503 if isinstance(error, RetryableError) else 500
            return self(request, status, str(error))

        @app.exception_handler(UnknownParameterError)
        async def unknown(request: Request, error: UnknownParameterError) -> Response:
            return self(request, 422, str(error))

        @app.exception_handler(TooOftenError)
        async def too_often(request: Request, error: TooOftenError) -> Response:
            return self(request, 429, f"Too often. Try again in {error} s.", {"Retry-After": str(error)})

        @app.exception_handler(RequestValidationError)
        async def not_valid(request: Request, error: RequestValidationError) -> Response:
            return self(request, 422, _in_words(error.errors()[0]))

        @app.exception_handler(HTTPException)
        async def http(request: Request, error: HTTPException) -> Response:
            theirs, words = _IN_OUR_WORDS.get(HTTPStatus(error.status_code), ("", ""))
            message = words if error.detail == theirs else error.detail
            return self(request, error.status_code, message, error.headers)

        @app.exception_handler(BodyTooLargeError)
        async def too_large(request: Request, error: BodyTooLargeError) -> Response:
            return self(request, 413, str(error))

        @app.exception_handler(BodyTooLateError)
        async def too_late(request: Request, error: BodyTooLateError) -> Response:
            return self(request, 408, str(error), CLOSE)

        @app.exception_handler(Exception)
        async def not_foreseen(request: Request, _error: Exception) -> Response:
            return self(request, 500, _UNEXPECTED)


def _in_words(error: Mapping[str, Any]) -> str:
    """Say which part of an address is wrong and what it may be, from what the framework found."""
    kind, limits = error["type"], error.get("ctx", {})
    name = str(error["loc"][-1])
    if kind == "value_error":  # a validator of ours
        return f"{name}: {limits['error']}"
    if kind == "greater_than_equal":
        return f"{name} is at least {limits['ge']}."
    if kind == "less_than_equal":
        return f"{name} is at most {limits['le']}."
    if kind == "string_too_long":
        return f"{name} has at most {limits['max_length']:,} characters."
    return f"{name} has an unknown format."
