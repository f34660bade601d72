"""The process that serves the pages beside a daemon: started, restarted within limits, stopped with it.

It is another process so that nothing it does, and nobody who asks it, slows or stops the daemon.
"""

import os
import subprocess
from collections import deque
from collections.abc import Sequence

import structlog

from imageguard_daemon.core.names import printable

STARTS_WITHIN_LIMIT = 5
LIMIT_SECONDS = 600.0
_LONGEST_PAUSE_SECONDS = 60.0
_TOLD_BYTES = 2_000
_STOP_SECONDS = 7.0
"""Longer than it lets answers finish."""
_FOR_GOOD = {os.EX_USAGE, os.EX_UNAVAILABLE, os.EX_NOPERM, os.EX_CONFIG}
"""It will end so again: a package, an address or a file is not to be had, or what it was told makes no sense."""
_LINES_PASSED_ON = 20
"""At a time, of what it says while it runs; that is once a second."""

log = structlog.get_logger(__name__)


class PageProcess:
    """One process, or none for an empty command. The loop's thread only; no call waits but `stop`."""

    def __init__(self, command: Sequence[str] = ()) -> None:
        self._command = tuple(command)
        self._process: subprocess.Popen[bytes] | None = None
        self._starts: deque[float] = deque(maxlen=STARTS_WITHIN_LIMIT)
        self._start_at = 0.0 if command else float("inf")
        self._told = b""

    @property
    def is_up(self) -> bool | None:
        """Whether it runs; None where none is wanted."""
        return self._process is not None if self._command else None

    def step(self, now: float) -> None:
        """Start it when it is due; note when it has ended. `now` is a monotonic clock in seconds."""
        if self._process is not None:
            self._listen()
            if self._process.poll() is not None:
                self._ended(now, self._process.returncode)
        if self._process is None and now >= self._start_at:
            self._start(now)

    def give_another_chance(self) -> None:
        """Begin to count again, after the configuration was reloaded."""
        if self._command and self._process is None:
            self._starts.clear()
            self._start_at = 0.0

    def ask_to_stop(self) -> None:
        """Tell it to finish; it has time until `stop`."""
        self._start_at = float("inf")
        if self._process is not None:
            self._process.terminate()

    def stop(self) -> None:
        """End it, at once if it does not finish by itself."""
        self.ask_to_stop()
        if self._process is None:
            return
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._let_go()

    def _start(self, now: float) -> None:
        self._starts.append(now)
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                [*self._command, "--with-process", str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                process_group=0,
            )
        except OSError as error:  # no memory, no room for processes: passes
            self._told = (error.strerror or str(error)).encode()
            self._plan(now, None)
            return
        assert self._process.stderr  # noqa: S101 - for the type checker
        os.set_blocking(self._process.stderr.fileno(), False)
        log.info("pages started", process_id=self._process.pid)

    def _listen(self) -> None:
        """Take what it says, so that it never waits for us to read; lines are passed on, the end is kept."""
        assert self._process is not None  # noqa: S101 - for the type checker
        assert self._process.stderr  # noqa: S101 - for the type checker
        new, end = b"", self._told.rpartition(b"\n")[2]
        while part := self._process.stderr.read(1 << 16):
            new = (new + part)[-_TOLD_BYTES * _LINES_PASSED_ON :]
        self._told = (self._told + new)[-_TOLD_BYTES:]
        *lines, _unfinished = (end + new).decode(errors="replace").split("\n")
        for line in lines[-_LINES_PASSED_ON:]:
            if line.strip():
                log.warning("pages say", line=printable(line[:_TOLD_BYTES]))

    def _ended(self, now: float, code: int) -> None:
        self._listen()
        self._let_go()
        self._plan(now, code)

    def _let_go(self) -> None:
        if self._process is not None and self._process.stderr:
            self._process.stderr.close()
        self._process = None

    def _plan(self, now: float, code: int | None) -> None:
        last = self._told.decode(errors="replace").strip().rpartition("\n")[2].removeprefix("error: ")
        self._told = b""
        many = len(self._starts) == STARTS_WITHIN_LIMIT and now - self._starts[0] < LIMIT_SECONDS
        if code in _FOR_GOOD or many:
            self._start_at = float("inf")
            hint = "not tried again before SIGHUP or a restart; images are judged as before"
            log.error("no pages", why=last, code=code, hint=hint)
            return
        recent = sum(now - started < LIMIT_SECONDS for started in self._starts)
        pause = min(_LONGEST_PAUSE_SECONDS, 2.0 ** (recent - 1))
        self._start_at = now + pause
        log.warning("pages ended", why=last, code=code, next_start_in_seconds=pause)
