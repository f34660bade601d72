"""The live status: what `status` shows of a running daemon, written to a small file beside its lock."""

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

STATUS_FILE = "status.json"
FAILURES_SHOWN = 100
LEFT_OPEN_SHOWN = 5


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """One source as it is now."""

    name: str
    inbox: str
    present: bool
    settling: int
    paused_because: str
    next_attempt_at: str = ""
    """When the end of the pause is probed next (ISO 8601, UTC); empty without a pause."""
    writers_unknown: tuple[str, ...] = ()
    """Of which files the kernel does not say who is still writing."""
    skipped: int = 0
    """How many files are left where they are because their content was filed before (`intake.duplicates: skip`)."""


@dataclass(frozen=True, slots=True)
class FailedFile:
    """A file that stays in the inbox because something outside of it went wrong."""

    source: str
    relative_path: str
    attempts: int
    given_up: bool
    error: str
    next_attempt_at: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """A daemon as it is now; counts are since its start."""

    process_id: int
    state: str
    started_at: str
    updated_at: str
    accepted: int
    quarantined: int
    reasons: dict[str, int]
    images_per_second: float
    backlog: int
    in_work: int
    worker_mishaps: int
    sources: tuple[SourceStatus, ...]
    failures: tuple[FailedFile, ...]
    confinement_lacks: tuple[str, ...] = ()
    log_unsafe_because: str = ""
    """Why the log should not be where it is; empty when it is on a local disk."""
    configuration_refused: str = ""
    """Why the configuration as it is now was not taken over, by a reload; empty when the last one was."""
    forwarding: dict[str, Any] | None = None
    """What the forwarder last said of itself; None where nothing is forwarded."""
    left_open: int = 0
    """Moves of earlier runs that cannot be settled for now."""
    left_open_examples: tuple[str, ...] = ()
    scorer_version: str = ""
    """By which scorer images are measured, as records name it; `code` is which code takes the features."""
    code: str = ""


def write(status: Status, state_folder: Path) -> None:
    """Replace the status file in one step; a full disk may cost the status, never the daemon."""
    text = json.dumps(asdict(status))
    temporary = state_folder / f"{STATUS_FILE}.new"
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, state_folder / STATUS_FILE)
    except OSError:
        with suppress(OSError), (state_folder / STATUS_FILE).open("r+", encoding="utf-8") as file:
            file.write(text)  # into the space that it has
            file.truncate()


def read(state_folder: Path) -> dict[str, Any] | None:
    """Give what a daemon last wrote, or None when there is nothing readable or another version wrote it."""
    try:
        content = json.loads((state_folder / STATUS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    known = {field.name for field in fields(Status)}
    return content if isinstance(content, dict) and set(content) >= known else None
