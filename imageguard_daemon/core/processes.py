"""Processes of ours beside us: started, started again within limits, asked to stop, ended by force, never left alone.

The parent's side is `ChildProcess`. The child's side is `end_with_parent`, which it calls before it does anything, and
`go_before_others`: when memory runs out, those go first whose work is found again, not the one that knows of it. Both
sides are partners as long as they come from the same files: `installed_edition`.
"""

import ctypes
import math
import os
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass

from imageguard_daemon.core.backoff import Backoff

_PR_SET_PDEATHSIG = 1
_OWN_SCORE = "/proc/self/oom_score_adj"
_MAX_SCORE = 1000
WORKER_STEP = 400
DECODER_STEP = 200
"""More than its worker: it is what holds the pixels."""
PAGES_STEP = 300
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_CHECK_SECONDS = 1.0
"""How often it is looked whether one that runs has ended."""
_SAID_BYTES = 2_000
MAX_LINES = 20
"""So many of the lines it says are kept until they are asked for; of more, the latest."""


def end_with_parent(parent: int, number: signal.Signals = signal.SIGTERM) -> bool:
    """Have the kernel send us a signal when our parent ends, however it does; False when it has ended already.

    A parent that is killed runs no code of its own any more, so it is the child who asks (PR_SET_PDEATHSIG in
    prctl(2)). Then it looks who its parent is: one that ended before the kernel was asked is not noticed by it.
    """
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
    return os.getppid() == parent


def go_before_others(step: int) -> None:
    """Have the kernel prefer this process by so many thousandths of the memory (proc_pid_oom_score_adj(5)).

    To say so of oneself takes no privilege, and cannot be taken back without one.
    """
    with suppress(OSError, ValueError):
        with open(_OWN_SCORE, encoding="ascii") as file:
            score = int(file.read())
        with open(_OWN_SCORE, "w", encoding="ascii") as file:
            file.write(str(min(_MAX_SCORE, score + step)))


def installed_edition() -> str:
    """Give a word that changes when the package's files are replaced, as by an upgrade in place."""
    count, newest_ns, size_bytes = 0, 0, 0
    for folder, _, names in os.walk(_PACKAGE):
        for name in names:
            if name.endswith((".py", ".so", ".npz")):
                try:
                    status = os.stat(os.path.join(folder, name))
                except OSError:  # it is being replaced just now
                    continue
                count, size_bytes = count + 1, size_bytes + status.st_size
                newest_ns = max(newest_ns, status.st_mtime_ns)
    return f"{count}-{newest_ns}-{size_bytes}"


@dataclass(frozen=True, slots=True)
class Restarts:
    """How a process that has ended is started again: pauses grow with each start of late."""

    pauses: Backoff
    max_starts: int = 0
    """So many starts within `within_seconds` are the last ones; 0 for no limit."""
    within_seconds: float = 600.0
    final_codes: Collection[int] = ()
    """Exit codes after which another start would end the same way."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process has ended, or why there is none."""

    code: int | None
    """None when it could not even be started."""
    why: str
    """The last line it has said, where it is listened to."""
    pause_seconds: float | None
    """After how long it is started again; None for not any more."""


class ChildProcess:
    """One program that runs beside us. One thread only; no call waits but `stop`.

    `message` is written to its standard input when it starts. With `listens`, what it says on standard error is kept
    for `take_lines`, and it never waits for us to read it. With `defers_stop`, it starts with SIGTERM blocked, and
    unblocks it once it can handle it: it may be asked to stop before it has come to that.
    """

    def __init__(
        self,
        command: Sequence[str],
        restarts: Restarts,
        *,
        message: Callable[[], bytes] = lambda: b"",
        listens: bool = False,
        defers_stop: bool = False,
    ) -> None:
        self._command = tuple(command)
        self._restarts = restarts
        self._message = message
        self._listens = listens
        self._blocked = {signal.SIGTERM} if defers_stop else set()
        self._process: subprocess.Popen[bytes] | None = None
        self._starts: deque[float] = deque(maxlen=restarts.max_starts or 64)
        self._start_at = 0.0
        self._said = b""
        self._lines: list[str] = []

    @property
    def process_id(self) -> int | None:
        """Its number, until `step` has told of its end."""
        return None if self._process is None else self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def step(self, now: float) -> Exit | None:
        """Start it when it is due; give how it has ended, once. `now` is a monotonic clock in seconds."""
        if self._process is not None and (code := self._process.poll()) is not None:
            self._listen()  # or its last words would be lost with the pipe
            self._let_go()
            return self._plan(now, code)
        if self._process is None and now >= self._start_at:
            self._starts.append(now)
            try:
                self._spawn()
            except OSError as error:  # no memory, no room for processes: passes
                self._said = (error.strerror or str(error)).encode()
                return self._plan(now, None)
        return None

    def next_due(self, now: float) -> float | None:
        """Say when to call `step` again; None when it is not to be started any more."""
        if self._process is not None:
            return now + _CHECK_SECONDS
        return None if self._start_at == math.inf else self._start_at

    def take_lines(self) -> list[str]:
        """Give the lines it has said since the last time."""
        self._listen()
        lines, self._lines = self._lines, []
        return lines

    def give_another_chance(self) -> None:
        """Begin to count again: what ended it may have been mended."""
        if self._process is None:
            self._starts.clear()
            self._start_at = 0.0

    def ask_to_stop(self) -> None:
        """Tell it to finish, and start it no more; it has time until `stop`."""
        self._start_at = math.inf
        if self._process is not None:
            self._process.terminate()

    def stop(self, grace_seconds: float) -> None:
        """End it, by force if it does not finish by itself within so long."""
        self.ask_to_stop()
        if self._process is None:
            return
        try:
            self._process.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._let_go()

    def _spawn(self) -> None:
        message = self._message()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, self._blocked)  # a new process has the mask of its parent
        try:
            process = subprocess.Popen(  # noqa: S603 - our own command
                self._command,
                stdin=subprocess.PIPE if message else subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE if self._listens else None,
                process_group=0,  # Ctrl-C in a terminal is ours to hear; it is told in its turn
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self._process = process
        if process.stderr is not None:
            os.set_blocking(process.stderr.fileno(), False)
        if process.stdin is not None:
            with suppress(BrokenPipeError), process.stdin:  # it has ended already: `step` tells of it
                process.stdin.write(message)

    def _listen(self) -> None:
        if self._process is None or self._process.stderr is None:
            return
        new, unfinished = b"", self._said.rpartition(b"\n")[2]
        while part := self._process.stderr.read(1 << 16):
            new = (new + part)[-_SAID_BYTES * MAX_LINES :]
        self._said = (self._said + new)[-_SAID_BYTES:]
        *lines, _unfinished = (unfinished + new).decode(errors="replace").split("\n")
        whole_lines = [line[:_SAID_BYTES] for line in lines if line.strip()]
        self._lines = [*self._lines, *whole_lines][-MAX_LINES:]

    def _let_go(self) -> None:
        if self._process is not None and self._process.stderr is not None:
            self._process.stderr.close()
        self._process = None

    def _plan(self, now: float, code: int | None) -> Exit:
        why = self._said.decode(errors="replace").strip().rpartition("\n")[2]
        self._said = b""
        recent = sum(now - started < self._restarts.within_seconds for started in self._starts)
        is_enough = bool(self._restarts.max_starts) and recent >= self._restarts.max_starts
        if is_enough or code in self._restarts.final_codes:
            self._start_at = math.inf
            return Exit(code, why, None)
        pause = self._restarts.pauses.after(max(1, recent))
        self._start_at = now + pause
        return Exit(code, why, pause)
