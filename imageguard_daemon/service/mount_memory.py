"""Remembers from start to start where the folders' disks were mounted, so that none is taken for an empty folder."""

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from imageguard_daemon.errors import StalledError
from imageguard_daemon.filing import mounts
from imageguard_daemon.names import printable

MEMORY_FILE = "mounts.json"


def require_same_mounts(state_folder: Path) -> None:
    """Refuse to start while a disk that was there at the last start is not mounted.

    Raises:
        StalledError: with the folder, the mount point, and what to do if it is meant.
    """
    missing = mounts.missing(_remembered(state_folder))
    if missing:
        told = "".join(f"\n  {printable(folder)} was on {printable(point)}" for folder, point in missing.items())
        raise StalledError(
            f"a disk is not mounted that was at the last start:{told}\n"
            f"Mount it; if it is meant to be gone, remove {state_folder / MEMORY_FILE}"
        )


def remember(state_folder: Path, folders: Sequence[str]) -> None:
    """Note where the folders are mounted now; a full disk costs the note, not the start."""
    temporary = state_folder / f"{MEMORY_FILE}.new"
    with suppress(OSError):
        text = json.dumps({os.fsencode(f).decode("latin-1"): mounts.mount_point(f) for f in folders})
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, state_folder / MEMORY_FILE)


def _remembered(state_folder: Path) -> dict[str, str]:
    try:
        content = json.loads((state_folder / MEMORY_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(content, dict):
        return {}
    return {os.fsdecode(str(folder).encode("latin-1", "replace")): str(point) for folder, point in content.items()}
