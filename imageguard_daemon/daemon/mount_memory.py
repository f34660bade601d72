"""Remembers from start to start which disks the folders were on, so that none is taken for an empty folder."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from imageguard_daemon.core.errors import StalledError
from imageguard_daemon.core.names import printable
from imageguard_daemon.core.state_file import StateFile, as_key, path_of_key
from imageguard_daemon.filing import mounts

MEMORY_FILE = "disks.json"


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a folder was: how its file system is attached, and which one that is (empty: nobody can say)."""

    origin: str
    root: str
    inside: str
    disk: str


_STATE: StateFile[dict[str, _Place]] = StateFile(MEMORY_FILE, dict[str, _Place])
log = structlog.get_logger(__name__)


def require_same_disks(state_folder: Path) -> None:
    """Refuse to go on while a folder is not on the disk that it was on at the last start.

    Raises:
        StalledError: with the folder, where it was, and what to do if it is meant.
    """
    missing = list(_not_where_they_were(_remembered(state_folder), str(state_folder)))
    if missing:
        lines = "".join(f"\n  {line}" for line in missing)
        raise StalledError(
            f"a disk is not mounted that was at the last start:{lines}\n"
            f"Mount it; if it is meant to be gone, or was replaced, remove {state_folder / MEMORY_FILE}"
        )


def remember(state_folder: Path, folders: Sequence[str]) -> None:
    """Note which disks the folders are on now; a full disk costs the note, not the start."""
    with suppress(OSError):
        places = {as_key(folder): _place_of(folder) for folder in (str(state_folder), *folders)}
        _STATE.write(state_folder, places, durable=True)


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
    return _Place(attached.origin, attached.root, attached.inside, mounts.disk_of(folder))


def _remembered(state_folder: Path) -> dict[str, _Place]:
    places = _STATE.read(state_folder, lambda why: log.warning("not known on which disks the folders were", why=why))
    return {path_of_key(folder): place for folder, place in (places or {}).items()}
