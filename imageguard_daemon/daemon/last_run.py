"""How the last run of a daemon ended: kept beside its lock, for whoever asks `status` when nothing runs any more."""

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from imageguard_daemon.core.errors import ImageguardError
from imageguard_daemon.core.timestamps import seconds_timestamp

ENDING_FILE = "last-end.json"


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of one run; `at` is ISO 8601 in UTC."""

    process_id: int
    exit_code: int
    why: str
    at: str = ""


def ending_of(error: BaseException) -> Ending:
    """Give the end that an error means."""
    if isinstance(error, ImageguardError):
        return Ending(os.getpid(), error.exit_code, str(error))
    return Ending(os.getpid(), os.EX_SOFTWARE, f"a mistake in the program: {type(error).__name__}: {error}")


def write(ending: Ending, state_folder: Path) -> None:
    """Keep an end in place of the one before; a full disk costs the note, never the end."""
    at = seconds_timestamp()
    temporary = state_folder / f"{ENDING_FILE}.new"
    with suppress(OSError):
        temporary.write_text(json.dumps(asdict(ending) | {"at": at}), encoding="utf-8")
        os.replace(temporary, state_folder / ENDING_FILE)


def read(state_folder: Path) -> Ending | None:
    """Give the end of the last run; None when nothing readable is kept."""
    try:
        content = json.loads((state_folder / ENDING_FILE).read_text(encoding="utf-8"))
        return Ending(**{field.name: content[field.name] for field in fields(Ending)})
    except (OSError, ValueError, TypeError, KeyError):
        return None
