"""Keeps the old files of copies for a while, under hidden names, where nobody knows whether somebody still writes.

A whole image of an unknown writer whose destination is on another disk is filed as a copy. What its uploader writes
after that goes into the old file, through its open descriptor. So that file keeps a name in its folder: when it
changes, it gets its old name back and is a new arrival. Nothing is taken back; both are filed and recorded.

The name outlives this process: a walk meets what an earlier one kept, and `adopt` looks after it from then on.
"""

import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial

import structlog

from imageguard_daemon.audit.writer import AuditWriter
from imageguard_daemon.core.errors import RetryableError
from imageguard_daemon.core.model import RecordedIntent
from imageguard_daemon.core.names import number_of_set_aside, printable
from imageguard_daemon.core.regular_files import regular_file_at
from imageguard_daemon.daemon.returning import (
    LOOK_AFTER_SECONDS,
    LOOK_SECONDS,
    LOOKS_AT_A_TIME,
    Comparisons,
)
from imageguard_daemon.filing.folders import Folders
from imageguard_daemon.filing.renaming import put_back

FULL_AT_FILES = 256
FULL_AT_BYTES = 1 << 30
"""What is kept takes up room on the inbox's disk. From here on files wait in the inbox instead."""
MAX_FILES = 2 * FULL_AT_FILES
"""With those that were on their way when it got full."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Kept:
    recorded: RecordedIntent
    size_bytes: int
    mtime_ns: int
    until: float
    is_reported: bool = False
    is_compared: bool = False


@dataclass(slots=True)
class KeptSources:
    """Remembers which old files are kept. One thread only; times are of the monotonic clock.

    `emptied` is told of folders from which a hidden name went, `came_back` of the paths of files that were given back.
    """

    audit: AuditWriter
    folders: Callable[[], Folders]
    emptied: Callable[[str], None] = lambda _folder: None
    came_back: Callable[[str], None] = lambda _path: None
    _kept: dict[str, _Kept] = field(default_factory=dict)
    _comparisons: Comparisons[tuple[str, int]] = field(default_factory=Comparisons)
    _next_look_at: float = 0.0

    @property
    def is_full(self) -> bool:
        """Whether further files had better wait in the inbox until their uploads are surely over."""
        if len(self._kept) >= FULL_AT_FILES:
            return True
        return sum(kept.size_bytes for kept in self._kept.values()) >= FULL_AT_BYTES

    def room_for(self, files: int) -> bool:
        """Tell whether so many more can be kept at all."""
        return len(self._kept) + files <= MAX_FILES

    def remember(self, path: str, recorded: RecordedIntent, now: float) -> None:
        """Look after the old file of a copy, which is at `path` now."""
        judged = recorded.intent.identity
        self._kept[path] = _Kept(recorded, judged.size_bytes, judged.mtime_ns, now + LOOK_AFTER_SECONDS)

    def adopt(self, paths: Iterable[str], now: float) -> None:
        """Look after what an earlier run kept; what is not of a move that has happened is left to recovery."""
        for path in paths:
            if path in self._kept or not self.room_for(1):
                continue  # the next walk meets it again
            number = number_of_set_aside(os.path.basename(path))
            try:
                recorded = None if number is None else self.audit.moved_by(number)
            except RetryableError:
                return
            if recorded is not None:
                self.remember(path, recorded, now)

    def next_due(self) -> float | None:
        """Say when to look again; None when nothing is kept."""
        return self._next_look_at if self._kept else None

    def step(self, now: float) -> None:
        """Look at some of the files: what changed is a new arrival, what has been still for long goes."""
        if now < self._next_look_at or not self._kept:
            return
        self._next_look_at = now + LOOK_SECONDS
        for path in list(self._kept)[:LOOKS_AT_A_TIME]:
            self._look(path, self._kept.pop(path), now)
        self._compare()

    def finish(self) -> int:
        """Look a last time, and keep nothing that has not changed: nobody is going to look again.

        Gives how many have changed and are new arrivals.
        """
        came_back = sum(self._look(path, self._kept.pop(path), -math.inf) for path in list(self._kept))
        while self._comparisons:
            came_back += self._compare()
        for path in list(self._kept):
            self._look(path, self._kept.pop(path), math.inf)
        self._kept.clear()
        return came_back

    def _compare(self) -> int:
        """Go on comparing files of which only the time has changed; give how many were given back."""
        came_back = 0
        for (path, mtime_ns), is_same in self._comparisons.step():
            kept = self._kept.pop(path, None)
            if kept is None:
                continue  # given back meanwhile
            kept = replace(kept, is_compared=False)
            if is_same is True:
                self._kept[path] = replace(kept, mtime_ns=mtime_ns)
            elif is_same is False:
                came_back += self._after_look(path, kept, partial(self._give_back, path, kept))
            else:
                self._cannot(path, kept, is_same)
        return came_back

    def _look(self, path: str, kept: _Kept, now: float) -> bool:
        """Look at one file; tell whether it has changed and was given back."""
        found = regular_file_at(path)
        if found is None:
            return False  # taken away by others
        if found.size_bytes != kept.size_bytes:
            return self._after_look(path, kept, partial(self._give_back, path, kept))
        if found.mtime_ns == kept.mtime_ns and now >= kept.until:
            self._after_look(path, kept, partial(self._drop, path))
            return False
        if found.mtime_ns != kept.mtime_ns and not kept.is_compared:
            self._comparisons.begin((path, found.mtime_ns), path, kept.recorded.intent)
            kept = replace(kept, is_compared=True)
        self._kept[path] = kept
        return False

    def _after_look(self, path: str, kept: _Kept, do: Callable[[], None]) -> bool:
        """Do what a look has shown to be right; what cannot be done now is told and done later."""
        try:
            do()
        except (OSError, RetryableError) as error:
            self._cannot(path, kept, error)
            return False
        return True

    def _cannot(self, path: str, kept: _Kept, error: Exception) -> None:
        if not kept.is_reported:
            log.error("the old file of a copy cannot be looked after", path=printable(path), why=str(error))
        self._kept[path] = replace(kept, is_reported=True)

    def _give_back(self, path: str, kept: _Kept) -> None:
        intent = kept.recorded.intent
        folder, aside = os.path.split(path)
        with self.folders() as folders:
            at = folders.descriptor(folder)
            put_back((at, aside), (at, os.path.basename(intent.source_path)), intent.sha256)
            folders.sync()
        log.warning(
            "put back into the inbox",
            path=printable(intent.source_path),
            why="was written to after it was filed as a copy; the copy stays, and this is judged as a new file",
            copy=printable(intent.destination_path),
        )
        self.came_back(intent.source_path)

    def _drop(self, path: str) -> None:
        folder, aside = os.path.split(path)
        with self.folders() as folders:
            os.unlink(aside, dir_fd=folders.descriptor(folder))
        self.emptied(folder)
