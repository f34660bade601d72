"""Which disk or mount the loop is waiting for: a thread that waits for none says so, and lets a stop signal through.

A hung mount (a server that is gone) stops whoever touches it inside the kernel: the loop, and with it the status and
the handlers of signals. So the loop notes what it is about to touch, and this thread looks at the note. It writes a
small file beside the status, and when the daemon is told to stop and the loop does not come back within
`drain_seconds`, it ends the process as a kill would: the next start finishes what that leaves.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import structlog

from imageguard_daemon.core.names import printable
from imageguard_daemon.core.state_file import StateFile
from imageguard_daemon.core.systemd import notify
from imageguard_daemon.core.timestamps import seconds_timestamp, utc_now

WAITING_FILE = "waiting.json"
SLOW_SECONDS = 5.0
"""After so long a disk is called slow."""
_LOOK_SECONDS = 0.5
_STOPS = (signal.SIGTERM, signal.SIGINT)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a daemon waits for, and since when (ISO 8601, UTC)."""

    process_id: int
    source: str
    waiting_for: str
    since: str


_STATE = StateFile(WAITING_FILE, Waiting)


class StallWatch:
    """What the loop is touching. `touching` is for the loop's thread; without `start` it only takes notes."""

    def __init__(self, state_folder: Path, drain_seconds: float) -> None:
        self._file = state_folder / WAITING_FILE
        self._drain_seconds = drain_seconds
        self._now: tuple[str, str, float] | None = None
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._woken = -1, -1

    @contextmanager
    def touching(self, source: str, what: str) -> Iterator[None]:
        """Note that something of a source, or of all where that is empty, is being touched."""
        before, self._now = self._now, (source, what, time.monotonic())
        try:
            yield
        finally:
            self._now = before and (*before[:2], time.monotonic())

    def start(self) -> None:
        """Begin to look at the notes, and to hear of signals that the loop's thread cannot take."""
        self._file.unlink(missing_ok=True)
        self._woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        with suppress(ValueError):  # not the main thread: no signals either
            signal.set_wakeup_fd(self._woken[1], warn_on_full_buffer=False)
        self._thread = threading.Thread(target=self._look, name="touching", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop looking."""
        if self._thread is None:
            return
        with suppress(ValueError):
            signal.set_wakeup_fd(-1)
        self._ended.set()
        self._thread.join(_LOOK_SECONDS * 4)  # it may be writing to the disk that hangs
        self._thread = None
        for descriptor in self._woken:
            os.close(descriptor)

    def _look(self) -> None:
        reported: tuple[str, str, float] | None = None
        stop_by: float | None = None
        while not self._ended.wait(_LOOK_SECONDS):
            now, touched = time.monotonic(), self._now
            if stop_by is None and self._was_asked_to_stop():
                stop_by = now + self._drain_seconds
            is_slow = touched is not None and now - touched[2] >= SLOW_SECONDS
            if touched is not None and is_slow and touched != reported:
                reported = touched
                self._report(touched, now)
            elif reported is not None and touched != reported:
                reported = None
                with suppress(OSError):
                    self._file.unlink()
            if touched is not None and is_slow and stop_by is not None and now >= stop_by:
                self._end(touched)

    def _report(self, touched: tuple[str, str, float], now: float) -> None:
        source, what, began = touched
        log.warning("a disk or mount does not answer", source=source, waiting_for=printable(what))
        notify(STATUS=f"waiting for {printable(what)}, which does not answer")
        since = seconds_timestamp(utc_now() - timedelta(seconds=now - began))
        _STATE.write(self._file.parent, Waiting(os.getpid(), source, printable(what), since))

    def _was_asked_to_stop(self) -> bool:
        """Tell whether a stop signal has come: taken by a thread of ours, or waiting for one that hangs."""
        try:
            taken = os.read(self._woken[0], 64)
        except OSError:
            taken = b""
        return any(number in taken for number in _STOPS) or _pending(_STOPS)

    def _end(self, touched: tuple[str, str, float]) -> None:
        log.error("stopped without waiting any longer", waiting_for=printable(touched[1]))
        os._exit(os.EX_TEMPFAIL)


def _pending(signals: tuple[signal.Signals, ...]) -> bool:
    with suppress(OSError, ValueError), open(f"/proc/{os.getpid()}/status", encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith(("SigPnd:", "ShdPnd:")):
                mask = int(line.split()[1], 16)
                if any(mask >> (number - 1) & 1 for number in signals):
                    return True
    return False


def waiting(state_folder: Path, process_id: int | None) -> dict[str, Any] | None:
    """Give what a daemon waits for, as its thread has written it; None when it waits for nothing."""
    content = _STATE.read_plain(state_folder)
    return content if content and content["process_id"] == process_id else None
