"""Which file system a folder is on: a disk that is not mounted leaves an empty folder that looks like the real one."""

import os
import re
from collections.abc import Iterable, Mapping

from imageguard_daemon.errors import StalledError
from imageguard_daemon.names import printable

_MOUNTS = "/proc/self/mountinfo"


def origin(path: str) -> str:
    """Give where the file system that a path is on is attached to the tree, links followed; the path need not exist.

    Mount points differ from process to process: a unit's `ReadWritePaths=` mounts each folder once more. What they
    have in common is where the folder lies inside of its file system; what is before that in its path is told here.
    """
    real = os.path.realpath(path)
    point, root, _ = _mount_of(real)
    inside = os.path.normpath(os.path.join(root, os.path.relpath(real, point)))
    before, tail = real.split("/"), inside.split("/")
    while tail and len(before) > 1 and before[-1] == tail[-1]:
        before.pop()
        tail.pop()
    return "/".join(before) or "/"


def kind(path: str) -> str:
    """Give the kind of the file system that a path is on, such as ext4; the path need not exist."""
    return _mount_of(os.path.realpath(path))[2]


def missing(remembered: Mapping[str, str]) -> dict[str, str]:
    """Give the folders that were on a file system of their own which is no longer mounted there: folder -> origin.

    A folder that is on a further mount by now is not missing anything.
    """
    return {folder: place for folder, place in remembered.items() if len(origin(folder)) < len(place) and place != "/"}


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


def _mount_of(real: str) -> tuple[str, str, str]:
    """Give mount point, root and kind of the last mount that covers a path."""
    above = [mount for mount in _mounts() if _is_above(mount[0], real)]
    return max(reversed(above), key=lambda mount: len(mount[0]), default=("/", "/", ""))


def _mounts() -> list[tuple[str, str, str]]:
    """Give mount point, root inside of the file system, and kind of all mounts that this process sees."""
    mounts = []
    with open(_MOUNTS, encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            fields, _, rest = line.partition(" - ")
            _, _, _, root, point, *_ = fields.split(" ")
            mounts.append((_unescaped(point), _unescaped(root), rest.split(" ", 1)[0]))
    return mounts


def _is_above(point: str, real: str) -> bool:
    return real == point or real.startswith(os.path.join(point, ""))


def _unescaped(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)
