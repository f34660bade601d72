"""Which file system a folder is on: a disk that is not mounted leaves an empty folder that looks like the real one."""

import os
import re
from collections.abc import Iterable, Mapping

from imageguard_daemon.errors import StalledError
from imageguard_daemon.names import printable

_MOUNTS = "/proc/self/mountinfo"


def mount_point(path: str) -> str:
    """Give the mount point of the file system that a path is on, links followed; the path need not exist."""
    real = os.path.realpath(path)
    with open(_MOUNTS, encoding="utf-8", errors="surrogateescape") as mounts:
        points = [_unescaped(line.split(" ", 5)[4]) for line in mounts]
    above = (point for point in points if real == point or real.startswith(os.path.join(point, "")))
    return max(above, key=len, default="/")


def missing(remembered: Mapping[str, str]) -> dict[str, str]:
    """Give the folders that were on a file system of their own which is no longer mounted there: folder -> mount point.

    A folder that is on a further mount by now is not missing anything.
    """
    return {
        folder: point for folder, point in remembered.items() if len(mount_point(folder)) < len(point) and point != "/"
    }


class Mounts:
    """Notices while running that the disk of a folder was unmounted; a disk that was mounted again is welcome."""

    def __init__(self, folders: Iterable[str]) -> None:
        self._points = {folder: mount_point(folder) for folder in folders}
        self._devices: dict[str, int] = {}

    def check(self, folder: str, device: int) -> None:
        """Compare the device a folder is on now with the one seen before.

        Raises:
            StalledError: its file system is no longer mounted.
        """
        point = self._points.get(folder)
        if point is None or self._devices.get(folder) == device:
            return
        if missing({folder: point}):
            raise StalledError(f"{printable(folder)} is not there: nothing is mounted on {printable(point)}")
        self._devices[folder] = device


def _unescaped(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)
