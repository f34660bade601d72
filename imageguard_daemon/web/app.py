"""Puts pages, API and guard together as one ASGI application."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from imageguard_daemon import __version__
from imageguard_daemon.errors import ImageguardError, RetryableError, UsageError
from imageguard_daemon.web import api, looking, reviewing, thresholds, trying
from imageguard_daemon.web.checking import Checker
from imageguard_daemon.web.guarding import SESSION, BodyTooLargeError, Guard, is_token
from imageguard_daemon.web.pictures import Thumbnails
from imageguard_daemon.web.rendering import Renderer
from imageguard_daemon.web.site import RateLimit, Site

_LOGINS_PER_MINUTE = 10
_MOST_SESSIONS = 1_000


def make_app(site: Site) -> Guard:
    """Give the application for one root."""
    render, reports = Renderer(site), looking.Reports(site)
    thumbnails, checker = Thumbnails(site.settings.scoring), Checker(site.settings.scoring)

    @asynccontextmanager
    async def life(_app: FastAPI) -> AsyncIterator[None]:
        yield
        thumbnails.close()
        checker.close()

    app = FastAPI(
        title="imageguard-daemon",
        version=__version__,
        lifespan=life,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
    )
    desk = trying.Desk(checker)
    for router in (
        looking.pages(site, render, reports),
        looking.pictures(site, thumbnails),
        reviewing.routes(site, render),
        trying.pages(render, desk),
        trying.interface(desk),
        thresholds.routes(site, render),
        api.interface(site, reports),
    ):
        app.include_router(router)
    _add_doors(app, site, render)
    _add_errors(app, render)
    app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"))
    return Guard(app, site)


def _add_doors(app: FastAPI, site: Site, render: Renderer) -> None:
    limit = RateLimit(_LOGINS_PER_MINUTE)

    @app.get("/healthz", include_in_schema=False)
    def healthz() -> Response:
        return PlainTextResponse("ok\n")

    @app.get("/api", include_in_schema=False)
    def documentation(request: Request) -> Response:
        return render(request, "api.html", paths=app.openapi()["paths"])

    @app.get("/login", include_in_schema=False)
    def login_page(request: Request) -> Response:
        return render(request, "login.html", wrong=False)

    @app.post("/login", include_in_schema=False)
    async def login(request: Request) -> Response:
        if limit.wait_seconds(request.client.host if request.client else ""):
            raise trying.TooOftenError(60)
        async with request.form(max_files=0, max_fields=5) as form:
            token = str(form.get("token", "")).strip()
        if not await run_in_threadpool(is_token, token, site.access.token_sha256):
            return render(request, "login.html", 403, wrong=True)
        if len(site.sessions) >= _MOST_SESSIONS:
            site.sessions.clear()
        session = secrets.token_urlsafe(32)
        site.sessions.add(session)
        answer = RedirectResponse("/", 303)
        is_safe = request.url.scheme == "https"
        answer.set_cookie(SESSION, session, httponly=True, samesite="strict", secure=is_safe, max_age=12 * 3600)
        return answer


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

    @app.exception_handler(trying.TooOftenError)
    async def too_often(request: Request, error: trying.TooOftenError) -> Response:
        return told(request, 429, f"Too often. Try again in {error} s.", {"Retry-After": str(error)})

    @app.exception_handler(RequestValidationError)
    async def not_valid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return told(request, 422, f"{'.'.join(map(str, first['loc'][1:]))}: {first['msg']}")

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        return told(request, error.status_code, "There is no such page." if error.status_code == 404 else error.detail)

    @app.exception_handler(BodyTooLargeError)
    async def too_large(request: Request, _error: BodyTooLargeError) -> Response:
        return told(request, 413, "More was sent than is taken.")
