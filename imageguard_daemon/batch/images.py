"""The images of a folder, as a stream: however many there are, memory holds none of them."""

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from imageguard_daemon.intake.rules.selection import Left, Selection
from imageguard_daemon.intake.scan import walk

_END_SECONDS = 1.0


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
        for found in walk(self._folder, self._selection):
            if found.left is Left.unreadable:
                self._unreadable(os.path.join(self._folder, found.relative_path))
            elif found.left is not None:
                self.left[found.left] += 1
            elif not self._is_spared(found.relative_path):
                yield os.path.join(self._folder, found.relative_path)

    def relative(self, path: str) -> str:
        """Give a path below the folder."""
        return path[len(os.path.join(self._folder, "")) :]

    def _is_spared(self, relative_path: str) -> bool:
        return bool(self._spared) and os.path.join(self._real, relative_path) in self._spared


class Count:
    """Counts the images of a folder in a thread of its own: how many there are is known long before they are judged."""

    def __init__(self, folder: str, selection: Selection) -> None:
        self.images = 0
        self.is_complete = False
        self._stopped = False
        self._thread = threading.Thread(target=self._count, args=(folder, selection), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Give up counting."""
        self._stopped = True
        self._thread.join(_END_SECONDS)  # it may hang in a mount, and keeps nothing alive

    def _count(self, folder: str, selection: Selection) -> None:
        for found in walk(folder, selection):
            if self._stopped:
                return
            self.images += found.left is None
        self.is_complete = True
