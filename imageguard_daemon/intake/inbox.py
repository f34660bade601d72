"""One inbox: hints and walks in, settled candidates out."""

import os
import stat
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace

import structlog

from imageguard_daemon.config import Intake, Source
from imageguard_daemon.core.file_systems import Reach, file_system_at
from imageguard_daemon.core.model import Candidate, FileIdentity, Role
from imageguard_daemon.core.names import number_of_set_aside, printable
from imageguard_daemon.core.regular_files import Answer, Writers
from imageguard_daemon.intake.rules.backlog import Backlog
from imageguard_daemon.intake.rules.selection import Selection, SkipReason
from imageguard_daemon.intake.rules.stability import Seen, Settling
from imageguard_daemon.intake.scan import InboxEntry, InboxFiles, steps
from imageguard_daemon.intake.watcher import InboxWatcher, PendingPaths

SKIPPED_REMEMBERED = 500_000
SET_ASIDE_REMEMBERED = 1_000
FOLDERS_REMEMBERED = 1_000
LOOK_AGAIN_SECONDS = 30.0
"""How often a file is asked for of which the disk does not say what it is."""
COMPANION_PAUSE_SECONDS = 5.0
COMPANION_STALE_SECONDS = 86_400.0
"""What a download program left behind so long ago says nothing any more."""
ENTRIES_PER_STEP = 2_000
"""A walk over a huge tree is done in slices, so that files already settled don't wait for its end."""
SETTLED_PER_STEP = 500
"""More than a step has time for: of a long line, only its beginning is looked through each time."""
SECONDS_PER_STEP = 0.05
"""For so long a step looks at files before other sources have their turn: a slow disk takes long for few files."""

log = structlog.get_logger(__name__)


class Inbox:
    """Finds the candidates of one source. One thread only; `step` never blocks longer than its file system."""

    def __init__(self, source: Source, settings: Intake, backlog: Backlog, wake: Callable[[], None]) -> None:
        self.source = source
        self.selection = Selection.from_settings(settings)
        self.duplicates = settings.duplicates
        self._root = str(source.inbox)
        self._rescan_seconds = settings.rescan_seconds
        self._backlog = backlog
        self._settling = Settling(settings.settle_seconds, settings.backlog_limit)
        self._hints = PendingPaths(wake)
        self._to_follow: deque[str] = deque()
        self._watcher = InboxWatcher(self._root, self._hints, settings.canary_seconds)
        self._files = InboxFiles(self._root, self.selection)
        self._reach = Reach.unknown
        self._watched: tuple[int, int] | None = None
        self._was_looked_at = False
        self._walk: Iterator[InboxEntry | None] | None = None
        self._walk_again = False
        self._next_walk_at = 0.0
        self._walked_at: float | None = None
        self._folders_walked = 0
        self._folders_unread = 0
        self._folders_reported: dict[str, None] = {}
        self.unreadable = 0
        """How many folders the last walk could not read, in whole or in part."""
        self._set_aside: list[str] = []
        self._skipped: dict[int, None] = {}
        self._met_again: dict[int, None] = {}

    @property
    def present(self) -> bool:
        """Whether the folder is there and being watched or walked."""
        return self._watched is not None

    @property
    def settling(self) -> int:
        """How many files are waiting to be quiet for long enough."""
        return len(self._settling)

    def settling_now(self) -> int:
        """Count those that are waiting to be quiet and are there: one that an image has taken along is not."""
        return sum(self._files.state_if_known(path) is not None for path in self._settling.paths())

    def is_settling(self, relative_path: str) -> bool:
        """Tell whether a file is waiting to be quiet for long enough."""
        return relative_path in self._settling

    @property
    def writers_unknown(self) -> tuple[str, ...]:
        """Of which files the kernel does not say who is still writing, in words."""
        return self._files.unknown_writers.descriptions

    @property
    def skipped(self) -> int:
        """How many files are left where they are because their content was filed before."""
        return len(self._skipped)

    @property
    def canary_seen_at(self) -> float | None:
        """When an event last proved that events arrive, on the monotonic clock; None before the first proof."""
        return self._watcher.canary_seen_at

    @property
    def exhausted(self) -> bool:
        """Whether all that was here at the first walk has been handed out or is still being written."""
        if self._walked_at is None or self._walk is not None or self._walk_again:
            return False
        next_due = self._settling.next_due()
        return next_due is None or next_due > self._walked_at + self._settling.settle_seconds

    def step(self, now: float, room: int) -> list[Candidate]:
        """Look at what is new, and give at most `room` candidates that have settled."""
        if not self._is_present(now):
            return []
        self._files.listed.forget()
        if self._watcher.step(now):
            self._walk_again = True
        self._follow_hints(now, time.monotonic() + SECONDS_PER_STEP)
        self._continue_walk(now, time.monotonic() + SECONDS_PER_STEP)
        return list(self._settled(now, min(room, SETTLED_PER_STEP), time.monotonic() + SECONDS_PER_STEP))

    def next_step(self, now: float, room: int) -> float:
        """Say when `step` should be called again at the latest."""
        if not self.present:
            return now + 1.0
        is_walking = self._walk is not None or self._walk_again
        if self._to_follow or (is_walking and not self._settling.full):
            return now
        next_due = self._settling.next_due()
        times = [self._watcher.next_step()]
        if self._walk is None:  # else it goes on as soon as files have settled and make room
            times.append(self._next_walk_at)
        if next_due is not None and room > 0:
            times.append(next_due)
        return min(times)

    def look_again_at(self, candidate: Candidate, now: float) -> None:
        """Let a candidate settle that was found before."""
        self._observe(candidate.relative_path, now)

    def skip(self, candidate: Candidate, state: FileIdentity | None) -> None:
        """Leave a file alone as long as it is in this state."""
        key = hash((candidate.relative_path, state))
        for states in (self._skipped, self._met_again):
            states[key] = None
            if len(states) > SKIPPED_REMEMBERED:
                del states[next(iter(states))]  # it is merely measured once more

    def review(self, candidate: Candidate) -> None:
        """Forget a failed file that went, and give one that changed, if only its permissions, another chance."""
        try:
            identity = self._files.state_of(candidate.relative_path)
        except OSError:
            return  # that is not a reason to forget it
        if identity is None:
            self._forget(candidate.relative_path)
        elif candidate.settled is not None and identity != candidate.settled:
            self._backlog.changed(candidate, identity)

    def take_set_aside(self) -> list[str]:
        """Give the paths of files with the hidden name of one set aside that walks have met since the last time."""
        paths, self._set_aside = self._set_aside, []
        return paths

    def walk_soon(self) -> None:
        """Walk the whole inbox at the next step."""
        self._next_walk_at = 0.0

    def stop(self) -> None:
        """Stop watching."""
        self._watcher.stop()
        self._watched = None

    def _is_present(self, now: float) -> bool:
        """Follow the root through being deleted, recreated, replaced or mounted over."""
        try:
            status = os.stat(self._root)
            identity = (status.st_dev, status.st_ino) if stat.S_ISDIR(status.st_mode) else None
        except OSError:
            identity = None
        if identity != self._watched or not self._was_looked_at:  # one that is gone before the first look is told, too
            self._was_looked_at = True
            self._root_changed(identity, now)
        return identity is not None

    def _root_changed(self, identity: tuple[int, int] | None, now: float) -> None:
        self._walk = None
        if identity is None:
            log.warning("the inbox is gone; waiting for it to come back", inbox=self._root)
            self._watcher.stop()
        else:
            if self._walked_at is not None:
                log.warning("the inbox is a new folder; watching and walking it", inbox=self._root)
            with suppress(OSError):  # gone again
                file_system = file_system_at(self._root)
                self._reach = file_system.reach
                self._files.unknown_writers.note_file_system(file_system)
            self._watcher.start()  # before the walk: what arrives meanwhile has an event, or is met
            self._next_walk_at = now
        self._watched = identity

    def _follow_hints(self, now: float, until: float) -> None:
        if not self._to_follow:
            paths, lost = self._hints.drain()
            self._to_follow.extend(paths)
            if lost:
                log.warning("events were lost; walking the inbox", inbox=self._root)
                self._walk_again = True
        prefix = os.path.join(self._watcher.watched_folder, "")
        while self._to_follow:
            path = self._to_follow.popleft()
            relative_path = path.removeprefix(prefix)
            if relative_path != path and not self._in_ignored_folder(relative_path):
                self._follow_hint(path, relative_path, now, until)
            if time.monotonic() >= until:
                return  # what is left is followed at the next step

    def _follow_hint(self, path: str, relative_path: str, now: float, until: float) -> None:
        self._backlog.changed(self._candidate(relative_path), self._files.state_if_known(relative_path))
        if os.path.isdir(path) and not os.path.islink(path):
            self._observe_tree(relative_path, now, until)
        else:
            self._observe(relative_path, now)

    def _in_ignored_folder(self, relative_path: str) -> bool:
        *folders, _name = relative_path.split(os.sep)
        return any(self.selection.ignores(folder) for folder in folders)

    def _observe_tree(self, relative_folder: str, now: float, until: float) -> None:
        """Look into a folder that was made or moved here: its files may have had no event of their own."""
        if self.selection.ignores(os.path.basename(relative_folder)):
            return
        for number, entry in enumerate(steps(self._root, self.selection, relative_folder), 1):
            if entry is not None:
                self._observe_entry(entry, now)
            if number == ENTRIES_PER_STEP or time.monotonic() >= until:
                self._walk_again = True
                return

    def _continue_walk(self, now: float, until: float) -> None:
        if self._walk is None and (self._walk_again or now >= self._next_walk_at):
            self._folders_walked = self._folders_unread = 0
            self._walk = steps(self._root, self.selection, entered=self._count_folder)
            self._walk_again = False
        if self._walk is None:
            return
        for _ in range(ENTRIES_PER_STEP):
            if self._settling.full:
                return
            try:
                entry = next(self._walk)
            except StopIteration:
                self._end_walk(now)
                return
            if entry is not None:
                self._folders_unread += entry.skip_reason is SkipReason.unreadable
                self._observe_entry(entry, now)
            if time.monotonic() >= until:
                return

    def _end_walk(self, now: float) -> None:
        self._walk = None
        self.unreadable = self._folders_unread
        self._skipped, self._met_again = self._met_again, {}
        self._watcher.compare_with_walk(self._folders_walked, self._reach)
        self._walked_at = now if self._walked_at is None else self._walked_at
        self._next_walk_at = now + self._rescan_seconds

    def _count_folder(self) -> None:
        self._folders_walked += 1

    def _observe_entry(self, entry: InboxEntry, now: float) -> None:
        if entry.skip_reason is SkipReason.unreadable:
            path = printable(entry.relative_path)
            log.warning("a folder cannot be read", inbox=self._root, path=path, why=entry.why)
        elif entry.skip_reason is SkipReason.ignored:
            self._note_set_aside(entry.relative_path)
        elif entry.relative_path not in self._settling and not self._files.follows_an_image(entry.relative_path):
            # The others get their second look when they are due. A label's image takes it along; were each to wait for
            # that, labels beside images that stay here would have all places after each walk.
            self._observe(entry.relative_path, now)

    def _note_set_aside(self, relative_path: str) -> None:
        is_one = number_of_set_aside(os.path.basename(relative_path)) is not None
        if is_one and len(self._set_aside) < SET_ASIDE_REMEMBERED:
            self._set_aside.append(os.path.join(self._root, relative_path))

    def _observe(self, relative_path: str, now: float) -> None:
        """Begin or go on to wait for a file to settle."""
        name = os.path.basename(relative_path)
        if not (self.selection.is_image(name) or self.selection.is_sidecar(name)):
            return
        if self._candidate(relative_path) in self._backlog:
            return
        try:
            seen = self._files.look(relative_path)
        except OSError as error:
            self._wait_for_sight(relative_path, error, now)
            return
        if seen is None:
            self._forget(relative_path)
        elif self._skipped and self._is_skipped(relative_path, seen[0]):
            self._settling.forget(relative_path)
        elif self._settling.full and relative_path not in self._settling:
            self._walk_again = True
        else:
            self._settling.observe(relative_path, seen, now)

    def _is_skipped(self, relative_path: str, state: FileIdentity | None) -> bool:
        key = hash((relative_path, state))
        if key not in self._skipped:
            return False
        self._met_again[key] = None  # no more than were known, and those that `skip` bounds
        return True

    def _settled(self, now: float, room: int, until: float) -> Iterator[Candidate]:
        for number, relative_path in enumerate(self._settling.due(now, room)):
            if number and time.monotonic() >= until:
                return  # what is left is due at the next step
            try:
                seen = self._files.look(relative_path)
            except OSError as error:
                self._wait_for_sight(relative_path, error, now)
                continue
            if seen is None:
                self._forget(relative_path)
            elif self._settling.settled(relative_path, seen, now):
                candidate = self._unless_written(relative_path, seen, now)
                if candidate is not None:
                    yield candidate

    def _unless_written(self, relative_path: str, seen: Seen, now: float) -> Candidate | None:
        """Give a file that lies still as a candidate; None when somebody has it open, or it waits for another file."""
        # Only now: a lease is taken for that, and for a moment whoever opens the file to write has to wait for it.
        answer = self._files.writers_of(relative_path, seen)
        if answer.writers is Writers.some:
            self._settling.restart(relative_path, seen, now)
            return None
        since = self._still_since(relative_path, seen[0], answer, now)
        self._settling.forget(relative_path)
        if self._files.follows_an_image(relative_path) or self._is_unfinished(relative_path, now):
            return None
        return replace(self._candidate(relative_path), settled=seen[0], still_since=since)

    def _forget(self, relative_path: str) -> None:
        """Drop a file that is gone, and that it once failed."""
        self._settling.forget(relative_path)
        self._backlog.done(self._candidate(relative_path))

    def _wait_for_sight(self, relative_path: str, error: OSError, now: float) -> None:
        """Set a file aside of which the disk does not say what it is, and which is not to be taken for gone."""
        why, folder = f"cannot be looked at: {error.strerror}", os.path.dirname(relative_path)
        self._settling.forget(relative_path)
        self._backlog.postponed(self._candidate(relative_path), why, now + LOOK_AGAIN_SECONDS)
        if folder not in self._folders_reported and len(self._folders_reported) < FOLDERS_REMEMBERED:
            self._folders_reported[folder] = None
            log.warning("left in the inbox", path=printable(relative_path), why=why, given_up=False)

    def _still_since(
        self, relative_path: str, identity: FileIdentity | None, answer: Answer, now: float
    ) -> float | None:
        """Say since when a file has lain still of which nobody knows who writes to it; None where that is known."""
        if answer.writers is Writers.none or identity is None:
            return None
        since = self._settling.since(relative_path, now)
        if answer.file_system.reach is not Reach.local:  # another machine's clock proves nothing
            return since
        return min(since, now - (time.time() - identity.ctime_ns / 1e9))

    def _is_unfinished(self, relative_path: str, now: float) -> bool:
        """Set a file aside while a download program keeps its own beside it; one that is long stale is told."""
        companion = self._files.companion_of(relative_path)
        if companion is None:
            return False
        path, changed_at = companion
        if time.time() - changed_at > COMPANION_STALE_SECONDS:
            log.warning("judged beside a download's leftover", path=printable(relative_path), leftover=printable(path))
            return False
        why = f"not complete: {printable(os.path.basename(path))} is beside it"
        self._backlog.postponed(self._candidate(relative_path), why, now + COMPANION_PAUSE_SECONDS)
        return True

    def _candidate(self, relative_path: str) -> Candidate:
        role: Role = "sidecar" if self.selection.is_sidecar(relative_path) else "image"
        return Candidate(self.source.name, relative_path, role)
