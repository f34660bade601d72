"""The process that meets hostile bytes: forked from a worker, confined, with one socket to answer on.

A worker reads the file and hashes it; its decoder gets a sealed copy in memory and gives numbers and short texts as
JSON. So a decoder taken over holds no file, and what it answers is checked, never unpickled.
"""

import ctypes
import fcntl
import json
import logging
import math
import os
import resource
import select
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, fields
from functools import cache
from typing import Any, NoReturn

from imageguard_daemon.core.errors import RetryableError, StalledError, UnavailableError
from imageguard_daemon.core.model import Measurement, Measures
from imageguard_daemon.core.names import printable
from imageguard_daemon.core.oom_score import DECODER_STEP, go_before_others
from imageguard_daemon.quality import measurement
from imageguard_daemon.quality.decode import heif
from imageguard_daemon.quality.decode.decoder import Limits
from imageguard_daemon.quality.decode.formats import HANDLED
from imageguard_daemon.sandbox import confinement
from imageguard_daemon.sandbox.losses import Cause, Loss

_PR_SET_PDEATHSIG = 1
_SOCKET = 3
_ANSWER_BYTES = 1 << 18
_SECONDS_TO_END = 1.0
_SECONDS_TO_BEGIN = 60.0
_CPUCLOCK_SCHED = 2
"""The clock of the time that a process has run, by its number: clock_getcpuclockid(3), which Python lacks."""
_STARVED_SHARE = 0.05
"""With more of a processor than this an image that is not done is large: an endless one must come to an end, too."""
_PROVEN = "ready"
_KILLED_FROM_OUTSIDE = {-signal.SIGKILL, -signal.SIGTERM}
_TEXT_CHARACTERS = 2000
_NOTES_CHARACTERS = 8000
_ISSUES = frozenset({"blank", "corrupt", "unsupported", "too_large"})
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
_LOG = logging.getLogger(__name__)

KNOWN_SIZE = (16, 16)
KNOWN_PICTURE = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000100000001008000000003a98a0bd000000144944415478da63646043058c1c68022c234a"
    "000058a806537027ea260000000049454e44ae426082"
)
"""PNG: it goes through zlib, libpng, all features and the networks."""

Work = Callable[[bytes, Limits], Measurement]


class DecoderLostError(Exception):
    """The process ended, hung or talked nonsense over one file; it is gone, and the message says what it did."""

    def __init__(self, told: str, cause: Cause = Cause.crashed) -> None:
        super().__init__(told)
        self.loss = Loss(told, cause)


class Decoder:
    """One confined process and the socket to it. `work` is what it does with the bytes it is given.

    It proves itself on a known picture before its answers count: what ends before that does so for no image's fault.

    Raises:
        UnavailableError: it cannot be set up here, or does not read what it must.
        RetryableError: it was killed from outside before it could begin.
        StalledError: it is not ready after a long time, and has not ended either.
    """

    def __init__(self, memory_bytes: int, work: Work = measurement.measure_bytes) -> None:
        _load_what_comes_late()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        worker = os.getpid()
        self._code: int | None = None
        self.pid = os.fork()
        if not self.pid:
            _live(worker, theirs, memory_bytes, work)
        theirs.close()
        self._require_proof()

    def measure(self, contents: int, limits: Limits, seconds: float | None = None) -> Measurement:
        """Have a sealed memory file measured, within `seconds` if given.

        Raises:
            DecoderLostError: it did not come to an end as it should; this decoder is of no more use.
        """
        answer = b""
        self._socket.settimeout(seconds)
        began, had_run = time.monotonic(), self._seconds_run()
        try:
            with suppress(ConnectionError):
                socket.send_fds(self._socket, [json.dumps(asdict(limits)).encode()], [contents])
                answer = self._socket.recv(_ANSWER_BYTES)
        except TimeoutError:
            ran, waited = self._seconds_run() - had_run, time.monotonic() - began
            is_starved = ran < waited * _STARVED_SHARE and self._wants_to_run()
            self.close()
            told = f"took longer than {seconds:g} s"
            if is_starved:
                raise DecoderLostError(f"{told}, nearly all of it waiting for a processor", Cause.starved) from None
            raise DecoderLostError(told, Cause.limited) from None
        if not answer:
            raise self._lost(limits)
        try:
            return _checked(json.loads(answer))
        except (ValueError, TypeError, KeyError, RecursionError):
            _LOG.error("a decoder gave an invalid answer")
            self.close()
            raise DecoderLostError("gave an invalid answer") from None

    def close(self) -> None:
        """End the process, if it has not ended."""
        if self._code is None:
            os.kill(self.pid, signal.SIGKILL)
            self._exit_code()
        self._socket.close()

    def _require_proof(self) -> None:
        self._socket.settimeout(_SECONDS_TO_BEGIN)
        told = ""
        try:
            with suppress(ConnectionError, ValueError, TypeError):
                told = str(json.loads(self._socket.recv(_ANSWER_BYTES)).get("notes", ""))
        except TimeoutError:  # it has said neither that it works nor that it does not
            self.close()
            raise StalledError(
                f"a decoder has not begun within {_SECONDS_TO_BEGIN:g} s: this machine has too much to do, or too "
                "little memory"
            ) from None
        if told == _PROVEN:
            return
        killed = self._ends_soon() and self._exit_code() in _KILLED_FROM_OUTSIDE
        self.close()
        if killed and not told:
            raise RetryableError("a decoder was killed before it could begin, perhaps for lack of memory")
        reason = printable(told.strip().rpartition("\n")[2]) or "it ends without a word"
        raise UnavailableError(
            f"the process that decodes images does not work here: {reason} (if it is memory, "
            "scoring.worker_memory_megabytes is too small)"
        )

    def _lost(self, limits: Limits) -> DecoderLostError:
        """Say how it ended."""
        if not self._ends_soon():
            self.close()
            return DecoderLostError("stopped answering")
        code = self._exit_code()
        self.close()
        if code in _KILLED_FROM_OUTSIDE:
            return DecoderLostError("was killed, perhaps for lack of memory", Cause.killed)
        if code == -signal.SIGXCPU:
            return DecoderLostError(f"took more than {limits.cpu_seconds} s of processor time", Cause.limited)
        return DecoderLostError(f"ended its decoder with code {code}")

    def _seconds_run(self) -> float:
        """Give the processor time that it has had."""
        with suppress(OSError):  # it has just ended
            return time.clock_gettime((~self.pid << 3) | _CPUCLOCK_SCHED)
        return 0.0

    def _wants_to_run(self) -> bool:
        """Tell whether a thread of it waits for a processor or for memory: it waits for no disk, having no file."""
        states = set()
        with suppress(OSError):
            for thread in os.listdir(f"/proc/{self.pid}/task"):
                with open(f"/proc/{self.pid}/task/{thread}/stat", encoding="ascii", errors="replace") as told:
                    states.add(told.read().rpartition(")")[2].split()[0])
        return not states.isdisjoint("RD")

    def _ends_soon(self) -> bool:
        """Tell whether it ends, since it hung up; one that was taken over need not."""
        handle = os.pidfd_open(self.pid)
        try:
            return bool(select.select([handle], [], [], _SECONDS_TO_END)[0])
        finally:
            os.close(handle)

    def _exit_code(self) -> int:
        if self._code is None:
            self._code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self._code


@cache
def _load_what_comes_late() -> None:
    """Measure the known picture here: what libraries load at first use cannot be loaded in the confined process.

    Raises:
        UnavailableError: it cannot be read even here.
    """
    if (said := _said_of_the_known_picture()) != _PROVEN:
        raise UnavailableError(f"images cannot be decoded here: {said}")


def sealed_copy(data: bytes) -> int:
    """Put bytes into a memory file that nobody can change any more; the caller closes it."""
    descriptor = os.memfd_create("image", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
    return descriptor


def _checked(answer: Any) -> Measurement:
    """Read an answer as one would read a stranger's letter.

    Raises:
        ValueError, TypeError, KeyError: it is not what a decoder says.
    """
    for note in str(answer["notes"])[:_NOTES_CHARACTERS].splitlines():
        _LOG.warning("%s", printable(note))
    issue, image_format = answer["issue"], answer["image_format"]
    measures = answer["measures"] and Measures(
        **{f.name: _number(answer["measures"][f.name]) for f in fields(Measures)}
    )
    if bool(measures) == bool(issue) or (issue and issue not in _ISSUES) or image_format not in {*HANDLED, ""}:
        raise ValueError("no such answer")
    if measures and not (measures.width >= 1 <= measures.height):
        raise ValueError("no such size")
    detail, camera = _text(answer["detail"]), _text(answer["camera"])
    return Measurement("", measures, issue, detail, camera, image_format)


def _number(value: object) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError("not a number")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value[:_TEXT_CHARACTERS]


# --- inside the process


def _live(worker: int, theirs: socket.socket, memory_bytes: int, work: Work) -> NoReturn:
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        go_before_others(DECODER_STEP)
        if os.getppid() == worker:  # or it was gone before it could take us with it
            notes = _Notes()
            logging.getLogger().handlers[:] = [notes]
            connection = _alone_with(theirs)
            _begin(connection, memory_bytes)
            while _serve_one(connection, work, notes):
                pass
    except BaseException:  # noqa: BLE001 - nothing of the forked worker must run on
        os._exit(os.EX_SOFTWARE)
    os._exit(os.EX_OK)


def _begin(connection: socket.socket, memory_bytes: int) -> None:
    """Be confined and prove it works; say so, or why it does not."""
    try:
        confinement.confine(memory_bytes, threads_needed=heif.is_available())
        said = _said_of_the_known_picture()
    except Exception as error:
        connection.send(json.dumps({"notes": f"{error}"[-_NOTES_CHARACTERS:]}).encode())
        raise
    connection.send(json.dumps({"notes": said}).encode())


def _said_of_the_known_picture() -> str:
    found = measurement.measure_bytes(KNOWN_PICTURE, Limits())
    if found.measures and (found.measures.width, found.measures.height) == KNOWN_SIZE:
        return _PROVEN
    return f"it does not read a picture that is known to be good: {found.detail or 'another size'}"


def _alone_with(theirs: socket.socket) -> socket.socket:
    """Let go of every descriptor but the socket; the standard ones lead nowhere."""
    kept = os.dup2(theirs.detach(), _SOCKET) if theirs.fileno() != _SOCKET else theirs.detach()
    os.closerange(_SOCKET + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in range(_SOCKET):
        os.dup2(nowhere, standard)
    os.close(nowhere)
    return socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, kept)


def _serve_one(connection: socket.socket, work: Work, notes: "_Notes") -> bool:
    message, contents, _, _ = socket.recv_fds(connection, _ANSWER_BYTES, 1)
    if not message:
        return False
    limits = Limits(**json.loads(message))
    _allow_processor_seconds(limits.cpu_seconds)
    try:
        data = _contents(contents[0])
    finally:
        os.close(contents[0])
    result = asdict(work(data, limits))
    result["detail"], result["camera"] = result["detail"][:_TEXT_CHARACTERS], result["camera"][:_TEXT_CHARACTERS]
    connection.send(json.dumps({**result, "notes": notes.taken()}).encode())
    return True


def _contents(descriptor: int) -> bytes:
    size, at = os.lseek(descriptor, 0, os.SEEK_END), 0
    parts = []
    while at < size and (part := os.pread(descriptor, size - at, at)):
        parts.append(part)
        at += len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _allow_processor_seconds(seconds: int) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    most = math.ceil(used.ru_utime + used.ru_stime) + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (most, resource.RLIM_INFINITY))


class _Notes(logging.Handler):
    """Keeps what is logged, to be told with the answer."""

    def __init__(self) -> None:
        super().__init__()
        self._texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self._texts.append(self.format(record))

    def taken(self) -> str:
        texts, self._texts = self._texts, []
        return "\n".join(texts)[-_NOTES_CHARACTERS:]
