"""The process that serves the pages beside a daemon: started, restarted within limits, stopped with it.

It is another process so that nothing it does, and nobody who asks it, slows or stops the daemon.
"""

import os
from collections.abc import Sequence
from dataclasses import replace

import structlog

from imageguard_daemon.config import Settings
from imageguard_daemon.core.backoff import Backoff
from imageguard_daemon.core.names import printable
from imageguard_daemon.core.processes import ChildProcess, Exit, Restarts
from imageguard_daemon.daemon.parts import Part, Snapshot

STARTS_WITHIN_LIMIT = 5
LIMIT_SECONDS = 600.0
_LISTEN_SECONDS = 1.0
"""How often what it says is passed on: a page that says very much must not fill the daemon's log."""
_STOP_SECONDS = 7.0
"""Longer than it lets answers finish."""
_FOR_GOOD = frozenset({os.EX_USAGE, os.EX_UNAVAILABLE, os.EX_NOPERM, os.EX_CONFIG})
"""It will end so again: a package, an address or a file is not to be had, or what it was told makes no sense."""
_RESTARTS = Restarts(Backoff(1.0, 60.0), STARTS_WITHIN_LIMIT, LIMIT_SECONDS, _FOR_GOOD)

log = structlog.get_logger(__name__)


class PageProcess(Part):
    """One process, or none for an empty command. The loop's thread only; no call waits but `stop`."""

    def __init__(self, command: Sequence[str] = ()) -> None:
        command = (*command, "--with-process", str(os.getpid())) if command else ()
        self._child = ChildProcess(command, _RESTARTS, listens=True) if command else None
        self._next_listen_at = 0.0

    @property
    def is_up(self) -> bool | None:
        """Whether it runs; None where none is wanted."""
        return None if self._child is None else self._child.is_running

    def step(self, now: float) -> None:
        """Start it when it is due; note when it has ended. `now` is a monotonic clock in seconds."""
        if self._child is None:
            return
        before = self._child.process_id
        ended = self._child.step(now)
        if ended or now >= self._next_listen_at:
            self._next_listen_at = now + _LISTEN_SECONDS
            for line in self._child.take_lines():
                log.warning("pages say", line=printable(line))
        if ended:
            self._report(ended)
        elif self._child.process_id != before:
            log.info("pages started", process_id=self._child.process_id)

    def next_due(self, now: float) -> float | None:
        """Say when to step again; None when no page is to come any more."""
        return None if self._child is None else self._child.next_due(now)

    def reload(self, settings: Settings) -> None:  # noqa: ARG002 - the protocol's
        """Begin to count again: what ended it may have been mended."""
        if self._child is not None:
            self._child.give_another_chance()

    def drain(self) -> None:
        """Tell it to finish; it has time until `stop`."""
        if self._child is not None:
            self._child.ask_to_stop()

    def stop(self) -> None:
        """End it, at once if it does not finish by itself."""
        if self._child is not None:
            self._child.stop(_STOP_SECONDS)

    def snapshot(self, so_far: Snapshot, now: float) -> Snapshot:  # noqa: ARG002 - the protocol's
        """Add whether it runs."""
        return replace(so_far, pages_up=self.is_up)

    def _report(self, ended: Exit) -> None:
        why = ended.why.removeprefix("error: ")
        if ended.pause_seconds is None:
            hint = "not tried again before SIGHUP or a restart; images are judged as before"
            log.error("no pages", why=why, code=ended.code, hint=hint)
        else:
            log.warning("pages ended", why=why, code=ended.code, next_start_in_seconds=ended.pause_seconds)
