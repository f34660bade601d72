"""Looks after what was filed while nobody knew whether somebody still writes to it: what grows goes back to the inbox.

A whole image of an unknown writer is filed without a long wait. If its uploader goes on writing, which it can through
its open file whatever the name, the record says what is no longer there: so the image, with its sidecars, gets its old
name back, its decision is taken back in the log, and it is judged again.

Where the destination is on another disk, the image was filed as a copy, and what its uploader writes goes into the old
file. So that file keeps a hidden name in its folder: when it changes, it gets its old name back and is a new arrival.
Nothing is taken back; both are filed and recorded. The name outlives this process: a walk meets what an earlier one
kept, and `adopt` looks after it from then on.
"""

import math
import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Generic, TypeVar

import structlog

from imageguard_daemon.audit.writer import AuditWriter
from imageguard_daemon.core.errors import ImageguardError, RetryableError
from imageguard_daemon.core.file_systems import Reach, file_system_at
from imageguard_daemon.core.locks import ActingLock
from imageguard_daemon.core.model import FileIdentity, Intent, Outcome, RecordedIntent
from imageguard_daemon.core.names import number_of_set_aside, printable
from imageguard_daemon.core.regular_files import regular_file_at
from imageguard_daemon.filing.folders import Folders
from imageguard_daemon.filing.judged_file import compare_bytes
from imageguard_daemon.filing.renaming import Name, put_back

LOOK_AFTER_SECONDS = 600.0
LOOK_SECONDS = 2.0
CAPACITY = 5_000
LOOKS_AT_A_TIME = 250
"""Of many, some are looked at each time: on a network file system each look is a question to its server."""
SECONDS_PER_STEP = 0.02
"""For so long files are compared before the loop does its other work."""
WHY = "was written to after it was filed"

K = TypeVar("K")

FULL_AT_FILES = 256
FULL_AT_BYTES = 1 << 30
"""What is kept takes up room on the inbox's disk. From here on files wait in the inbox instead."""
MAX_FILES = 2 * FULL_AT_FILES
"""With those that were on their way when it got full."""
log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Comparisons(Generic[K]):
    """Filed files of which only the time has changed, compared with what was judged; by a key of the caller's.

    They stand in a line, and the first is read a little further at each step. Whoever still has a large file open can
    set its time again and again: hashed as a whole each time, it would keep everybody waiting.
    """

    _line: deque[tuple[K, Generator[None, None, bool]]] = field(default_factory=deque)

    def __len__(self) -> int:
        return len(self._line)

    def begin(self, key: K, path: str, intent: Intent) -> None:
        """Put a file at the end of the line."""
        self._line.append((key, compare_bytes(path, intent)))

    def step(self) -> list[tuple[K, bool | OSError]]:
        """Read on for a moment; give what has been found out: whether the bytes are the judged ones, or why not."""
        answers: list[tuple[K, bool | OSError]] = []
        until = time.monotonic() + SECONDS_PER_STEP
        while self._line:
            key, steps = self._line[0]
            answer = _next(steps)
            if answer is not None:
                self._line.popleft()
                answers.append((key, answer))
            if time.monotonic() >= until:
                break
        return answers


def _next(steps: Generator[None, None, bool]) -> bool | OSError | None:
    try:
        next(steps)
    except StopIteration as end:
        return bool(end.value)
    except OSError as error:
        return error
    return None


@dataclass(frozen=True, slots=True)
class _Filed:
    """The files of one image, its own first, as which it was filed, and until when they are looked after."""

    files: tuple[RecordedIntent, ...]
    seen: FileIdentity
    until: float
    looks: FileIdentity
    """How it looks as long as nobody writes to it."""


@dataclass(slots=True)
class Returning:
    """Remembers what was filed lately of unknown writers. One thread only; times are of the monotonic clock."""

    audit: AuditWriter
    lock: ActingLock
    folders: Callable[[], Folders]
    _filed: deque[_Filed] = field(default_factory=deque)
    came_back: Callable[[str], None] = field(default=lambda _path: None)
    """Told of the path in the inbox of each file that was put back."""
    _comparisons: Comparisons[tuple[_Filed, FileIdentity]] = field(default_factory=Comparisons)
    _next_look_at: float = 0.0

    def remember(self, files: Sequence[RecordedIntent], now: float) -> None:
        """Look after the files of an image that was just renamed; for the old files of copies see `KeptSources`."""
        image = files[0].intent
        seen = regular_file_at(image.destination_path)
        if seen is not None:
            self._filed.append(_Filed(tuple(files), seen, now + LOOK_AFTER_SECONDS, image.identity))
        if len(self._filed) > CAPACITY:
            self._filed.popleft()

    def next_due(self) -> float | None:
        """Say when to look again; None when nothing is looked after."""
        return self._next_look_at if self._filed or self._comparisons else None

    def step(self, now: float) -> list[Outcome]:
        """Look at some of the files, put back those that changed, and give what is to be recorded about that."""
        if now < self._next_look_at or not (self._filed or self._comparisons):
            return []
        self._next_look_at = now + LOOK_SECONDS
        outcomes: list[Outcome] = []
        for _ in range(min(len(self._filed), LOOKS_AT_A_TIME)):
            filed = self._filed.popleft()
            image = filed.files[0].intent
            current = regular_file_at(image.destination_path)
            if current is None:
                continue  # taken on by others
            try:
                if current.inode != filed.seen.inode and not _numbers_anew(image.destination_path):
                    continue  # another file bears its name
            except OSError:  # who cannot ask does not know, and looks again
                self._look_again(filed, now)
                continue
            if current.size_bytes != image.identity.size_bytes:
                outcomes += self._return(filed)
            elif current.looks_like(filed.looks):
                self._look_again(replace(filed, seen=current, looks=current), now)
            else:
                self._comparisons.begin((filed, current), image.destination_path, image)
        for (filed, current), is_same in self._comparisons.step():
            if is_same is False:
                outcomes += self._return(filed)
            else:  # who cannot read it does not know, and looks again
                is_known = is_same is True
                self._look_again(replace(filed, seen=current, looks=current if is_known else filed.looks), now)
        return outcomes

    def _look_again(self, filed: _Filed, now: float) -> None:
        if now < filed.until:
            self._filed.append(filed)

    def _return(self, filed: _Filed) -> list[Outcome]:
        with ExitStack() as stack:
            try:
                is_ours = stack.enter_context(self.lock.held_if_free())
            except ImageguardError as error:  # a disk that is full or read-only just now ends nobody's day
                return self._later(filed, str(error))
            if not is_ours:  # a command is acting on images just now
                self._filed.append(filed)
                return []
            try:
                taking = [(_taking_from(file.intent), file.intent_id) for file in filed.files]
                recorded = self.audit.record_return(taking, WHY)
            except RetryableError as error:
                return self._later(filed, str(error))
            with self.folders() as folders:
                return [self._put_back(*pair, folders) for pair in zip(filed.files, recorded, strict=True)]

    def _later(self, filed: _Filed, why: str) -> list[Outcome]:
        log.warning("cannot be put back yet", path=printable(filed.files[0].intent.destination_path), why=why)
        self._filed.append(filed)
        return []

    def _put_back(self, filed: RecordedIntent, recorded: RecordedIntent, folders: Folders) -> Outcome:
        intent = filed.intent
        path = printable(intent.destination_path)
        try:
            filed_at = folders.name_of(intent.destination_path)
            put_back(filed_at, folders.name_of(intent.source_path, make=True), intent.sha256)
            folders.sync()
        except (OSError, RetryableError) as error:
            log.error("a filed image has changed and cannot be put back", path=path, why=str(error))  # noqa: TRY400
            return Outcome(recorded.intent_id, "abandoned", f"{WHY}, and cannot be put back: {error}")
        log.warning("put back into the inbox", path=path, why=WHY)
        self.came_back(intent.source_path)
        return Outcome(recorded.intent_id, "purged", f"{WHY}; put back into the inbox to be judged again")


def _taking_from(intent: Intent) -> Intent:
    """Give the intent to take a file away from where it was filed; until it is judged again, the log has it nowhere."""
    return replace(intent, source_path=intent.destination_path, destination_path="")


def _numbers_anew(path: str) -> bool:
    """Tell whether the same file may come to have another number, as behind FUSE; OSError when that is not known."""
    return file_system_at(path).reach is Reach.relayed


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
        came_back = 0
        for path in list(self._kept):
            came_back += self._look(path, self._kept.pop(path), -math.inf)
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
        current = regular_file_at(path)
        if current is None:
            return False  # taken away by others
        if current.size_bytes != kept.size_bytes:
            return self._after_look(path, kept, partial(self._give_back, path, kept))
        if current.mtime_ns == kept.mtime_ns and now >= kept.until:
            self._after_look(path, kept, partial(self._drop, path))
            return False
        if current.mtime_ns != kept.mtime_ns and not kept.is_compared:
            self._comparisons.begin((path, current.mtime_ns), path, kept.recorded.intent)
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
        with self.folders() as folders:
            aside = folders.name_of(path)
            put_back(aside, Name(aside.folder, os.path.basename(intent.source_path)), intent.sha256)
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
