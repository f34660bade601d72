"""Forwards the log of a root to the fleet's database, for as long as wanted, in a process of its own.

The daemon never waits for it: they share the log's file and nothing else. What it is about is in a small file beside
the lock, for `status` and for monitoring. A process and not a thread: it shares no interpreter with the loop that files
images, and a library that hangs or crashes takes nothing with it.
"""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import structlog
from rich.console import Console

from imageguard_daemon.audit.fleet.database import FleetAddress
from imageguard_daemon.audit.fleet.forwarded_log import ForwardedLog
from imageguard_daemon.audit.fleet.forwarding import Forwarder, Sender, Sent
from imageguard_daemon.config import Settings
from imageguard_daemon.core import logs
from imageguard_daemon.core.backoff import Backoff
from imageguard_daemon.core.errors import (
    AlreadyRunningError,
    ConfigError,
    FatalError,
    ImageguardError,
    NoInputError,
    hindrance,
)
from imageguard_daemon.core.files import FileLock
from imageguard_daemon.core.locks import state_lock
from imageguard_daemon.core.processes import ChildProcess, Restarts, end_with_parent
from imageguard_daemon.core.state_file import StateFile
from imageguard_daemon.core.timestamps import seconds_timestamp, utc_now
from imageguard_daemon.daemon.parts import Part, Snapshot

STATUS_FILE = "forwarding.json"
PASSWORD_VARIABLE = "IMAGEGUARD_FORWARD_PASSWORD"  # noqa: S105 - the name of a variable
CREDENTIAL = "imageguard-forward-password"
LOOK_SECONDS = 1.0
"""How often the log is looked at for news."""
FIRST_PAUSE_SECONDS = 1.0

STOP_SECONDS = 3.0
"""For so long what is left is still sent after a stop signal."""
MIN_TIMEOUT_SECONDS = 60.0
"""For so long, at least, `run --once` waits for a forwarder that says nothing new."""
_GRACE_SECONDS = 2.0
_START_AGAIN_SECONDS = 5.0
_COMMAND = (sys.executable, "-m", "imageguard_daemon.daemon.forwarder")
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Forwarding:
    """A forwarder as it is now; counts are since its start, moments ISO 8601 in UTC and empty for none.

    `state` is `starting`, `sending`, `up to date`, `waiting` (an attempt failed), `behind` (the fleet has more of
    this log than there is here) or `stopped`.
    """

    process_id: int
    state: str = "starting"
    database: str = ""
    host: str = ""
    updated_at: str = ""
    records_sent: int = 0
    records_behind: int = 0
    oldest_behind_at: str = ""
    odd_records: int = 0
    failures: int = 0
    failing_since: str = ""
    last_error: str = ""
    last_success_at: str = ""
    next_attempt_at: str = ""


_STATE = StateFile(STATUS_FILE, Forwarding)


def read(state_folder: Path) -> dict[str, Any] | None:
    """Give what a forwarder last wrote, of whatever version it is; None when there is nothing readable."""
    return _STATE.read_plain(state_folder)


def address_of(settings: Settings, environment: Mapping[str, str] = os.environ) -> FleetAddress:
    """Give the fleet's database as configured, with its password.

    Raises:
        ConfigError: none is configured.
        NoInputError: the password's file cannot be read.
    """
    if not settings.forward.url:
        raise ConfigError(["forward.url: not set; docs/fleet.md says how"])
    password = _password(settings.forward.password_file, environment)
    return FleetAddress(settings.forward.url, password, settings.forward.timeout_seconds)


def _password(file: Path | None, environment: Mapping[str, str]) -> str:
    if file is None and PASSWORD_VARIABLE in environment:
        return environment[PASSWORD_VARIABLE]
    if file is None and "CREDENTIALS_DIRECTORY" in environment:
        credential = Path(environment["CREDENTIALS_DIRECTORY"], CREDENTIAL)
        file = credential if credential.exists() else None
    if file is None:
        return ""
    try:
        return file.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not UTF-8 text"
        raise NoInputError(f"cannot read the password in {file}: {why}") from error


def waiting_records(settings: Settings) -> int:
    """Count what is recorded and not confirmed by the fleet's database; asks the log alone.

    Raises:
        StalledError, UnavailableError: the log cannot be read.
    """
    with closing(ForwardedLog(settings.audit.database)) as waiting:
        return waiting.waiting()[0]


class ForwardingLoop:
    """Sends what there is, step by step; goes on after every failure. One thread only.

    Raises:
        AlreadyRunningError: when made: another process forwards this root's log.
    """

    def __init__(self, settings: Settings, wall_clock: Callable[[], datetime] = utc_now) -> None:
        self._settings = settings
        self._wall_clock = wall_clock
        self._lock = _locked(settings.state_folder)
        self._forwarder: Forwarder | None = None
        self._pauses = Backoff(FIRST_PAUSE_SECONDS, settings.forward.retry_seconds)
        self._failures = 0
        self._is_behind = False
        host = settings.forward.host or socket.gethostname()
        self.status = Forwarding(os.getpid(), host=host)
        self.error: ImageguardError | None = None
        """What the last step failed for; None after one that did not."""

    def step(self) -> float:
        """Send one batch; give after how many seconds to come again."""
        try:
            sent = self._forwarder_in_use().step()
        except ImageguardError as error:
            return self._failed(error)
        self._failures = 0
        self._succeeded(sent)
        return 0.0 if sent.behind else LOOK_SECONDS

    def close(self) -> None:
        """Let go of everything."""
        self._drop()
        self._write(state="stopped", next_attempt_at="")
        self._lock.release()

    def _forwarder_in_use(self) -> Forwarder:
        if self._forwarder is None:
            address = address_of(self._settings)
            self._write(database=str(address))
            sender = Sender(self.status.host, self._settings.root, self._settings.forward.batch_records)
            self._forwarder = Forwarder(self._settings.audit.database, address, sender)
        return self._forwarder

    def _succeeded(self, sent: Sent) -> None:
        now = seconds_timestamp(self._wall_clock())
        if self.error is not None:
            log.info("forwarding again", database=self.status.database)
        if sent.forked_at is not None:
            log.warning("this log was put back from a backup; it goes on as a branch", last_in_common=sent.forked_at)
        if sent.missed:
            log.warning("records had been archived before they were forwarded", records=sent.missed)
        if sent.odd:
            log.warning("records that the database cannot hold as they are; see odd_records", records=sent.odd)
        if sent.ahead and not self._is_behind:
            log.warning("the database has more of this log: was it put back from a backup?", records=sent.ahead)
        self._is_behind = sent.ahead > 0
        self.error = None
        state = "behind" if sent.ahead else "sending" if sent.behind else "up to date"
        self._write(
            state=state,
            records_sent=self.status.records_sent + sent.sent,
            records_behind=sent.behind,
            oldest_behind_at=_text(sent.oldest),
            odd_records=self.status.odd_records + sent.odd,
            failing_since="",
            last_error="",
            last_success_at=now,
            next_attempt_at="",
        )

    def _failed(self, error: ImageguardError) -> float:
        now = self._wall_clock()
        self._failures += 1
        pause = self._pauses.after(self._failures)
        if str(error) != str(self.error):  # once for each cause, not once for each attempt
            log.warning("not forwarded; what is recorded meanwhile waits in the log", why=str(error))
        self.error = error
        self._note_what_waits()
        self._write(
            state="waiting",
            failures=self.status.failures + 1,
            failing_since=self.status.failing_since or seconds_timestamp(now),
            last_error=str(error),
            next_attempt_at=seconds_timestamp(now + timedelta(seconds=pause)),
        )
        if isinstance(error, FatalError):
            self._drop()  # begin from the configuration: a password may have been changed
        return pause

    def _note_what_waits(self) -> None:
        """Ask the log alone: who looks at the status wants to know while the database is away."""
        with suppress(ImageguardError), closing(ForwardedLog(self._settings.audit.database)) as waiting:
            behind, oldest = waiting.waiting()
            self.status = replace(self.status, records_behind=behind, oldest_behind_at=_text(oldest))

    def _drop(self) -> None:
        if self._forwarder is not None:
            self._forwarder.close()
        self._forwarder = None

    def _write(self, **changes: Any) -> None:
        """Say how it stands; a full disk may cost that, never the forwarding."""
        self.status = replace(self.status, **changes, updated_at=seconds_timestamp(self._wall_clock()))
        _STATE.write(self._settings.state_folder, self.status)


def _locked(state_folder: Path) -> FileLock:
    """Let one process forward a root's log."""
    try:
        state_folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise hindrance(error, f"cannot write in {state_folder}") from error
    lock = state_lock(state_folder / "forwarding.lock")
    try:
        if not lock.acquire():
            raise AlreadyRunningError(f"another process forwards the log of {state_folder.parent} already")
    except ImageguardError:
        lock.release()
        raise
    return lock


def _text(moment: datetime | None) -> str:
    return "" if moment is None else seconds_timestamp(moment)


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
        is_through = own.get("state") in {"up to date", "behind"} and not own.get("records_behind")
        if own.get("last_error") or is_through:
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
