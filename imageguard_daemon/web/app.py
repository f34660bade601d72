"""Puts pages, API and guard together as one ASGI application."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from anyio.to_thread import current_default_thread_limiter, run_sync
from fastapi import Depends, FastAPI, Request
from fastapi.responses import PlainTextResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles

from imageguard_daemon import __version__
from imageguard_daemon.core.model import MAX_INT64
from imageguard_daemon.sandbox.pictures import MapMaker, ThumbnailMaker
from imageguard_daemon.web import api, api_models
from imageguard_daemon.web.error_pages import ErrorPages
from imageguard_daemon.web.pages import decision, gallery, images, login, overview, review, uploads
from imageguard_daemon.web.pages.gallery import Narrowing
from imageguard_daemon.web.pages.images import RenderCache
from imageguard_daemon.web.pages.overview import Reports
from imageguard_daemon.web.pages.thresholds import Thresholds
from imageguard_daemon.web.pages.uploads import Checker
from imageguard_daemon.web.query_parameters import only_known
from imageguard_daemon.web.security import Guard
from imageguard_daemon.web.site import Site
from imageguard_daemon.web.templating import STATIC, Renderer, digest_of

REQUESTS_AT_ONCE = 6
"""Threads that ask the log. More would only wait for one another, and take more of the processors from the daemon."""


def make_app(site: Site) -> Guard:
    """Give the application for one root."""
    render, reports, thresholds, narrowing = Renderer(site), Reports(site), Thresholds(site), Narrowing(site)
    scoring = site.settings.scoring
    thumbnails, maps = RenderCache(ThumbnailMaker(scoring)), RenderCache(MapMaker(scoring))
    checker = Checker(scoring, site.settings.state_folder if site.has_log else None)

    @asynccontextmanager
    async def life(_app: FastAPI) -> AsyncIterator[None]:
        current_default_thread_limiter().total_tokens = REQUESTS_AT_ONCE
        preparing = asyncio.create_task(run_sync(render.prepare))
        yield
        await preparing
        for part in (reports, thresholds, narrowing, thumbnails, maps, checker, site.connections):
            part.close()

    app = FastAPI(
        title="imageguard-daemon",
        version=__version__,
        lifespan=life,
        dependencies=[Depends(only_known)],
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
    )
    intake = uploads.UploadIntake(checker)
    routers = [login.pages(site, render), uploads.pages(render, intake), uploads.interface(intake)]
    if site.has_log:
        routers += [
            overview.pages(site, render, reports),
            gallery.pages(site, render),
            narrowing.pages(render),
            decision.pages(site, render),
            images.pictures(site, thumbnails, maps),
            review.routes(site, render),
            thresholds.pages(render),
            api.interface(site, reports),
        ]
    else:
        app.add_api_route("/", lambda: RedirectResponse("/check"), include_in_schema=False)
    for router in routers:
        app.include_router(router)
    _add_doors(app, render)
    error_pages = ErrorPages(render)
    error_pages.add_to(app)
    _describe(app, needs_token=site.access.tokens is not None)
    of_pages, of_charts = STATIC
    app.mount("/static", _Static(directory=of_pages, packages=[("imageguard_daemon.reporting", of_charts.name)]))
    return Guard(app, site, error_pages)


class _Static(StaticFiles):
    """Files that browsers keep: for ever by the addresses that pages have, which name the content."""

    def file_response(self, full_path: Any, stat_result: Any, scope: Any, status_code: int = 200) -> Response:
        """Give the file, or say that it has not changed."""
        answer = super().file_response(full_path, stat_result, scope, status_code)
        # By what the file is now: after an upgrade beneath a running server its pages still name what was there before.
        is_named = scope["query_string"] == digest_of(Path(full_path)).encode()
        answer.headers["Cache-Control"] = "public, max-age=31536000, immutable" if is_named else "no-cache"
        return answer


def _add_doors(app: FastAPI, render: Renderer) -> None:
    @app.get("/healthz", include_in_schema=False)
    async def healthz() -> Response:  # in no thread of the pool: it answers while all of them are busy
        return PlainTextResponse("ok\n")

    @app.get("/api", include_in_schema=False)
    def documentation(request: Request) -> Response:
        return render(request, "api.html", paths=app.openapi()["paths"], largest=MAX_INT64)


def _describe(app: FastAPI, *, needs_token: bool) -> None:
    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = api_models.with_security(FastAPI.openapi(app), needs_token=needs_token)
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]
