"""The names one folder goes by: a root may be reached through links, and the log has the name the daemon was given."""

import os
from collections.abc import Sequence
from pathlib import PurePath


class Spellings:
    """Learns from recorded paths how else the destination folders are called."""

    def __init__(self, folders: Sequence[str]) -> None:
        self._names = {folder: [folder] for folder in folders}

    def learn(self, path: str) -> None:
        """Take in the path of a file that is there."""
        if any(path.startswith(f"{name}/") for names in self._names.values() for name in names):
            return
        for parent in map(str, PurePath(path).parents):
            for folder, names in self._names.items():
                if _same(parent, folder):
                    names.append(parent)
                    return

    def of(self, folder: str, relative_path: str) -> list[str]:
        """Give every path under which the log may know a file."""
        return [os.path.join(name, relative_path) for name in self._names[folder]]


def _same(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False
