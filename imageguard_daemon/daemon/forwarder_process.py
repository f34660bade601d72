"""The forwarder as a process of its own, and how a daemon starts it, watches it and lets go of it.

A process and not a thread: it shares no interpreter with the loop that files images, and a library that hangs or
crashes takes nothing with it.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import structlog
from rich.console import Console

from imageguard_daemon.config import Settings
from imageguard_daemon.core import logs
from imageguard_daemon.core.backoff import Backoff
from imageguard_daemon.core.errors import ImageguardError
from imageguard_daemon.core.processes import ChildProcess, Restarts, end_with_parent
from imageguard_daemon.daemon.forwarder import ForwardingLoop, read, waiting_records
from imageguard_daemon.daemon.parts import Part
from imageguard_daemon.daemon.snapshot import Snapshot

STOP_SECONDS = 3.0
"""For so long what is left is still sent after a stop signal."""
MIN_TIMEOUT_SECONDS = 60.0
"""For so long, at least, `run --once` waits for a forwarder that says nothing new."""
_GRACE_SECONDS = 2.0
_START_AGAIN_SECONDS = 5.0
_COMMAND = (sys.executable, "-m", "imageguard_daemon.daemon.forwarder_process")

log = structlog.get_logger(__name__)


def main() -> None:
    """Forward with the settings that come on standard input, until the daemon that started this has ended."""
    logs.configure("auto", "info", Console(stderr=True))
    settings = Settings.model_validate_json(sys.stdin.read())
    logs.configure(settings.logging.format, settings.logging.level, Console(stderr=True))
    parent = int(sys.argv[1])
    end_with_parent(parent)
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
    should_stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: should_stop.set())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    loop = ForwardingLoop(settings)
    try:
        while not should_stop.is_set() and not is_over():
            should_stop.wait(loop.step())
        _send_the_rest(loop)
    finally:
        loop.close()


def _send_the_rest(loop: ForwardingLoop) -> None:
    deadline = time.monotonic() + STOP_SECONDS
    while time.monotonic() < deadline and loop.error is None and loop.step() == 0:
        pass


class ForwarderProcess(Part):
    """The daemon's side. Nothing here waits, but for `stop`."""

    def __init__(self, settings: Settings, command: Sequence[str] = _COMMAND) -> None:
        self._settings = settings
        is_wanted = bool(settings.forward.url) and settings.forward.with_daemon
        self._child: ChildProcess | None = None
        if is_wanted:
            # It may be asked to stop while it still starts: `run --once` may be that quick.
            self._child = ChildProcess(
                (*command, str(os.getpid())),
                Restarts(Backoff(_START_AGAIN_SECONDS, _START_AGAIN_SECONDS)),
                message=lambda: settings.model_dump_json().encode(),
                defers_stop=True,
            )
        self._progress: tuple[object, ...] = ()
        self._progress_at = 0.0

    def step(self, now: float) -> None:
        """Start it when it is due; one that has ended is started again after a pause."""
        ended = None if self._child is None else self._child.step(now)
        if ended and ended.code is None:
            log.warning("the forwarder cannot be started", why=ended.why)
        elif ended:
            log.warning("the forwarder has ended; it is started again", exit_code=ended.code)

    def next_due(self, now: float) -> float | None:
        """Say when to step again; None where nothing is forwarded."""
        return None if self._child is None else self._child.next_due(now)

    def is_at_work(self, now: float) -> bool:
        """Tell whether it is on its way to having sent all: it has not failed, and goes on."""
        if self._child is None or not self._child.is_running:
            return False
        process_id = self._child.process_id
        own = self.status() or {}
        own = own if own.get("process_id") == process_id else {}
        if own.get("last_error") or (own.get("state") in {"up to date", "behind"} and not own.get("records_behind")):
            return False
        progress = (process_id, own.get("state"), own.get("records_sent"))
        if progress != self._progress:
            self._progress, self._progress_at = progress, now
        return now - self._progress_at < max(MIN_TIMEOUT_SECONDS, 2 * self._settings.forward.timeout_seconds)

    def missing(self) -> str:
        """Say what is recorded and not confirmed by the fleet's database; empty for nothing, or nothing wanted."""
        if self._child is None:
            return ""
        try:
            records = waiting_records(self._settings)
        except ImageguardError as error:
            return f"what is not forwarded is not known: {error}"
        why = (self.status() or {}).get("last_error") or "the database did not confirm them in time"
        return f"{records:,} records are not forwarded: {why}" if records else ""

    def stop(self) -> None:
        """Have it send what is left, for a bounded time, and end; nothing is lost with one that waits for a server."""
        if self._child is not None:
            self._child.stop(STOP_SECONDS + _GRACE_SECONDS)

    def snapshot(self, so_far: Snapshot, now: float) -> Snapshot:  # noqa: ARG002 - the protocol's
        """Add what it last said of itself."""
        return replace(so_far, forwarding=self.status())

    def status(self) -> dict[str, Any] | None:
        """Give what a forwarder of this root last wrote; None where nothing is forwarded."""
        return read(self._settings.state_folder) if self._settings.forward.url else None


if __name__ == "__main__":
    main()
