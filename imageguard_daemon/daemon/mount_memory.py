"""Remembers from start to start which disks the folders were on, so that none is taken for an empty folder."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from imageguard_daemon.core.errors import StalledError
from imageguard_daemon.core.names import printable
from imageguard_daemon.filing import mounts
from imageguard_daemon.filing.disk_identity import disk_of

MEMORY_FILE = "disks.json"


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a folder was: how its file system is attached, and which one that is (empty: it cannot be told)."""

    origin: str
    root: str
    inside: str
    disk: str


_FIELDS = tuple(field.name for field in fields(_Place))


def require_same_disks(state_folder: Path) -> None:
    """Refuse to go on while a folder is not on the disk that it was on at the last start.

    Raises:
        StalledError: with the folder, where it was, and what to do if it is meant.
    """
    told = list(_not_where_they_were(_remembered(state_folder), str(state_folder)))
    if told:
        lines = "".join(f"\n  {line}" for line in told)
        raise StalledError(
            f"a disk is not mounted that was at the last start:{lines}\n"
            f"Mount it; if it is meant to be gone, or was replaced, remove {state_folder / MEMORY_FILE}"
        )


def remember(state_folder: Path, folders: Sequence[str]) -> None:
    """Note which disks the folders are on now; a full disk costs the note, not the start."""
    temporary = state_folder / f"{MEMORY_FILE}.new"
    with suppress(OSError):
        places = {folder: _place_of(folder) for folder in (str(state_folder), *folders)}
        text = json.dumps({_as_text(folder): asdict(place) for folder, place in places.items()})
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, state_folder / MEMORY_FILE)


def _not_where_they_were(remembered: Mapping[str, _Place], state_folder: str) -> Iterator[str]:
    """Tell of the folders that are on another disk than they were, or on another folder of it."""
    own_before, own = remembered.get(state_folder), _place_of(state_folder)
    for folder, before in remembered.items():
        now = _place_of(folder)
        if own_before and _moved_with(own_before, before) and _moved_with(own, now):
            continue
        if before.disk and (before.disk, before.inside) == (now.disk, now.inside):
            continue  # the very folder, in a container for instance, where it is attached in another way
        if mounts.missing({folder: before.origin}):
            yield f"{printable(folder)} was on {printable(before.origin)}"
        elif before.origin == now.origin and before.disk and now.disk:
            if before.disk != now.disk:
                yield f"{printable(folder)} was on the file system {before.disk}, and is on {now.disk}"
            elif before.root != now.root:
                roots = f"{printable(before.root)}, and is {printable(now.root)} of the same file system"
                yield f"{printable(folder)}: what is mounted on {printable(now.origin)} was {roots}"


def _moved_with(own: _Place, place: _Place) -> bool:
    """Whether a folder is on the disk of the memory itself; if it was and is, at most the whole root was moved."""
    return (own.origin, own.root, own.disk) == (place.origin, place.root, place.disk)


def _place_of(folder: str) -> _Place:
    attached = mounts.attachment(folder)
    return _Place(attached.origin, attached.root, attached.inside, disk_of(folder))


def _remembered(state_folder: Path) -> dict[str, _Place]:
    try:
        content = json.loads((state_folder / MEMORY_FILE).read_text(encoding="utf-8"))
        return {_as_path(folder): _Place(*(str(of[name]) for name in _FIELDS)) for folder, of in content.items()}
    except (OSError, ValueError, AttributeError, TypeError, KeyError):
        return {}


def _as_text(folder: str) -> str:
    return os.fsencode(folder).decode("latin-1")


def _as_path(text: str) -> str:
    return os.fsdecode(text.encode("latin-1", "replace"))
