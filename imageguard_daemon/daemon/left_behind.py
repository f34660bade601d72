"""Which files stay in the inbox for now, why, and until when: said once of each cause, not once of each file.

Everything that keeps a file in the inbox ends here: an error of its own, a folder that refuses, a disk that does not
give it, a doubt whether it is whole. Only what is the file's own fault counts as an attempt.
"""

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from pathlib import PurePath

import structlog

from imageguard_daemon.core.backoff import Backoff
from imageguard_daemon.core.errors import (
    ChangedError,
    NotBegunError,
    NotPermittedError,
    RefusedError,
    RetryableError,
    StalledError,
    retryable,
)
from imageguard_daemon.core.file_systems import Reach, file_system_at
from imageguard_daemon.core.model import Candidate, Intent, JudgedFile
from imageguard_daemon.core.names import printable
from imageguard_daemon.daemon.rules.admission import (
    MAY_BE_ONE_FILE,
    PERMISSION_PAUSE_SECONDS,
    Doubts,
    Unread,
    is_doubtful,
)
from imageguard_daemon.daemon.sources import LONGEST_PAUSE_SECONDS, ServedSource
from imageguard_daemon.filing import refusals
from imageguard_daemon.filing.mover import NotPutBackError
from imageguard_daemon.intake.rules.backlog import Backlog, Failure
from imageguard_daemon.sandbox.workers import Finished

LOOK_AGAIN_SECONDS = 30.0
PAUSES = Backoff(LOOK_AGAIN_SECONDS, longest_seconds=600.0)
_PLACES_REMEMBERED = 10_000
_FREE_SECONDS = 1.0
"""For so long a folder that refused nothing is not looked at again: what it refuses since, an attempt finds out."""
PROBE_OTHERS_SECONDS = 5.0
UNREAD_PAUSE_SECONDS = 0.25
"""Of a source whose disk did not give a file, and was quick to say so."""
log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Waiting:
    """Why the files of a place wait, and until when; `prober` is the one that is tried meanwhile."""

    why: str
    until: float
    attempts: int = 0
    """How many were refused, one after another."""
    prober: str = ""
    is_reported: bool = False


@dataclass(slots=True)
class Refusals:
    """What is known of places that refuse, folders or single files: what lies there waits, everything else goes on.

    What surely refused a second ago is not even tried. For the rest one file at a time finds out, after pauses that
    grow, so that a folder that refuses for months leaves few abandoned intents in the log. One thread only.
    """

    _known: dict[str, Waiting] = field(default_factory=dict)
    _free: dict[tuple[str, str], tuple[float, bool]] = field(default_factory=dict)
    """Folders that refused nothing, as a source (with no root) or as a destination: until when that is believed, and
    whether they are sticky."""

    def refused(self, place: str, why: str, now: float) -> Waiting:
        """Note that an attempt was refused; each pause is twice the last one."""
        earlier = self._known.get(place)
        if earlier is not None and earlier.attempts and not earlier.prober and now < earlier.until:
            return earlier  # of the same group as the attempt that counted
        self._free.clear()
        attempts = 1 if earlier is None else earlier.attempts + 1
        return self._note(place, Waiting(why, now + PAUSES.after(attempts), attempts))

    def of_source(self, path: str, now: float) -> Waiting | None:
        """Say why the file at `path` must wait; None when it may be tried, on behalf of all that wait with it."""
        places = (path, os.path.dirname(path))
        if waiting := self._first_not_due(places, path, now):
            return waiting
        return self._looked_up(self._look_at_source(path, places[1], now), places, path, now)

    def of_move(self, path: str, destination: str, root: str, now: float) -> Waiting | None:
        """Say why a judged file must wait all the same; what a whole destination refuses is not a reason."""
        folders = _below(root, os.path.dirname(destination))
        refusal = self._look_at_destination(os.path.dirname(destination), root, now)
        if refusal is not None and refusal.place not in folders:
            refusal = None  # an attempt says it of all
        if waiting := self._first_not_due(folders, path, now):
            return waiting
        return self._looked_up(refusal, (path, os.path.dirname(path), *folders), path, now)

    def moved(self, path: str, destination: str) -> list[Waiting]:
        """Forget what was said against the places of a move that has succeeded; give it."""
        if not self._known:
            return []
        places = (path, os.path.dirname(path), *map(str, PurePath(destination).parents))
        return [self._known.pop(place) for place in places if place in self._known]

    def _look_at_source(self, path: str, folder: str, now: float) -> refusals.Refusal | None:
        until, is_sticky = self._free.get((folder, ""), (now, False))
        if not now < until:
            if refusal := refusals.of_source_folder(folder):
                return refusal
            is_sticky = refusals.is_sticky(folder)
            self._is_free((folder, ""), now, is_sticky=is_sticky)
        return refusals.of_file(path, in_sticky_folder=is_sticky)

    def _look_at_destination(self, folder: str, root: str, now: float) -> refusals.Refusal | None:
        if now < self._free.get((folder, root), (now, False))[0]:
            return None
        refusal = refusals.of_destination(folder, root)
        if refusal is None:
            self._is_free((folder, root), now)
        return refusal

    def _is_free(self, place: tuple[str, str], now: float, *, is_sticky: bool = False) -> None:
        if len(self._free) >= _PLACES_REMEMBERED:
            self._free.clear()
        self._free[place] = now + _FREE_SECONDS, is_sticky

    def _looked_up(
        self, refusal: refusals.Refusal | None, places: tuple[str, ...], path: str, now: float
    ) -> Waiting | None:
        if refusal is None:
            return self._unless_due(places, path, now)
        earlier = self._known.get(refusal.place)
        if earlier is not None and earlier.prober == path and now < earlier.until:
            return None
        may_be_tried = earlier is None and not refusal.is_certain
        attempts = 0 if earlier is None else earlier.attempts
        prober = path if may_be_tried else ""
        waiting = self._note(refusal.place, Waiting(refusal.why, now + LOOK_AGAIN_SECONDS, attempts, prober))
        return None if may_be_tried else waiting

    def _first_not_due(self, places: tuple[str, ...], path: str, now: float) -> Waiting | None:
        for place in places:
            if waiting := self._not_due(place, path, now):
                return waiting
        return None

    def _not_due(self, place: str, path: str, now: float) -> Waiting | None:
        earlier = self._known.get(place)
        return earlier if earlier is not None and now < earlier.until and earlier.prober != path else None

    def _unless_due(self, places: tuple[str, ...], path: str, now: float) -> Waiting | None:
        for place in places:
            if waiting := self._not_due(place, path, now):
                return waiting
            earlier = self._known.get(place)
            if earlier is not None and now >= earlier.until:
                earlier.until, earlier.prober = now + PAUSES.after(max(1, earlier.attempts)), path
        return None

    def _note(self, place: str, waiting: Waiting) -> Waiting:
        earlier = self._known.pop(place, None)
        waiting.is_reported = earlier is not None and earlier.is_reported and earlier.why == waiting.why
        if len(self._known) >= _PLACES_REMEMBERED:
            del self._known[next(iter(self._known))]
        self._known[place] = waiting
        return waiting


def _below(root: str, folder: str) -> tuple[str, ...]:
    """Give a folder and those above it, up to the root but without it: the nearest one that is there may refuse."""
    folders = []
    while len(folder) > len(root):
        folders.append(folder)
        folder = os.path.dirname(folder)
    return tuple(folders)


class LeftBehind:
    """Leaves files in the inbox. One thread only; times are of the monotonic clock."""

    def __init__(
        self,
        sources: Mapping[str, ServedSource],
        backlog: Backlog,
        touching: Callable[[str, str], AbstractContextManager[None]],
        settle_unknown_seconds: float,
    ) -> None:
        self._sources = sources
        self._backlog = backlog
        self._touching = touching
        self._refusals = Refusals()
        self._unread = Unread()
        self.doubts = Doubts(settle_unknown_seconds)

    def put_back(self, candidate: Candidate, error: Exception, now: float) -> None:
        """Leave a file in the inbox: forgotten, to be looked at afresh, until its source recovers, or set aside."""
        source = self._sources[candidate.source]
        if isinstance(error, OSError):
            error = _sorted_by_handler(error)
        if isinstance(error, StalledError):
            source.pause(str(error), now)
            # Others probe the end of the pause before this one does: it alone may be on the bad part of a disk.
            probe_at = source.next_probe() or now
            self._backlog.postponed(candidate, str(error), probe_at + PROBE_OTHERS_SECONDS)
        elif isinstance(error, ChangedError):
            self._look_afresh(candidate, error, now)
        elif isinstance(error, RefusedError):
            self._wait_with_folder(candidate, self._refusals.refused(error.place, str(error), now))
        elif isinstance(error, NotPermittedError):
            self._wait_for_permission(candidate, error, now)
        else:
            self._report(self._backlog.failed(candidate, str(error), now))

    def hold_up(self, candidate: Candidate, why: str, now: float) -> None:
        """Let a file wait, without an attempt, for what is not about it."""
        self._backlog.postponed(candidate, why, now + PERMISSION_PAUSE_SECONDS)

    def waits_unread(self, finished: Finished, now: float, seconds: float) -> bool:
        """Set a file aside that its disk does not give; its source pauses for a moment, in case it gives none.

        No longer than the disk took to say so: with many such files, long pauses would keep all others waiting. And not
        at all when another file was filed meanwhile; the others are to be first when the pause is over.
        """
        candidate, error = finished.candidate, finished.error
        if not (isinstance(error, OSError) and error.errno in MAY_BE_ONE_FILE):
            if not isinstance(error, PermissionError):
                self._unread.could_be_read(candidate)
            return False
        source, why = self._sources[candidate.source], f"cannot be read: {error.strerror}"
        pause, is_news = self._unread.pause_of(candidate, now, source.worked_at)
        if source.worked_at <= now - seconds:
            source.pause(why, now, min(max(UNREAD_PAUSE_SECONDS, seconds), LONGEST_PAUSE_SECONDS))
            pause = max(pause, (source.next_probe() or now) + PROBE_OTHERS_SECONDS - now)
        if is_news:
            _report_waiting(candidate, why)
        self._backlog.postponed(candidate, why, now + pause)
        return True

    def waits_in_doubt(self, finished: Finished, now: float, keeps_no_more: Callable[[], bool]) -> bool:
        """Let a file lie that may be an upload which pauses, until it has been still for long.

        `keeps_no_more` tells whether the old files of further copies cannot be kept for now.
        """
        why = self._doubt(finished, keeps_no_more)
        if not why:
            return False
        believe_at = self.doubts.believe_at(finished.candidate, now)
        if believe_at is None:
            return False
        if self._backlog.is_new_failure(finished.candidate):
            log.info("waits for the rest of an upload", path=printable(finished.candidate.relative_path), why=why)
        self._backlog.postponed(finished.candidate, why, believe_at)
        return True

    def waits_for_doubts(self, now: float) -> bool:
        """Tell whether a file is on its way to being believed; one that went or goes on changing is not waited for."""
        return any(
            candidate in self._backlog or self._sources[candidate.source].inbox.is_settling(candidate.relative_path)
            for candidate in self.doubts.worth_waiting_for(now)
        )

    def waits_with_source(self, candidate: Candidate, path: str, now: float) -> bool:
        """Tell whether a file must not even be tried, because of where it lies; it waits then."""
        waiting = self._refusals.of_source(path, now)
        if waiting is not None:
            self._wait_with_folder(candidate, waiting)
        return waiting is not None

    def may_move(self, file: JudgedFile, now: float) -> bool:
        """Tell whether a judged file may be moved; others of its folder may have been refused since it was taken."""
        image, settings = file.intents[0], self._sources[file.candidate.source].settings
        root = str(settings.accepted if file.decision.ok else settings.quarantine)
        waiting = self._refusals.of_move(image.source_path, image.destination_path, root, now)
        if waiting is not None:
            self._wait_with_folder(file.candidate, waiting)
        return waiting is None

    def let_others_follow(self, moved: Intent, now: float) -> None:
        """Look again at the files that waited for the same folder as one that has moved."""
        over = {waiting.why for waiting in self._refusals.moved(moved.source_path, moved.destination_path)}
        for failure in self._backlog.failures if over else ():
            if failure.error in over:
                self._backlog.retry_now(failure, now)

    def _doubt(self, finished: Finished, keeps_no_more: Callable[[], bool]) -> str:
        """Say why a file may be an upload that pauses, and had better wait in the inbox; empty when it need not."""
        candidate, measurement = finished.candidate, finished.measurement
        if measurement is None or candidate.still_since is None:
            return ""
        if is_doubtful(measurement):
            issue = measurement.detail or measurement.issue
            return f"{issue}; who writes to it is not known, so it may be on its way"
        if self.doubts.has_come_back(self._sources[candidate.source].path_of(candidate.relative_path)):
            return "was written to after it had been filed, and who writes to it is not known"
        if keeps_no_more() and self._may_be_copied(finished):
            return "who writes to it is not known, and no more old files of copies can be kept for now"
        return ""

    def _may_be_copied(self, finished: Finished) -> bool:
        """Tell whether file and destination may be on different disks, which a union of them shows as one device."""
        if finished.measurement is None or finished.measurement.identity is None:
            return False
        source = self._sources[finished.candidate.source]
        with self._touching(finished.candidate.source, source.destinations):
            for destination in source.settings.destinations:
                with suppress(OSError):
                    is_one_device = os.stat(destination).st_dev == finished.measurement.identity.device
                    if not is_one_device or file_system_at(str(destination)).reach is Reach.relayed:
                        return True
        return False

    def _look_afresh(self, candidate: Candidate, error: ChangedError, now: float) -> None:
        """Let a file settle again; one that is never the judged one, though nobody changes it, has failed."""
        write = log.error if isinstance(error, NotPutBackError) else log.info
        write("looked at afresh", path=printable(candidate.relative_path), why=str(error))
        counts = not isinstance(error, NotBegunError)
        failure = self._backlog.changed_underway(candidate, str(error), now) if counts else None
        if failure is None:
            self._backlog.done(candidate)
            self._sources[candidate.source].inbox.look_again_at(candidate, now)
        else:
            self._report(failure)

    def _wait_for_permission(self, candidate: Candidate, error: Exception, now: float) -> None:
        """Permissions come back without an event and without an attempt of ours: ask again for as long as it takes.

        What changed with the file itself, such as its mode, intake notices far earlier.
        """
        if self._backlog.is_new_failure(candidate):
            _report_waiting(candidate, str(error))
        pause = self._unread.pause_of_forbidden(candidate, now)
        self._backlog.postponed(candidate, str(error), now + pause)

    def _wait_with_folder(self, candidate: Candidate, waiting: Waiting) -> None:
        """Set a file aside without an attempt; what its folder refuses is told once, not of each file."""
        if not waiting.is_reported:
            _report_waiting(candidate, waiting.why)
            waiting.is_reported = True
        self._backlog.postponed(candidate, waiting.why, waiting.until)

    @staticmethod
    def _report(failure: Failure) -> None:
        log.warning(
            "left in the inbox",
            path=printable(failure.candidate.relative_path),
            why=failure.error,
            attempts=failure.attempts,
            given_up=failure.retry_at is None,
        )


def _report_waiting(candidate: Candidate, why: str) -> None:
    log.warning("left in the inbox", path=printable(candidate.relative_path), why=why, given_up=False)


def _sorted_by_handler(error: OSError) -> RetryableError:
    """Say of what a worker met while reading a file whose fault it is."""
    if isinstance(error, FileNotFoundError | InterruptedError):  # gone, or nothing at all: look afresh
        return ChangedError(f"cannot be read: {error.strerror or error}")
    if isinstance(error, PermissionError):
        return NotPermittedError(f"cannot be read: {error.strerror or error}")
    return retryable(error, "cannot be read")
