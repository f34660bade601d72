"""Bytes measured in a confined process, from anywhere: any thread, any process, daemonic ones too.

Processes made by `multiprocessing`, which the daemon's workers are, cannot be had in all of these.
"""

import json
import os
import socket
import threading
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from imageguard_daemon.config import Scoring
from imageguard_daemon.core.errors import StalledError, UnavailableError
from imageguard_daemon.core.model import Measurement, Measures
from imageguard_daemon.quality.readout import configured, scorer_by
from imageguard_daemon.sandbox.confined_process import start
from imageguard_daemon.sandbox.decoding_process import DecoderLostError, sealed_copy
from imageguard_daemon.sandbox.losses import Cause, Loss, issue_of
from imageguard_daemon.sandbox.measuring_process import READY

if TYPE_CHECKING:
    import subprocess

_MEGABYTE = 1 << 20
_ANSWER_BYTES = 1 << 18
_SECONDS_TO_START = 120.0
_GRACE_SECONDS = 5.0


class BytesMeasurer:
    """One process that measures, made at first use. Any thread may call it; others wait meanwhile.

    `seconds` is what one image may take; by default that of the settings. The readout that the settings name
    is read here, once.

    Raises:
        NoInputError, PermissionDeniedError, ConfigError: there is none to be had where they name one.
    """

    def __init__(self, settings: Scoring, seconds: float | None = None) -> None:
        self._readout = configured(settings.readout)
        whole = max(1, round(settings.timeout_seconds if seconds is None else seconds))
        memory = settings.worker_memory_megabytes * _MEGABYTE
        limits = (memory, settings.max_pixels, settings.max_megabytes * _MEGABYTE, whole)
        self._arguments = (*limits, int(self._readout is not None))
        self._patience = whole + _GRACE_SECONDS
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def measure(self, data: bytes) -> Measurement:
        """Measure an image in memory; a bad one gives its issue, as does one that takes its process down twice.

        The result has no SHA-256: the caller has the bytes.

        Raises:
            RetryableError: its process was killed, more than once.
            StalledError: it does not begin, and does not end either.
            UnavailableError: there is no process to be had, or it cannot decode.
        """
        losses: list[Loss] = []
        while (issue := issue_of(losses)) is None:
            try:
                return self._by_readout(self._measured_once(data))
            except DecoderLostError as lost:
                losses.append(lost.loss)
        return self._by_readout(Measurement("", issue=issue[0], detail=issue[1]))

    @property
    def scorer_version(self) -> str:
        """By which scorer it measures, as records name it."""
        return scorer_by(self._readout)

    def _by_readout(self, measurement: Measurement) -> Measurement:
        return replace(measurement, readout=self._readout.digest) if self._readout else measurement

    def _measured_once(self, data: bytes) -> Measurement:
        with self._lock:
            if self._process is not None and self._process.poll() is not None:
                self.close()  # it had nothing to do for long
            if self._process is None:
                self._start()
            answer = self._answer(data)
        if "lost" in answer:
            raise DecoderLostError(answer["lost"], Cause(answer["cause"]))
        measures: Any = answer["measures"] and Measures(**answer["measures"])
        facts = (answer["issue"], answer["detail"], answer["camera"], answer["image_format"])
        return Measurement("", measures, *facts, duration_ms=answer["duration_ms"])

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._socket.close()
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answer(self, data: bytes) -> dict[str, Any]:
        contents = sealed_copy(data)
        answer = b""
        self._socket.settimeout(self._patience)
        try:
            with suppress(ConnectionError):
                socket.send_fds(self._socket, [b"?"], [contents])
                answer = self._socket.recv(_ANSWER_BYTES)
        except TimeoutError:  # its decoder is ended before that: it has not come to it, whatever the image is like
            self.close()
            raise DecoderLostError(
                f"took longer than {self._patience:g} s, though its decoder may not", Cause.killed
            ) from None
        finally:
            os.close(contents)
        if not answer:
            self.close()
            raise DecoderLostError("was killed, perhaps for lack of memory", Cause.killed)
        made: dict[str, Any] = json.loads(answer)
        return made

    def _start(self) -> None:
        try:
            self._process, self._socket = start("imageguard_daemon.sandbox.measuring_process", self._arguments)
        except OSError as error:
            raise UnavailableError(f"no process to measure images in: {error.strerror}") from error
        self._socket.settimeout(_SECONDS_TO_START)
        ready = b""
        try:
            with suppress(ConnectionError):
                self._send_readout()
                ready = self._socket.recv(_ANSWER_BYTES)
        except TimeoutError:
            self.close()
            raise StalledError(
                f"the process that measures images has not begun within {_SECONDS_TO_START:g} s: this machine has too "
                "much to do, or too little memory"
            ) from None
        if ready != READY:
            self.close()
            if ready:  # it says why
                raise UnavailableError(ready.decode(errors="replace"))
            raise UnavailableError(
                "the process that measures images ends before it has done anything: the reason stands above, or else "
                "scoring.worker_memory_megabytes is too small"
            )

    def _send_readout(self) -> None:
        if self._readout is not None:
            contents = sealed_copy(self._readout.content)
            try:
                socket.send_fds(self._socket, [b"r"], [contents])
            finally:
                os.close(contents)
