"""The way in with a token, and out again."""

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response

from imageguard_daemon.web.query_parameters import reads, require_known
from imageguard_daemon.web.security import SESSION, cookie_of
from imageguard_daemon.web.site import RateLimit, Site
from imageguard_daemon.web.templating import Renderer
from imageguard_daemon.web.tokens import SESSION_SECONDS

_LOGINS_PER_MINUTE = 10


def pages(site: Site, render: Renderer) -> APIRouter:
    """Give the routes of this page."""
    router = APIRouter(include_in_schema=False)
    limit = RateLimit(_LOGINS_PER_MINUTE)

    @router.get("/login")
    @reads("next")
    def login_page(request: Request) -> Response:
        return render(request, "login.html", wrong=False, next=_ours(request.query_params.get("next", "")))

    @router.post("/login")
    async def login(request: Request) -> Response:
        limit.take(request.client.host if request.client else "")
        async with request.form(max_files=0, max_fields=5) as form:
            require_known(form.multi_items(), {"token", "next"})
            token, asked = str(form.get("token", "")).strip(), _ours(str(form.get("next", "")))
        tokens = site.access.tokens
        sha256 = await run_in_threadpool(tokens.hash_of, token) if tokens else ""
        if not sha256:
            return render(request, "login.html", 403, wrong=True, next=asked)
        answer = RedirectResponse(asked, 303)
        is_safe = request.url.scheme == "https"
        session = site.sessions.begin(sha256)
        answer.set_cookie(
            SESSION, session, httponly=True, samesite="strict", secure=is_safe, max_age=int(SESSION_SECONDS)
        )
        return answer

    @router.post("/logout")
    def logout(request: Request) -> Response:
        site.sessions.end(cookie_of(request.headers, SESSION))
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(SESSION, httponly=True, samesite="strict")
        return answer

    return router


def _ours(address: str) -> str:
    """Give the page that was asked for before the login; whatever might lead elsewhere is the first page."""
    is_path = address.startswith("/") and not address.startswith(("//", "/\\", "/login"))
    return address if is_path and address.isprintable() and "\\" not in address else "/"
