"""What is shown of a daemon: its status file, a line on a terminal, and, when it has ended, how."""

import os
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from imageguard_daemon.core.errors import ImageguardError
from imageguard_daemon.core.state_file import StateFile
from imageguard_daemon.core.timestamps import seconds_timestamp
from imageguard_daemon.daemon.parts import Snapshot

STATUS_FILE = "status.json"
ENDING_FILE = "last-end.json"

_MEASURED_ELSEWHERE = ("canary_age_seconds",)
"""What a source's metrics have and the file has not."""


def as_status(snapshot: Snapshot) -> dict[str, Any]:
    """Give the content of the file; people's scripts read it, so keys stay."""
    sources = [asdict(source) for source in snapshot.sources]
    for source in sources:
        for name in _MEASURED_ELSEWHERE:
            del source[name]
    return {
        "process_id": snapshot.process_id,
        "state": snapshot.state,
        "started_at": snapshot.started_at,
        "updated_at": seconds_timestamp(datetime.fromtimestamp(snapshot.at, UTC)),
        "accepted": snapshot.accepted,
        "quarantined": snapshot.quarantined,
        "reasons": dict(snapshot.reasons),
        "images_per_second": snapshot.images_per_second,
        "backlog": snapshot.backlog,
        "in_work": snapshot.in_work,
        "worker_mishaps": snapshot.worker_failures,
        "sources": sources,
        "failures": [asdict(failure) for failure in snapshot.failures],
        "confinement_lacks": list(snapshot.confinement_lacks),
        "log_unsafe_because": snapshot.log_unsafe_because,
        "configuration_refused": snapshot.configuration_refused,
        "forwarding": snapshot.forwarding,
        "left_open": snapshot.left_open,
        "left_open_examples": list(snapshot.left_open_examples),
        "scorer_version": snapshot.scorer_version,
        "code": snapshot.code,
    }


_STATUS: StateFile[dict[str, Any]] = StateFile(STATUS_FILE, dict)
_DEFAULTS = as_status(Snapshot())
_NAMES_A_DAEMON = "process_id"


def write(snapshot: Snapshot, state_folder: Path) -> None:
    """Replace the status file in one step; a full disk may cost the status, never the daemon."""
    _STATUS.write(state_folder, as_status(snapshot))


def read(state_folder: Path) -> dict[str, Any] | None:
    """Give what a daemon last wrote, of whatever version it is; None when there is nothing readable."""
    content = _STATUS.read(state_folder)
    return _DEFAULTS | content if content and _NAMES_A_DAEMON in content else None


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of one run; `at` is ISO 8601 in UTC."""

    process_id: int
    exit_code: int
    why: str
    at: str = ""


_ENDING = StateFile(ENDING_FILE, Ending)


def ending_of(error: BaseException) -> Ending:
    """Give the end that an error means."""
    if isinstance(error, ImageguardError):
        return Ending(os.getpid(), error.exit_code, str(error))
    return Ending(os.getpid(), os.EX_SOFTWARE, f"a mistake in the program: {type(error).__name__}: {error}")


def write_ending(ending: Ending, state_folder: Path) -> None:
    """Keep an end in place of the one before; a full disk costs the note, never the end."""
    _ENDING.write(state_folder, replace(ending, at=seconds_timestamp()))


def read_ending(state_folder: Path) -> Ending | None:
    """Give the end of the last run; None when nothing readable is kept."""
    return _ENDING.read(state_folder)


class StatusLine:
    """Shows one line that changes in place; shows nothing when the console is not a terminal."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, transient=True, refresh_per_second=4) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, snapshot: Snapshot) -> None:
        """Show this moment from now on."""
        if self._live is not None:
            self._live.update(status_line(snapshot))


def status_line(snapshot: Snapshot) -> Text:
    """Put a moment into one line."""
    line = Text(no_wrap=True, overflow="ellipsis")
    line.append(f"{snapshot.state}  ", "bold")
    line.append(f"{snapshot.accepted} accepted", "green")
    line.append("  ")
    line.append(f"{snapshot.quarantined} quarantined", "yellow" if snapshot.quarantined else "")
    line.append(f"  {snapshot.backlog} waiting  {snapshot.images_per_second:.1f} images/s")
    settling = sum(source.settling for source in snapshot.sources)
    if settling:
        line.append(f"  {settling} settling")
    if snapshot.failures:
        line.append(f"  {len(snapshot.failures)} left behind", "red")
    for source in snapshot.sources:
        if source.paused_because:
            line.append(f"  {source.name} paused: {source.paused_because}", "bold red")
        elif not source.present:
            line.append(f"  {source.name}: inbox is gone", "bold red")
    return line
