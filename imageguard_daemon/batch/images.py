"""The images of a folder, as a stream: however many there are, memory holds none of them."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from imageguard_daemon.intake.rules.selection import Selection, SkipReason
from imageguard_daemon.intake.scan import walk


class ImagesOfFolder:
    """The paths of a folder's images. Links are not followed; what is left out is counted by reason.

    `spared` are files that are never images: the outputs. `unreadable` is told of each folder that cannot be read.
    """

    def __init__(
        self, folder: str, selection: Selection, spared: Iterable[Path], unreadable: Callable[[str], None]
    ) -> None:
        self._folder = folder
        self._selection = selection
        self._spared = frozenset(os.path.realpath(path) for path in spared)
        self._real = os.path.realpath(folder)
        self._unreadable = unreadable
        self.left: Counter[str] = Counter()

    def __iter__(self) -> Iterator[str]:
        """Yield each image's path: the folder as it was given, and what is below it."""
        for entry in walk(self._folder, self._selection):
            if entry.skip_reason is SkipReason.unreadable:
                self._unreadable(os.path.join(self._folder, entry.relative_path))
            elif entry.skip_reason is not None:
                self.left[entry.skip_reason] += 1
            elif not self._is_spared(entry.relative_path):
                yield os.path.join(self._folder, entry.relative_path)

    def relative(self, path: str) -> str:
        """Give a path below the folder."""
        return path[len(os.path.join(self._folder, "")) :]

    def _is_spared(self, relative_path: str) -> bool:
        return bool(self._spared) and os.path.join(self._real, relative_path) in self._spared


def count_images(folder: str, selection: Selection) -> Iterator[int]:
    """Count the images of a folder, one by one."""
    return (entry.skip_reason is None for entry in walk(folder, selection))
