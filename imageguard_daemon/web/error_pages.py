"""What went wrong: to people as a page with the way on, to programs as JSON; always in words of ours."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from imageguard_daemon.core.errors import ImageguardError, RetryableError, UsageError
from imageguard_daemon.web.query_parameters import UnknownParameterError
from imageguard_daemon.web.security import CLOSE, BodyTooLargeError, BodyTooLateError
from imageguard_daemon.web.site import TooOftenError
from imageguard_daemon.web.templating import Renderer

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
        if request.url.path.startswith("/api/"):
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
