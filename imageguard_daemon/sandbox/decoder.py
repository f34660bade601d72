"""The process that meets hostile bytes: forked, confined, with one socket to answer on.

Whoever forks it gives it sealed copies in memory and gets bytes back. So a decoder taken over holds no file, and what
it answers is checked, never unpickled.
"""

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
from dataclasses import asdict
from functools import cache
from typing import Any, Generic, NoReturn, TypeVar

from imageguard_daemon.core.errors import RetryableError, StalledError, UnavailableError
from imageguard_daemon.core.model import Limits
from imageguard_daemon.core.names import printable
from imageguard_daemon.core.processes import DECODER_STEP, end_with_parent, go_before_others
from imageguard_daemon.sandbox import confinement, wire
from imageguard_daemon.sandbox.losses import Cause, Loss, is_killed, loss_by_exit
from imageguard_daemon.sandbox.tasks import Task

_SOCKET = 3
_SECONDS_TO_END = 1.0
_SECONDS_TO_BEGIN = 60.0
_CPUCLOCK_SCHED = 2
"""The clock of the time that a process has run, by its number: clock_getcpuclockid(3), which Python lacks."""
_STARVED_SHARE = 0.05
"""With more of a processor than this an image that is not done is large: an endless one must come to an end, too."""
_PROVEN = "ready"
_NOTES_CHARACTERS = 8000
_LOG = logging.getLogger(__name__)
Answer = TypeVar("Answer")


class DecoderLostError(Exception):
    """The process ended, hung or talked nonsense over one file; it is gone, and the message says what it did."""

    def __init__(self, what: str, cause: Cause = Cause.crashed) -> None:
        super().__init__(what)
        self.loss = Loss(what, cause)


class Decoder(Generic[Answer]):
    """One confined process and the socket to it. `task` is what it does with the bytes it is given.

    It proves itself on a known picture before its answers count: what ends before that does so for no image's fault.

    Raises:
        UnavailableError: it cannot be set up here, or does not read what it must.
        RetryableError: it was killed from outside before it could begin.
        StalledError: it is not ready after a long time, and has not ended either.
    """

    def __init__(self, memory_bytes: int, task: Task[Answer]) -> None:
        _require_proof_here(task.prove)
        self._task = task
        self._socket, theirs = wire.pair()
        parent = os.getpid()
        self._code: int | None = None
        self.pid = os.fork()
        if not self.pid:
            _live(parent, theirs, memory_bytes, task)
        theirs.close()
        self._require_proof()

    def ask(self, contents: int, limits: Limits, seconds: float | None = None) -> Answer:
        """Have it look at a sealed memory file, within `seconds` if given.

        Raises:
            DecoderLostError: it did not come to an end as it should; this decoder is of no more use.
        """
        self._socket.settimeout(seconds)
        began, had_run = time.monotonic(), self._seconds_run()
        answer = None
        try:
            with suppress(ConnectionError):
                wire.send(self._socket, asdict(limits), contents=contents)
                answer = wire.receive(self._socket)
            if answer is not None:
                _log_notes(answer)
                return self._task.read(answer.body)
        except TimeoutError:
            ran, waited = self._seconds_run() - had_run, time.monotonic() - began
            is_starved = ran < waited * _STARVED_SHARE and self._wants_to_run()
            self.close()
            words = f"took longer than {seconds:g} s"
            if is_starved:
                raise DecoderLostError(f"{words}, nearly all of it waiting for a processor", Cause.starved) from None
            raise DecoderLostError(words, Cause.limited) from None
        except ValueError:
            _LOG.error("a decoder gave an invalid answer")
            self.close()
            raise DecoderLostError("gave an invalid answer") from None
        raise self._lost(limits)

    def close(self) -> None:
        """End the process, if it has not ended."""
        if self._code is None:
            os.kill(self.pid, signal.SIGKILL)
            self._exit_code()
        self._socket.close()

    def _require_proof(self) -> None:
        self._socket.settimeout(_SECONDS_TO_BEGIN)
        said = ""
        try:
            with suppress(ConnectionError, ValueError):
                first = wire.receive(self._socket)
                said = str(first.facts.get("notes", "")) if first else ""
        except TimeoutError:  # it has said neither that it works nor that it does not
            self.close()
            raise StalledError(
                f"a decoder has not begun within {_SECONDS_TO_BEGIN:g} s: this machine has too much to do, or too "
                "little memory"
            ) from None
        if said == _PROVEN:
            return
        killed = self._ends_soon() and is_killed(self._exit_code())
        self.close()
        if killed and not said:
            raise RetryableError("a decoder was killed before it could begin, perhaps for lack of memory")
        reason = printable(said.strip().rpartition("\n")[2]) or "it ends without a word"
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
        if code == -signal.SIGXCPU:
            return DecoderLostError(f"took more than {limits.cpu_seconds} s of processor time", Cause.limited)
        loss = loss_by_exit(code, "decoder")
        return DecoderLostError(loss.what, loss.cause)

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
                with open(f"/proc/{self.pid}/task/{thread}/stat", encoding="ascii", errors="replace") as status:
                    states.add(status.read().rpartition(")")[2].split()[0])
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
def _require_proof_here(prove: Callable[[], str]) -> None:
    """Try it here: what libraries load at first use cannot be loaded in the confined process.

    Raises:
        UnavailableError: the known picture cannot be read even here.
    """
    if complaint := prove():
        raise UnavailableError(f"images cannot be decoded here: {complaint}")


def _log_notes(answer: wire.Message) -> None:
    for note in str(answer.facts.get("notes", ""))[:_NOTES_CHARACTERS].splitlines():
        _LOG.warning("%s", printable(note))


# --- inside the process


def _live(parent: int, theirs: socket.socket, memory_bytes: int, task: Task[Any]) -> NoReturn:
    try:
        go_before_others(DECODER_STEP)
        if end_with_parent(parent, signal.SIGKILL):  # or it was gone before it could take us with it
            notes = _Notes()
            logging.getLogger().handlers[:] = [notes]
            line = _alone_with(theirs)
            _begin(line, memory_bytes, task)
            while _serve_one(line, task, notes):
                pass
    except BaseException:  # noqa: BLE001 - nothing of the process it was forked from must run on
        os._exit(os.EX_SOFTWARE)
    os._exit(os.EX_OK)


def _begin(line: socket.socket, memory_bytes: int, task: Task[Any]) -> None:
    """Be confined and prove it works; say so, or why it does not."""
    try:
        confinement.confine(memory_bytes, threads_needed=task.threads_needed)
        complaint = task.prove()
    except Exception as error:
        wire.send(line, {"notes": f"{error}"[-_NOTES_CHARACTERS:]})
        raise
    wire.send(line, {"notes": complaint or _PROVEN})


def _alone_with(theirs: socket.socket) -> socket.socket:
    """Let go of every descriptor but the socket; the standard ones lead nowhere."""
    given = theirs.detach()
    own = given if given == _SOCKET else os.dup2(given, _SOCKET)
    os.closerange(_SOCKET + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in range(_SOCKET):
        os.dup2(nowhere, standard)
    os.close(nowhere)
    return wire.attached(own)


def _serve_one(line: socket.socket, task: Task[Any], notes: "_Notes") -> bool:
    request = wire.receive_request(line)
    if request is None:
        return False
    limits = Limits(**request.facts)
    _allow_processor_seconds(limits.cpu_seconds)
    answer = task.run(wire.taken_contents(request) or b"", limits)
    wire.send(line, {"notes": notes.taken()}, answer)
    return True


def _allow_processor_seconds(seconds: int) -> None:
    # RLIMIT_CPU counts from the start of the process, over all images that it has decoded.
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
