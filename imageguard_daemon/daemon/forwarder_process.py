"""The forwarder as a process of its own, and how a daemon starts it, watches it and lets go of it.

A process and not a thread: it shares no interpreter with the loop that files images, and a library that hangs or
crashes takes nothing with it.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import structlog
from rich.console import Console

from imageguard_daemon.config import Settings
from imageguard_daemon.core import logs
from imageguard_daemon.core.errors import ImageguardError
from imageguard_daemon.daemon.forwarder import ForwardingLoop, read, waiting_records

STOP_SECONDS = 3.0
"""For so long what is left is still sent after a stop signal."""
LEAST_PATIENCE_SECONDS = 60.0
"""For so long, at least, `run --once` waits for a forwarder that says nothing new."""
_GRACE_SECONDS = 2.0
_START_AGAIN_SECONDS = 5.0
_PR_SET_PDEATHSIG = 1
_COMMAND = (sys.executable, "-m", "imageguard_daemon.daemon.forwarder_process")

log = structlog.get_logger(__name__)


def main() -> None:
    """Forward with the settings that come on standard input, until the daemon that started this has ended."""
    logs.configure("auto", "info", Console(stderr=True))
    settings = Settings.model_validate_json(sys.stdin.read())
    logs.configure(settings.logging.format, settings.logging.level, Console(stderr=True))
    parent = int(sys.argv[1])
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    try:
        follow(settings, lambda: os.getppid() != parent)
    except ImageguardError as error:
        log.warning("not forwarded", why=str(error))
        raise SystemExit(error.exit_code) from None


def follow(settings: Settings, is_over: Callable[[], bool] = lambda: False) -> None:
    """Forward until SIGTERM or SIGINT, or until it is over; then send what is left, for a bounded time.

    Raises:
        AlreadyRunningError: another process forwards this root's log.
    """
    told_to_stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_told: told_to_stop.set())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    loop = ForwardingLoop(settings)
    try:
        while not told_to_stop.is_set() and not is_over():
            told_to_stop.wait(loop.step())
        _send_the_rest(loop)
    finally:
        loop.close()


def _send_the_rest(loop: ForwardingLoop) -> None:
    deadline = time.monotonic() + STOP_SECONDS
    while time.monotonic() < deadline and loop.error is None and loop.step() == 0:
        pass


class ForwardingProcess:
    """The daemon's side. Nothing here waits, but for `stop`."""

    def __init__(self, settings: Settings, command: Sequence[str] = _COMMAND) -> None:
        self._settings = settings
        self._command = command
        self._is_wanted = bool(settings.forward.url) and settings.forward.with_daemon
        self._process: subprocess.Popen[bytes] | None = None
        self._start_at = 0.0
        self._progress: tuple[object, ...] = ()
        self._progress_at = 0.0

    def step(self, now: float) -> None:
        """Start it when it is due; one that has ended is started again after a pause."""
        if not self._is_wanted:
            return
        if self._process is not None and self._process.poll() is not None:
            log.warning("the forwarder has ended; it is started again", exit_code=self._process.returncode)
            self._process = None
            self._start_at = now + _START_AGAIN_SECONDS
        if self._process is None and now >= self._start_at:
            self._start_at = now + _START_AGAIN_SECONDS
            self._start()

    def is_at_work(self, now: float) -> bool:
        """Tell whether it is on its way to having sent all: it has not failed, and goes on."""
        if self._process is None or self._process.poll() is not None:
            return False
        own = self.status() or {}
        own = own if own.get("process_id") == self._process.pid else {}
        if own.get("last_error") or (own.get("state") in {"up to date", "behind"} and not own.get("records_behind")):
            return False
        progress = (self._process.pid, own.get("state"), own.get("records_sent"))
        if progress != self._progress:
            self._progress, self._progress_at = progress, now
        return now - self._progress_at < max(LEAST_PATIENCE_SECONDS, 2 * self._settings.forward.timeout_seconds)

    def lacking(self) -> str:
        """Say what is recorded and not confirmed by the fleet's database; empty for nothing, or nothing wanted."""
        if not self._is_wanted:
            return ""
        try:
            records = waiting_records(self._settings)
        except ImageguardError as error:
            return f"what is not forwarded is not known: {error}"
        why = (self.status() or {}).get("last_error") or "the database did not confirm them in time"
        return f"{records:,} records are not forwarded: {why}" if records else ""

    def stop(self) -> None:
        """Have it send what is left, for a bounded time, and end."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS + _GRACE_SECONDS)
        except subprocess.TimeoutExpired:  # it waits for a server that does not answer; nothing is lost with it
            process.kill()
            process.wait()

    def status(self) -> dict[str, Any] | None:
        """Give what a forwarder of this root last wrote; None where nothing is forwarded."""
        return read(self._settings.state_folder) if self._settings.forward.url else None

    def _start(self) -> None:
        try:
            process = self._begun()
            with process.stdin, suppress(BrokenPipeError):  # type: ignore[union-attr]
                process.stdin.write(self._settings.model_dump_json().encode())  # type: ignore[union-attr]
        except OSError as error:
            log.warning("the forwarder cannot be started", why=error.strerror)
        else:
            self._process = process

    def _begun(self) -> subprocess.Popen[bytes]:
        # A stop signal that comes while it still starts waits until it can be handled: `run --once` may be that quick.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        try:
            return subprocess.Popen(  # noqa: S603 - ourselves
                [*self._command, str(os.getpid())], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, process_group=0
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


if __name__ == "__main__":
    main()
