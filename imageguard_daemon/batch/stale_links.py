"""Links that earlier runs made and this one would not: taken away, or told, so that a second run equals a fresh one."""

import hashlib
import os
import stat
from array import array
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

_EXAMPLES = 20


class Marks:
    """A set of texts that takes eight bytes for each: there may be many millions."""

    def __init__(self) -> None:
        self._marks = array("Q")
        self._is_sorted = True

    def add(self, text: str) -> None:
        """Add one."""
        self._marks.append(_mark(text))
        self._is_sorted = False

    def __contains__(self, text: str) -> bool:
        marks = np.frombuffer(self._marks, np.uint64) if self._marks else np.empty(0, np.uint64)
        if not self._is_sorted:
            marks.sort()  # in place
            self._is_sorted = True
        mark = np.uint64(_mark(text))
        at = int(np.searchsorted(marks, mark))
        return at < marks.size and bool(marks[at] == mark)


def _mark(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(os.fsencode(text), digest_size=8).digest(), "little")


def file_mark(of: os.stat_result) -> str:
    """Give a text that tells a file from all others."""
    return f"{of.st_dev} {of.st_ino}"


@dataclass(slots=True)
class OldLinks:
    """What is there of earlier runs: how many links are gone, how many are left, and the first of these by name."""

    removed: int = 0
    left: int = 0
    examples: list[str] = field(default_factory=list)

    def leave(self, path: str) -> None:
        """Count one that stays."""
        self.left += 1
        if len(self.examples) < _EXAMPLES:
            self.examples.append(path)


def take_away(roots: list[str], made: Marks, sources: Marks, folder: str, *, keep: bool) -> OldLinks:
    """Remove what leads into `folder`, or nowhere, and is not among the links just `made`; then empty folders.

    A hard link goes only if its file is one of `sources`, and so has another name; else it may be the last one that the
    file has, and stays. `keep` removes nothing, and counts what would go.
    """
    found = OldLinks()
    real = os.path.join(os.path.realpath(folder), "")
    for path in _below(roots, remove_empty=not keep):
        if path in made:
            continue
        with suppress(FileNotFoundError):
            entry = os.lstat(path)
            if stat.S_ISLNK(entry.st_mode) and not _is_outdated(path, real):
                continue  # somebody else's
            is_file_of_ours = stat.S_ISREG(entry.st_mode) and entry.st_nlink > 1 and file_mark(entry) in sources
            if keep or not (stat.S_ISLNK(entry.st_mode) or is_file_of_ours):
                found.leave(path)
            else:
                os.unlink(path)
                found.removed += 1
    return found


def is_dangling(path: str) -> bool:
    """Tell whether a path is a link of the kind made here, that leads nowhere."""
    try:
        return os.path.isabs(os.readlink(path)) and not os.path.exists(path)
    except OSError:
        return False


def _is_outdated(path: str, folder: str) -> bool:
    return os.readlink(path).startswith(folder) or is_dangling(path)


def _below(roots: list[str], *, remove_empty: bool) -> Iterator[str]:
    for root in roots:
        for place, _, names in os.walk(root, topdown=False):
            yield from (os.path.join(place, name) for name in names)
            if remove_empty and place != root:
                with suppress(OSError):  # not empty
                    os.rmdir(place)
