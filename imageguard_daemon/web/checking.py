"""Judges uploads by every preset. Nothing is stored: bytes live in memory files until they have been measured."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from imageguard_daemon.config import Scoring
from imageguard_daemon.model import SCORE_NAMES, SIGNALS, Decision, Measurement, Measures
from imageguard_daemon.quality.policy import PRESETS, decide_on_file
from imageguard_daemon.reporting.wording import measured_in_words
from imageguard_daemon.service.decoding_process import sealed_copy

_MEGABYTE = 1 << 20
_ANSWER_BYTES = 1 << 16
_MOST_SECONDS = 20
_GRACE_SECONDS = 5.0


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
    """Has bytes measured in a confined process, one at a time; the process is made at first use."""

    def __init__(self, settings: Scoring) -> None:
        seconds = min(_MOST_SECONDS, int(settings.timeout_seconds) or 1)
        memory = settings.worker_memory_megabytes * _MEGABYTE
        self._arguments = (memory, settings.max_pixels, settings.max_megabytes * _MEGABYTE, seconds)
        self._patience = seconds + _GRACE_SECONDS
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def check(self, name: str, data: bytes) -> Checked:
        """Measure and judge; a hostile image gives decisions that are not ok. Any thread may call it."""
        with self._lock:
            measurement = self._measure(data)
        decisions = {
            preset: decide_on_file(name, measurement, preset, thresholds) for preset, thresholds in PRESETS.items()
        }
        return Checked(name, measurement, decisions)

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._socket.close()
            self._process.kill()
            self._process.wait()
            self._process = None

    def _measure(self, data: bytes) -> Measurement:
        if self._process is None:
            self._start()
        contents = sealed_copy(data)
        answer = b""
        try:
            with suppress(OSError):  # a time-out is one, too
                socket.send_fds(self._socket, [b"?"], [contents])
                answer = self._socket.recv(_ANSWER_BYTES)
        finally:
            os.close(contents)
        if not answer:
            self.close()
            return Measurement("", issue="corrupt", detail="it ended or held up the process that looked at it")
        return _read(json.loads(answer))

    def _start(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(self._patience)
        command = [sys.executable, "-m", "imageguard_daemon.web.measuring_process", str(theirs.fileno())]
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter, and numbers
                [*command, *map(str, self._arguments)],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )


def _read(answer: dict[str, Any]) -> Measurement:
    measures = answer.get("measures")
    return Measurement(
        "",
        Measures(**measures) if measures else None,
        answer.get("issue", ""),
        answer.get("detail", ""),
        image_format=answer.get("image_format", ""),
    )


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
                "issues": list(one.issues),
                "detail": one.detail,
                "thresholds": dict(one.thresholds),
            }
            for preset, one in checked.decisions.items()
        },
    }


def bars_of(scores: Mapping[str, float | None], own: Mapping[str, float] | None = None) -> list[dict[str, Any]]:
    """Give what the six bars show: score, the threshold in force, and those of all presets."""
    limits = own or PRESETS["general"]
    return [
        {
            "signal": signal,
            "score": scores.get(name),
            "needed": limits.get(name, PRESETS["general"][name]),
            "presets": {preset: thresholds[name] for preset, thresholds in PRESETS.items()},
        }
        for signal, name in zip(SIGNALS, SCORE_NAMES, strict=True)
    ]
