"""What every request passes before a page sees it: host, origin, token, size; headers of every answer; the login."""

import re
from asyncio import timeout
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from time import monotonic
from urllib.parse import urlencode, urlsplit

from fastapi import APIRouter
from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from imageguard_daemon.core.errors import UnavailableError
from imageguard_daemon.web.query_parameters import reads, require_known
from imageguard_daemon.web.site import HOLDER, RateLimit, Site
from imageguard_daemon.web.templating import Renderer
from imageguard_daemon.web.tokens import SESSION_SECONDS

SESSION = "imageguard_session"
MAX_BODY_BYTES = 64 * 1024
MAX_UPLOAD_BYTES = 64 * 1024 * 1024
PART_SECONDS, BODY_SECONDS = 15.0, 120.0
"""How long the next part of a body, and the whole of it, may take to arrive."""
_LENGTH = re.compile("[0-9]{1,19}")
_TOO_LATE = "The rest of the request did not come."
CLOSE = {"Connection": "close"}
_UPLOADS = {"/check", "/api/check"}
_OPEN = {"/login", "/healthz"}
_LOGINS_PER_MINUTE = 10
_POLICY = (
    "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}


class BodyTooLargeError(Exception):
    """More was sent than is taken."""


class BodyTooLateError(Exception):
    """What was announced did not come."""


class Guard:
    """Refuses what no page should see, and marks every answer with the headers above."""

    def __init__(self, app: ASGIApp, site: Site, error_page: Callable[..., Response]) -> None:
        self._app, self._site, self._error_page = app, site, error_page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        sender = _with_headers(send)
        if refusal is not None:
            await refusal(scope, receive, sender)
            return
        limit = _limit(scope)
        # Every page can be asked for its headers alone; the server leaves the body of the answer out.
        asked = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
        try:
            await self._app(asked, _bounded(receive, limit), sender)
        except BodyTooLargeError as error:
            await self._error_page(Request(scope), 413, str(error))(scope, receive, sender)
        except BodyTooLateError as error:
            await self._error_page(Request(scope), 408, str(error), CLOSE)(scope, receive, sender)

    def _refusal(self, scope: Scope) -> Response | None:
        """Say no to what no page should see; None for a request that may pass.

        The host comes first: a page of another site whose name was bound to our address must learn nothing, not even
        that a token is needed. Who asks comes before where from, since the answers of pages greet the holder.
        """
        headers, asked = Headers(scope=scope), Request(scope)
        if not self._is_our_host(headers.get("host", "")):
            return self._error_page(asked, 421, "This server does not answer to that name; see --allow-host.")
        is_open = scope["path"] in _OPEN or scope["path"].startswith("/static/")
        try:
            scope[HOLDER] = self._holder(headers)
        except UnavailableError as error:
            if not is_open:
                return self._error_page(asked, 503, str(error))
        if scope["method"] not in {"GET", "HEAD"} and not _is_from_here(headers):
            return self._error_page(asked, 403, "This was sent by a page of another site. Nothing was done.")
        limit, length = _limit(scope), headers.get("content-length", "0")
        if not _LENGTH.fullmatch(length) or int(length) > limit:
            return self._error_page(asked, 413, _too_much(limit))
        return None if is_open or scope[HOLDER] is not None else self._to_the_door(scope, headers)

    def _to_the_door(self, scope: Scope, headers: Headers) -> Response:
        asked = Request(scope)
        if scope["path"].startswith("/api/"):
            return self._error_page(asked, 401, "A token is needed.", {"WWW-Authenticate": "Bearer"})
        if "hx-request" in headers:  # a piece of a page: the whole page has to go to the door
            return self._error_page(asked, 401, "A token is needed.", {"HX-Redirect": "/login"})
        place = scope["path"] + ("?" + scope["query_string"].decode("latin-1") if scope["query_string"] else "")
        return RedirectResponse(f"/login?{urlencode({'next': place})}" if scope["method"] == "GET" else "/login", 303)

    def _holder(self, headers: Headers) -> str | None:
        """Name who asks: empty where no token is needed, None for somebody who has none."""
        tokens = self._site.access.tokens
        if tokens is None:
            return ""
        # A header says more than a cookie, which browsers send by themselves: a wrong token falls back to the session.
        kind, _, token = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and (sha256 := tokens.hash_of(token.strip())):
            return tokens.holders().get(sha256)
        return self._site.sessions.holder(cookie_of(headers, SESSION), tokens)

    def _is_our_host(self, host: str) -> bool:
        # Not by Starlette's TrustedHostMiddleware: it cuts the address of IPv6 at its first colon, and answers 400.
        try:
            parts = urlsplit(f"//{host}")
            name = (parts.hostname or "").rstrip(".")
        except ValueError:
            return False
        return parts.netloc == host and "@" not in host and name in self._site.access.hosts


def _limit(scope: Scope) -> int:
    """Give how many bytes a body may have: of uploads the files, and the form around them."""
    return MAX_BODY_BYTES + (MAX_UPLOAD_BYTES if scope["path"] in _UPLOADS else 0)


def _too_much(limit: int) -> str:
    size = f"{limit >> 20} MB" if limit >= 1 << 20 else f"{limit >> 10} kB"
    return f"Too much was sent: at most {size} at a time. Nothing was done."


def client_of(request: Request) -> str:
    """Name who asks, for limits: the holder of a token, else an address."""
    return request.scope.get(HOLDER) or (request.client.host if request.client else "")


def cookie_of(headers: Headers, name: str) -> str:
    """Give a cookie's value; empty when it is not there."""
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return ""
    return cookie.value if cookie else ""


def _is_from_here(headers: Headers) -> bool:
    """Browsers say where a form comes from; a program says nothing, and has no cookie of anybody."""
    # "none" is an address that was typed. "same-site" is refused: another port of this host is another service.
    if headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
        return False
    origin = headers.get("origin")
    if origin is None:
        return True
    try:
        parts = urlsplit(origin)
    except ValueError:  # no address at all
        return False
    return parts.scheme in {"http", "https"} and parts.netloc == headers.get("host")


def _bounded(receive: Receive, limit: int) -> Receive:
    taken, deadline, is_whole = 0, monotonic() + BODY_SECONDS, False

    async def bounded() -> Message:
        nonlocal taken, is_whole
        if is_whole:  # all that can come is that the client goes
            return await receive()
        try:
            async with timeout(min(PART_SECONDS, deadline - monotonic())):
                message = await receive()
        except TimeoutError:
            raise BodyTooLateError(_TOO_LATE) from None
        # Counted as it comes, too: a body that is sent in chunks announces no length.
        taken += len(message.get("body", b""))
        if taken > limit:
            raise BodyTooLargeError(_too_much(limit))
        is_whole = not message.get("more_body", False)
        return message

    return bounded


def _with_headers(send: Send) -> Send:
    async def sender(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sender


def login(site: Site, render: Renderer) -> APIRouter:
    """Give the routes of the way in with a token, and out again."""
    router = APIRouter(include_in_schema=False)
    limit = RateLimit(_LOGINS_PER_MINUTE)

    @router.get("/login")
    @reads("next")
    def login_page(request: Request) -> Response:
        return render(request, "login.html", wrong=False, next=_ours(request.query_params.get("next", "")))

    @router.post("/login")
    async def let_in(request: Request) -> Response:
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
