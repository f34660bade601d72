"""Uploads that are judged and forgotten, for people and for programs."""

import asyncio

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from imageguard_daemon.core.errors import UsageError
from imageguard_daemon.core.names import printable
from imageguard_daemon.web import api_models
from imageguard_daemon.web.query_parameters import require_known
from imageguard_daemon.web.security import MAX_UPLOAD_BYTES, client_of
from imageguard_daemon.web.site import RateLimit, TooOftenError
from imageguard_daemon.web.templating import Renderer
from imageguard_daemon.web.upload_check import Checked, Checker, as_dict, bars_of

MAX_FILES = 20
IMAGES_PER_MINUTE = 60
UPLOADS_AT_ONCE, CHECKS_AT_ONCE = 8, 2
"""Uploads under way, each with its memory, and those of them that are being judged."""

_BUSY_SECONDS = 5

MultiPartParser.spool_max_size = 2 * MAX_UPLOAD_BYTES  # in memory: nothing of an upload is written to a disk


class UploadIntake:
    """Takes uploads in, few at a time."""

    def __init__(self, checker: Checker) -> None:
        self._checker = checker
        self._under_way = 0
        self._checks = asyncio.Semaphore(CHECKS_AT_ONCE)
        self._limit = RateLimit(IMAGES_PER_MINUTE)

    async def checked(self, request: Request) -> list[Checked]:
        """Judge the images of a form's field `images`.

        Raises:
            UsageError: the form has none, too many, or is none.
            TooOftenError: this client has to wait.
        """
        client = client_of(request)
        self._limit.take(client, 1)
        if self._under_way >= UPLOADS_AT_ONCE:
            raise TooOftenError(_BUSY_SECONDS)
        self._under_way += 1
        try:
            files = await _files(request)
            self._limit.take(client, len(files) - 1)
            async with self._checks:  # only now: an upload that stalls holds up nobody
                return [await run_in_threadpool(self._checker.check, name, data) for name, data in files]
        finally:
            self._under_way -= 1


async def _files(request: Request) -> list[tuple[str, bytes]]:
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise UsageError("send a form (multipart/form-data) with one or more files called 'images'")
    try:
        async with request.form(max_files=MAX_FILES, max_fields=10) as form:
            require_known(form.multi_items(), (), {"images"})
            uploads = [
                field
                for field in form.getlist("images")
                if isinstance(field, UploadFile) and (field.filename or field.size)
            ]
            files = [(printable((upload.filename or "image")[:200]), await upload.read()) for upload in uploads]
    except MultiPartException as error:
        raise UsageError(f"the form cannot be read: {error.message}") from error
    if not files:
        raise UsageError("no file was sent; the field is called 'images'")
    return files


def pages(render: Renderer, intake: UploadIntake) -> APIRouter:
    """Give the page for people."""
    router = APIRouter(include_in_schema=False)
    shared = {"bars_of": bars_of, "most_files": MAX_FILES, "most_bytes": MAX_UPLOAD_BYTES}

    @router.get("/check")
    def empty(request: Request) -> HTMLResponse:
        return render(request, "check.html", checked=(), **shared)

    @router.post("/check")
    async def check(request: Request) -> HTMLResponse:
        return render(request, "check.html", checked=await intake.checked(request), **shared)

    return router


_BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["images"],
                "additionalProperties": False,
                "properties": {
                    "images": {
                        "type": "array",
                        "minItems": 1,
                        "maxItems": MAX_FILES,
                        "items": {"type": "string", "format": "binary"},
                    }
                },
            }
        }
    },
}


def interface(intake: UploadIntake) -> APIRouter:
    """Give the route for programs."""
    router = APIRouter(tags=["check"])

    @router.post(
        "/api/check",
        response_model=api_models.Checked,
        responses=api_models.ALWAYS | api_models.UPLOADS,
        openapi_extra={"requestBody": _BODY},
    )
    async def check_images(request: Request) -> Response:
        """Six scores of each image and the verdict under each preset. Nothing is stored."""
        return JSONResponse({"images": [as_dict(one) for one in await intake.checked(request)]})

    return router
