"""Asks about hostile bytes from anywhere: any thread, any process, daemonic ones too.

Processes made by `multiprocessing` cannot be had in all of these, and begin by importing the main module of whoever
starts them: a training script must not be run again by that.
"""

import threading
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

from imageguard_daemon.core.errors import ImageError, StalledError, UnavailableError
from imageguard_daemon.core.model import Limits, Measurement
from imageguard_daemon.quality.readout import configured, scorer_by
from imageguard_daemon.sandbox import wire
from imageguard_daemon.sandbox.answers import read_measurement
from imageguard_daemon.sandbox.decoder import DecoderLostError
from imageguard_daemon.sandbox.losses import KILLED, Cause, Loss, issue_of
from imageguard_daemon.sandbox.processes import start_process

if TYPE_CHECKING:
    import subprocess

    from imageguard_daemon.config import Scoring

HOST_MODULE = "imageguard_daemon.sandbox.host"
_MEGABYTE = 1 << 20
_SECONDS_TO_START = 120.0
_GRACE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Work:
    """What is asked for: a task by its name in `tasks`, and what one image may cost there.

    `readout` is the content of one that is to measure in place of the package's.
    """

    task: str
    memory_bytes: int
    seconds: float
    limits: Limits = field(default_factory=Limits)
    readout: bytes | None = None


class Client:
    """One host, started at the first question, replaced when it dies or hangs. Any thread may ask; others wait."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def ask(self, data: bytes) -> bytes:
        """Give the answer about these bytes, which makes sense for its task, whatever image it is about.

        Raises:
            ImageError: it takes its process down again and again.
            RetryableError: its process was killed, more than once.
            StalledError: no process begins, and none ends either; or none gets a processor.
            UnavailableError: there is no process to be had, or it cannot decode.
        """
        losses: list[Loss] = []
        while (issue := issue_of(losses)) is None:
            try:
                with self._lock:
                    return self._ask_once(data)
            except DecoderLostError as lost:
                losses.append(lost.loss)
        raise ImageError(*issue)

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._line.close()
            self._process.kill()
            self._process.wait()
            self._process = None

    def _ask_once(self, data: bytes) -> bytes:
        if self._process is not None and self._process.poll() is not None:
            self.close()  # it had nothing to do for long
        if self._process is None:
            self._start()
        answer = self._answer(data)
        if answer is None:
            self.close()
            raise DecoderLostError(KILLED.what, KILLED.cause)
        if "lost" in answer.facts:
            raise DecoderLostError(answer.facts["lost"], Cause(answer.facts["cause"]))
        return answer.body

    def _answer(self, data: bytes) -> wire.Message | None:
        patience = self._work.seconds + _GRACE_SECONDS
        self._line.settimeout(patience)
        try:
            with suppress(ConnectionError):
                facts = {"limits": asdict(self._work.limits), "seconds": self._work.seconds}
                wire.send_with_copy(self._line, facts, data)
                return wire.receive(self._line)
        except TimeoutError:  # its decoder is ended before that: it has not come to it, whatever the image is like
            self.close()
            words = f"took longer than {patience:g} s, though its decoder may not"
            raise DecoderLostError(words, Cause.killed) from None
        return None

    def _start(self) -> None:
        try:
            self._process, self._line = start_process(HOST_MODULE)
        except OSError as error:
            raise UnavailableError(f"no process to decode images in: {error.strerror}") from error
        self._line.settimeout(_SECONDS_TO_START)
        first = None
        try:
            with suppress(ConnectionError):
                self._send_order()
                first = wire.receive(self._line)
        except TimeoutError:
            self.close()
            raise StalledError(
                f"the process that decodes images has not begun within {_SECONDS_TO_START:g} s: this machine has too "
                "much to do, or too little memory"
            ) from None
        if first is None:
            self.close()
            raise UnavailableError(
                "the process that decodes images ends before it has done anything: the reason stands above, or else "
                "scoring.worker_memory_megabytes is too small"
            )
        if "failed" in first.facts:
            self.close()
            raise UnavailableError(first.facts["failed"])

    def _send_order(self) -> None:
        order = {"task": self._work.task, "memory_bytes": self._work.memory_bytes}
        wire.send_with_copy(self._line, order, self._work.readout)


class BytesMeasurer:
    """Measures bytes in one host, made at first use. Any thread may call it; others wait meanwhile.

    `seconds` is what one image may take; by default that of the settings. The readout that the settings name
    is read here, once.

    Raises:
        NoInputError, PermissionDeniedError, ConfigError: there is none to be had where they name one.
    """

    def __init__(self, settings: "Scoring", seconds: float | None = None) -> None:
        self._readout = configured(settings.readout)
        whole = max(1, round(settings.timeout_seconds if seconds is None else seconds))
        limits = Limits(settings.max_pixels, settings.max_megabytes * _MEGABYTE, cpu_seconds=whole)
        memory = settings.worker_memory_megabytes * _MEGABYTE
        readout = self._readout.content if self._readout else None
        self._client = Client(Work("measure", memory, whole, limits, readout))

    def measure(self, data: bytes) -> Measurement:
        """Measure an image in memory; a bad one gives its issue, as does one that takes its process down twice.

        The result has no SHA-256: the caller has the bytes. For errors see `Client.ask`.
        """
        try:
            measurement = read_measurement(self._client.ask(data))
        except ImageError as error:
            measurement = Measurement("", issue=error.issue, detail=error.detail)
        return replace(measurement, readout=self._readout.digest) if self._readout else measurement

    @property
    def scorer_version(self) -> str:
        """By which scorer it measures, as records name it."""
        return scorer_by(self._readout)

    def close(self) -> None:
        """End the process."""
        self._client.close()
