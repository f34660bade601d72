"""Uploads that are judged by every preset and forgotten, for people and for programs. Nothing of them is stored."""

import asyncio
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from imageguard_daemon.config import Scoring
from imageguard_daemon.core.errors import FatalError, RetryableError, UsageError
from imageguard_daemon.core.locks import running_process
from imageguard_daemon.core.model import SCORE_NAMES, Decision, Measurement
from imageguard_daemon.core.names import printable
from imageguard_daemon.daemon import status
from imageguard_daemon.quality.policy import PRESETS, decide_on_file, thresholds_for
from imageguard_daemon.quality.scoring import LIMITS, rounded, scores_by_threshold
from imageguard_daemon.reporting.text import measured_in_words
from imageguard_daemon.sandbox.client import BytesMeasurer
from imageguard_daemon.web import api_models
from imageguard_daemon.web.query_parameters import require_known
from imageguard_daemon.web.security import MAX_UPLOAD_BYTES, client_of
from imageguard_daemon.web.site import RateLimit, TooOftenError
from imageguard_daemon.web.templating import Renderer

MAX_FILES = 20
IMAGES_PER_MINUTE = 60
UPLOADS_AT_ONCE, CHECKS_AT_ONCE = 8, 2
"""Uploads under way, each with its memory, and those of them that are being judged."""

_BUSY_SECONDS = 5

MultiPartParser.spool_max_size = 2 * MAX_UPLOAD_BYTES  # in memory: nothing of an upload is written to a disk
_MAX_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Checked:
    """One image, judged by every preset; `name` is what the browser said, and only ever shown."""

    name: str
    measurement: Measurement
    decisions: Mapping[str, Decision]

    @property
    def any(self) -> Decision:
        """One of the decisions, for what is the same in all: scores and measures."""
        return self.decisions["general"]

    @property
    def measured(self) -> dict[Any, str]:
        """What was measured, by signal, in words."""
        return measured_in_words(self.measurement.measures) if self.measurement.measures else {}


class Checker:
    """Has bytes measured in a confined process, one at a time; process and readout are those of the first use.

    With a `state_folder` images are judged as the daemon would that runs there, or not at all.
    """

    def __init__(self, settings: Scoring, state_folder: Path | None = None) -> None:
        self._settings = settings
        self._state_folder = state_folder
        self._measurer: BytesMeasurer | None = None
        self._lock = threading.Lock()

    def check(self, name: str, data: bytes) -> Checked:
        """Measure and judge; a hostile image gives decisions that are not ok. Any thread may call it.

        Raises:
            RetryableError: there is no readout to be had, or the daemon judges by another.
        """
        measurement = self._measurer_in_force().measure(data)
        decisions = {
            preset: decide_on_file(name, measurement, preset, thresholds) for preset, thresholds in PRESETS.items()
        }
        return Checked(name, measurement, decisions)

    def _measurer_in_force(self) -> BytesMeasurer:
        """Give the one that measures as the daemon does; one whose readout is no longer the daemon's is replaced."""
        with self._lock:
            if self._measurer is None:
                self._measurer = self._new_measurer()
            if self._scorer_of_daemon_beside(self._measurer):
                fresh = self._new_measurer()
                if wanted := self._scorer_of_daemon_beside(fresh):
                    raise RetryableError(
                        f"The daemon judges by scorer {wanted}, and what scoring.readout names by now makes "
                        f"{fresh.scorer_version}: images can be checked again once the daemon was restarted."
                    )
                self.close()
                self._measurer = fresh
            return self._measurer

    def _scorer_of_daemon_beside(self, measurer: BytesMeasurer) -> str:
        """Name the scorer of the daemon that runs, if it is another than the measurer's."""
        if self._state_folder is None:
            return ""
        last = status.read(self._state_folder)
        if last is None or last["scorer_version"] == measurer.scorer_version:
            return ""
        # What a daemon that has ended judged by binds nobody.
        is_running = last["process_id"] == running_process(self._state_folder)
        return str(last["scorer_version"]) if is_running else ""

    def _new_measurer(self) -> BytesMeasurer:
        try:
            return BytesMeasurer(self._settings, min(_MAX_SECONDS, self._settings.timeout_seconds))
        except FatalError as error:  # what is not there today may be there tomorrow, and other pages need none
            raise RetryableError(f"No image can be checked: {' '.join(str(error).split())}") from error

    def close(self) -> None:
        """End the process."""
        if self._measurer is not None:
            self._measurer.close()


def as_dict(checked: Checked) -> dict[str, Any]:
    """Give the answer of the API: what is the same under all presets once, and the verdict under each."""
    decision = checked.any
    return {
        "name": checked.name,
        "format": checked.measurement.image_format,
        "scores": dict(decision.scores),
        "measures": dict(decision.measures),
        "scorer_version": decision.scorer_version,
        "presets": {
            preset: {
                "ok": one.ok,
                "score": one.score,
                "reason": one.reason,
                "borderline": one.borderline,
                "issues": list(one.issues),
                "detail": one.detail,
                "thresholds": dict(one.thresholds),
            }
            for preset, one in checked.decisions.items()
        },
    }


def bars_of(
    scores: Mapping[str, Any], measures: Mapping[str, Any], own: Mapping[str, float] | None = None
) -> list[dict[str, Any]]:
    """Give what the bars show, one for each threshold that decides: score, that threshold, and those of all presets."""
    presets = {preset: thresholds_for(preset) for preset in PRESETS}
    limits = own or presets["general"]
    is_measured = all(scores.get(name) is not None for name in SCORE_NAMES)
    by_threshold = scores_by_threshold(scores, measures) if is_measured else {}
    return [
        {
            "signal": name.removesuffix("_score"),
            "score": by_threshold.get(name),
            "shown": f"{rounded(by_threshold[name], limits[name]):.0f}" if name in by_threshold else "-",
            "needed": limits[name],
            "presets": {preset: thresholds[name] for preset, thresholds in presets.items()},
        }
        for name in LIMITS
    ]


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
