"""Which file system a folder is on: a disk that is not mounted leaves an empty folder that looks like the real one.

From boot to boot a disk is known by the UUID of its file system: device numbers change. What the folders were on is
noted at each start for the next one.
"""

import fcntl
import os
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from imageguard_daemon.core.errors import StalledError
from imageguard_daemon.core.names import printable
from imageguard_daemon.core.state_file import StateFile, as_key, path_of_key

_MOUNTS = "/proc/self/mountinfo"
_XFS_IOC_FSGEOMETRY_V1, _XFS_BYTES, _XFS_UUID_AT = 0x80705864, 112, 64
_BTRFS_IOC_FS_INFO, _BTRFS_BYTES, _BTRFS_UUID_AT = 0x8400941F, 1024, 16
_UUID_BYTES = 16
MEMORY_FILE = "disks.json"
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Mount:
    """A mount as this process sees it: where, which folder of its file system (with the subvolume), device and kind."""

    point: str
    root: str
    device: str
    kind: str

    def inside(self, real: str) -> str:
        """Give a path that it covers as its file system names it."""
        below = os.path.relpath(real, self.point)
        return os.path.normpath(os.path.join(self.root, below))


@dataclass(frozen=True, slots=True)
class Attachment:
    """How a folder's file system is attached to the tree."""

    origin: str
    """The path it is attached to."""
    root: str
    """Which folder of it, with the subvolume, is there."""
    inside: str
    """The folder that was asked for, as the file system names it."""


def attachment(path: str) -> Attachment:
    """Tell how the file system that a path is on is attached, links followed; the path need not exist.

    Mount points differ from process to process: a unit's `ReadWritePaths=` mounts each folder once more, on itself.
    So this goes on upwards as long as the folder above is, on the same device, the one that contains this one.
    """
    mounts, here = _mounts(), os.path.realpath(path)
    mount = _covering(mounts, here)
    root = inside = mount.inside(here)
    while here != "/" and os.path.basename(here) == os.path.basename(root):
        above, parent = os.path.dirname(here), os.path.dirname(root)
        over = _covering(mounts, above)
        if over.device != mount.device or over.inside(above) != parent:
            break
        here, root = above, parent
    return Attachment(here, root, inside)


def origin(path: str) -> str:
    """Give where the file system that a path is on is attached to the tree; the path need not exist."""
    return attachment(path).origin


def kind(path: str) -> str:
    """Give the kind of the file system that a path is on, such as ext4; the path need not exist."""
    return _covering(_mounts(), os.path.realpath(path)).kind


def missing(remembered: Mapping[str, str]) -> dict[str, str]:
    """Give the folders that were on a file system of their own which is no longer mounted there: folder -> origin.

    A folder that is on a further mount by now is not missing anything.
    """
    unmounted = {}
    for folder, place in remembered.items():
        is_further_up = len(origin(folder)) < len(place)
        if is_further_up and place != "/":
            unmounted[folder] = place
    return unmounted


def disk_of(path: str) -> str:
    """Give the kind of file system that a path is on and an identity that only this one has, as one word.

    Empty where it has none that lasts: memory, networks, FUSE, containers' layers. The path need not exist.
    """
    file_system = kind(path)
    try:
        identity = _identity(file_system, _nearest_that_exists(path))
    except OSError:
        return ""
    return f"{file_system}:{identity}" if identity else ""


def _identity(file_system: str, path: str) -> str:
    if file_system in {"ext2", "ext3", "ext4"}:  # made from the UUID
        return f"{os.statvfs(path).f_fsid:016x}"
    if file_system == "xfs":  # its f_fsid is the number of the device
        return _asked(path, _XFS_IOC_FSGEOMETRY_V1, _XFS_BYTES, _XFS_UUID_AT)
    if file_system == "btrfs":
        return _asked(path, _BTRFS_IOC_FS_INFO, _BTRFS_BYTES, _BTRFS_UUID_AT)
    return ""


def _asked(path: str, request: int, size_bytes: int, uuid_at: int) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        answer = fcntl.ioctl(descriptor, request, bytes(size_bytes))
    finally:
        os.close(descriptor)
    return str(uuid.UUID(bytes=answer[uuid_at : uuid_at + _UUID_BYTES]))


def _nearest_that_exists(path: str) -> str:
    real = Path(os.path.realpath(path))
    return str(next(folder for folder in (real, *real.parents) if folder.is_dir()))


class Mounts:
    """Notices while running that the disk of a folder was unmounted; a disk that was mounted again is welcome."""

    def __init__(self, folders: Iterable[str]) -> None:
        self._origins = {folder: origin(folder) for folder in folders}
        self._devices: dict[str, int] = {}

    def check(self, folder: str, device: int) -> None:
        """Compare the device a folder is on now with the one seen before.

        Raises:
            StalledError: its file system is no longer mounted.
        """
        place = self._origins.get(folder)
        if place is None or self._devices.get(folder) == device:
            return
        if missing({folder: place}):
            raise StalledError(f"{printable(folder)} is not there: nothing is mounted on {printable(place)}")
        self._devices[folder] = device


def _covering(mounts: Sequence[_Mount], real: str) -> _Mount:
    """Give the last mount that covers a path."""
    above = [mount for mount in mounts if _is_above(mount.point, real)]
    return max(reversed(above), key=lambda mount: len(mount.point), default=_Mount("/", "/", "", ""))


def _mounts() -> list[_Mount]:
    mounts = []
    with open(_MOUNTS, encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            fields, _, rest = line.partition(" - ")
            _, _, device, root, point, *_ = fields.split(" ")
            kind_of_it, _, _ = rest.partition(" ")
            mounts.append(_Mount(_unescaped(point), _unescaped(root), device, kind_of_it))
    return mounts


def _is_above(point: str, real: str) -> bool:
    return real == point or real.startswith(os.path.join(point, ""))


def _unescaped(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a folder was: how its file system is attached, and which one that is (empty: nobody can say)."""

    origin: str
    root: str
    inside: str
    disk: str


_STATE: StateFile[dict[str, _Place]] = StateFile(MEMORY_FILE, dict[str, _Place])


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


def remember_disks(state_folder: Path, folders: Sequence[str]) -> None:
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
        if missing({folder: before.origin}):
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
    attached = attachment(folder)
    return _Place(attached.origin, attached.root, attached.inside, disk_of(folder))


def _remembered(state_folder: Path) -> dict[str, _Place]:
    places = _STATE.read(state_folder, lambda why: log.warning("not known on which disks the folders were", why=why))
    return {path_of_key(folder): place for folder, place in (places or {}).items()}
