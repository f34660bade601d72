"""One image's trip: taken from the backlog, measured, decided, recorded, moved, recorded again."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TypeVar

import structlog

from imageguard_daemon.core.errors import (
    ChangedError,
    NotBegunError,
    NotPermittedError,
    RefusedError,
    RetryableError,
    StalledError,
    retryable,
)
from imageguard_daemon.core.locks import ActingLock
from imageguard_daemon.core.model import Candidate, Intent, JudgedFile, Outcome, RecordedIntent
from imageguard_daemon.core.names import printable
from imageguard_daemon.daemon.kept_sources import Keeping
from imageguard_daemon.daemon.metrics import DaemonMetrics
from imageguard_daemon.daemon.move_group import Trip, carry_out
from imageguard_daemon.daemon.planning import SIDECAR_BYTES, is_too_large_for_a_sidecar, judge, late_sidecar_intent
from imageguard_daemon.daemon.recovery import Recovery
from imageguard_daemon.daemon.refusals import Refusals, Waiting
from imageguard_daemon.daemon.returning import Returning
from imageguard_daemon.daemon.rules.duplicates import Pair, sort_out
from imageguard_daemon.daemon.rules.unproved_verdicts import Doubts, is_doubtful
from imageguard_daemon.daemon.rules.unreadable import MAY_BE_ONE_FILE, PERMISSION_PAUSE_SECONDS, Unread
from imageguard_daemon.daemon.sources import LONGEST_PAUSE_SECONDS, ServedSource
from imageguard_daemon.filing.folders import Folders
from imageguard_daemon.filing.mounts import Mounts
from imageguard_daemon.filing.mover import NotPutBackError
from imageguard_daemon.filing.name_probe import require_names
from imageguard_daemon.intake.rules.backlog import Backlog, Failure
from imageguard_daemon.sandbox.workers import Finished, Workers

LONE_SIDECAR_PAUSE_SECONDS = 600.0
PROBE_OTHERS_SECONDS = 5.0
UNREAD_PAUSE_SECONDS = 0.25
"""Of a source whose disk did not give a file, and was quick to say so."""
FILES_IN_A_GROUP = 64
"""With more the durable writes would hardly cost less for each, and all hold descriptors and a lease meanwhile."""

T = TypeVar("T")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Stages:
    """The parts a trip goes through."""

    backlog: Backlog
    workers: Workers
    recovery: Recovery
    metrics: DaemonMetrics = field(default_factory=DaemonMetrics)
    acting_lock: ActingLock | None = None
    """Held by whoever acts on filed images; without it, none is looked after."""
    touching: Callable[[str, str], AbstractContextManager[None]] = field(default=lambda _source, _what: nullcontext())
    """Told of which source's folders are about to be touched, by source and in words."""
    emptied: Callable[[str], None] = field(default=lambda _folder: None)
    """Told of folders of the inboxes from which the last of a filed file has gone."""

    def returning(self, folders: Callable[[], Folders], came_back: Callable[[str], None]) -> Returning | None:
        """Give what looks after images of unknown writers."""
        if self.acting_lock is None:
            return None
        return Returning(self.recovery.audit, self.acting_lock, folders, came_back=came_back)


class Pipeline:
    """Carries candidates through the stages. One thread only; `step` never waits for a worker.

    `on_filed` is told of every image once it has moved; `group_seconds` is how long what has been measured may wait for
    others, to be recorded and synced with them; `settle_unknown_seconds` is for doubtful files of unknown writers.
    """

    def __init__(
        self,
        sources: Mapping[str, ServedSource],
        stages: Stages,
        on_filed: Callable[[JudgedFile], None],
        group_seconds: float = 0.0,
        settle_unknown_seconds: float = 60.0,
    ) -> None:
        self._sources = sources
        self._backlog = stages.backlog
        self._workers = stages.workers
        self._recovery = stages.recovery
        self._audit = stages.recovery.audit
        self._metrics = stages.metrics
        self._on_filed = on_filed
        self._group_seconds = group_seconds
        self._doubts = Doubts(settle_unknown_seconds)
        self._unread = Unread()
        self._begun: dict[Candidate, float] = {}
        self._measured: list[Finished] = []
        self._measured_since = 0.0
        self._unrecorded: list[Outcome] = []
        self._roots = [str(folder) for source in sources.values() for folder in source.settings.folders]
        self._refusals = Refusals()
        self._mounts = Mounts(self._roots)
        self._touching = stages.touching
        self._returning = stages.returning(self._folders, self._doubts.note_came_back)
        self._settle_unknown_seconds = settle_unknown_seconds
        self._keeping = Keeping(self._audit, self._folders, stages.emptied, self._doubts.note_came_back)

    @property
    def busy(self) -> bool:
        """Whether anything is in work or waits to be recorded."""
        return bool(self._workers.in_work or self._measured or self._unrecorded)

    def step(self, now: float) -> None:
        """Move everything on by one stage."""
        self.file_finished(now)
        self._return_changed(now)
        self._look_after_kept(now)
        self._feed(now)

    def next_step(self) -> float | None:
        """Say when what has been measured is to be filed even if nothing more is; None when nothing waits."""
        return self._measured_since + self._group_seconds if self._measured else None

    def probe_destinations(self, now: float) -> None:
        """Find out, before any file is in work, where no name can be given; these sources pause, and say why."""
        for source in self._sources.values():
            with self._touching(source.settings.name, _destinations(source)):
                self._can_file(source, now)

    def _can_file(self, source: ServedSource, now: float) -> bool:
        """Try the destinations of a source with a harmless name: no file and no record is needed to learn of this."""
        with self._folders() as folders:
            try:
                for destination in source.settings.destinations:
                    require_names(folders.descriptor(str(destination)))
            except StalledError as error:
                source.pause(str(error), now)
                return False
            except OSError:  # the files meet it, and tell more of it
                return True
        return True

    def _feed(self, now: float) -> None:
        """Hand waiting candidates to the workers as far as they have room."""
        while self._workers.has_room and self._backlog.waiting:
            taken = self._backlog.take(self._workers.share_of(self._backlog.waiting))
            files = [file for candidate in taken if (file := self._for_workers(candidate, now)) is not None]
            if files:
                self._begun.update((candidate, now) for candidate, _ in files)
                self._workers.submit(files)

    def _for_workers(self, candidate: Candidate, now: float) -> tuple[Candidate, str] | None:
        """Give a candidate with its path; None when it is not one for the workers."""
        source = self._sources[candidate.source]
        if source.is_paused(now):
            self._backlog.done(candidate)  # the walk at the end of the pause finds it again
            return None
        with self._touching(candidate.source, f"{source.settings.inbox}, or {_destinations(source)}"):
            if self._is_held_up(candidate, source, now):
                pass
            elif waiting := self._refusals.of_source(source.path_of(candidate.relative_path), now):
                self._wait_with_folder(candidate, waiting)
            elif candidate.role == "sidecar":
                self._follow_image(candidate, source, now)
            else:
                return candidate, source.path_of(candidate.relative_path)
        return None

    def settle_again(self, now: float) -> None:
        """Try what recovery had to leave open once more."""
        if self._recovery.left_open:
            with self._touching("", "where earlier moves are unfinished"):
                self._settling(self._recovery.settle_again, now)

    def _is_held_up(self, candidate: Candidate, source: ServedSource, now: float) -> bool:
        """Tell whether an earlier move of this very file is not settled yet; it waits then, and no other with it."""
        path = source.path_of(candidate.relative_path)
        why = self._settling(lambda: self._recovery.holds_up(path), now)
        if why:
            self._backlog.postponed(candidate, why, now + PERMISSION_PAUSE_SECONDS)
        return bool(why)

    def _settling(self, settle: Callable[[], T], now: float) -> T | str:
        try:
            return settle()
        except StalledError as error:
            for source in self._sources.values():
                source.pause(str(error), now)
            return str(error)

    def file_finished(self, now: float) -> None:
        """Decide, record, move and record again what the workers have finished, a group for each source.

        What has just been measured waits for others a little, so that the durable writes are shared; but for no longer
        than the configuration says, and not at all when nothing else is in work.
        """
        for one in self._workers.finished():
            began_at = self._begun.pop(one.candidate, now)
            if isinstance(one.error, OSError) and one.error.errno in MAY_BE_ONE_FILE:
                self._wait_unread(one.candidate, one.error, now, now - began_at)
                continue
            if not isinstance(one.error, PermissionError):
                self._unread.could_be_read(one.candidate)
            error = one.error or _change_since_settled(one) or _not_hashed(one)
            if error is not None:
                self._put_back(one.candidate, error, now)
            elif not self._waits_in_doubt(one, now):
                self._measured_since = self._measured_since if self._measured else now
                self._measured.append(one)
        due = now >= self._measured_since + self._group_seconds
        while self._measured and (due or not self._workers.in_work or len(self._measured) >= FILES_IN_A_GROUP):
            measured, self._measured = self._measured[:FILES_IN_A_GROUP], self._measured[FILES_IN_A_GROUP:]
            self._file(measured, now)
        if not self._measured:
            self._record_outcomes(now)

    def _waits_in_doubt(self, one: Finished, now: float) -> bool:
        """Let a file lie that may be an upload which pauses, until it has been still for long."""
        why = self._doubt(one)
        if not why:
            return False
        believe_at = self._doubts.believe_at(one.candidate, now)
        if believe_at is None:
            return False
        if self._backlog.is_new_failure(one.candidate):
            log.info("waits for the rest of an upload", path=printable(one.candidate.relative_path), why=why)
        self._backlog.postponed(one.candidate, why, believe_at)
        return True

    def _doubt(self, one: Finished) -> str:
        """Say why a file may be an upload that pauses, and had better wait in the inbox; empty when it need not."""
        if one.measurement is None or one.candidate.still_since is None:
            return ""
        if is_doubtful(one.measurement):
            told = one.measurement.detail or one.measurement.issue
            return f"{told}; who writes to it is not known, so it may be on its way"
        if self._doubts.has_come_back(self._sources[one.candidate.source].path_of(one.candidate.relative_path)):
            return "was written to after it had been filed, and who writes to it is not known"
        if self._keeping.is_full and self._may_be_copied(one):
            return "who writes to it is not known, and no more old files of copies can be kept for now"
        return ""

    def _may_be_copied(self, one: Finished) -> bool:
        """Tell whether a measured file and a destination of its source are on different disks."""
        if one.measurement is None or one.measurement.identity is None:
            return False
        source = self._sources[one.candidate.source]
        with self._touching(one.candidate.source, _destinations(source)):
            for destination in source.settings.destinations:
                with suppress(OSError):
                    if os.stat(destination).st_dev != one.measurement.identity.device:
                        return True
        return False

    def _trips(self, moves: Iterable[tuple[Candidate, Sequence[RecordedIntent]]], now: float) -> list[Trip]:
        """Plan trips; old files of copies are kept where writers are unknown and may only be pausing."""
        trips, files = [], 0
        for candidate, intents in moves:
            since = candidate.still_since
            is_fresh = since is not None and (not self._keeping.is_full or now < since + self._settle_unknown_seconds)
            files += len(intents) if is_fresh else 0
            trips.append(Trip(candidate, intents, keeps_sources=is_fresh and self._keeping.room_for(files)))
        return trips

    def _look_after_kept(self, now: float) -> None:
        """Look at the old files of copies, and at those that an earlier run has left to us."""
        if not self._unrecorded:
            with self._touching("", "where files were filed from lately"):
                for source in self._sources.values():
                    self._keeping.adopt(source.inbox.take_set_aside(), now)
                self._keeping.step(now)

    def keep_nothing(self) -> int:
        """Look a last time at the old files of copies, when no further look will follow; give how many came back."""
        with self._touching("", "where files were filed from lately"):
            return self._keeping.finish()

    def doubts(self, now: float) -> bool:
        """Tell whether a file is on its way to being believed; one that went or goes on changing is not waited for."""
        return any(
            candidate in self._backlog or self._sources[candidate.source].inbox.is_settling(candidate.relative_path)
            for candidate in self._doubts.worth_waiting_for(now)
        )

    def _return_changed(self, now: float) -> None:
        """Put back what somebody went on writing to after it was filed."""
        if self._returning is not None and not self._unrecorded:
            with self._touching("", "where files were filed lately"):
                self._unrecorded += self._returning.step(now)
            self._record_outcomes(now)

    def _file(self, measured: Sequence[Finished], now: float) -> None:
        if not self._record_outcomes(now):  # the log is out of order: don't make more that it can't take
            self._let_go(one.candidate for one in measured)
            return
        for name in dict.fromkeys(one.candidate.source for one in measured):
            source = self._sources[name]
            with self._touching(name, f"{source.settings.inbox}, or {_destinations(source)}"):
                self._file_group([one for one in measured if one.candidate.source == name], source, now)

    def _file_group(self, group: Sequence[Finished], source: ServedSource, now: float) -> None:
        if source.paused_because and not self._can_file(source, now):
            self._let_go(one.candidate for one in group)
            return
        with self._folders() as folders:
            try:
                judged = judge(self._without_duplicates(group, source, now), source)
                judged = [file for file in judged if self._may_move(file, now)]
                with self._metrics.timed("record"):
                    recorded = self._audit.record_intents(judged)
                moved = self._carry_out(judged, recorded, folders, now)
            except StalledError as error:
                source.pause(str(error), now)
                moved = []
        self._record_outcomes(now)
        self._finish(moved, source, now)
        self._let_go(one.candidate for one in group)

    def _carry_out(
        self,
        judged: Sequence[JudgedFile],
        recorded: Sequence[Sequence[RecordedIntent]],
        folders: Folders,
        now: float,
    ) -> list[JudgedFile]:
        """Move what was recorded, and give the files whose image has moved."""
        trips = self._trips(((file.candidate, intents) for file, intents in zip(judged, recorded, strict=True)), now)
        self._make_trips(trips, folders, now)
        if self._returning is not None:
            for trip in trips:
                if trip.moved and trip.candidate.still_since is not None:
                    self._returning.remember(trip.moved_files(), now)
        return [file for file, trip in zip(judged, trips, strict=True) if trip.moved]

    def _make_trips(self, trips: Sequence[Trip], folders: Folders, now: float) -> None:
        with self._metrics.timed("move"):
            carry_out(trips, folders)
        for trip in trips:
            self._unrecorded += trip.outcomes
            for path, recorded in trip.kept:
                self._keeping.remember(path, recorded, now)
            if trip.error is not None:
                self._put_back(trip.candidate, trip.error, now)
            elif trip.intents:
                self._let_others_follow(trip.intents[0].intent, now)

    def _finish(self, moved: Sequence[JudgedFile], source: ServedSource, now: float) -> None:
        for file in moved:
            self._doubts.was_filed(file.intents[0].source_path)
            self._on_filed(file)
        if moved and not self._unrecorded:
            source.works_again(now)

    def _follow_image(self, candidate: Candidate, source: ServedSource, now: float) -> None:
        """Send a sidecar that came late after its image; one whose image is not known waits in the inbox."""
        if is_too_large_for_a_sidecar(source.path_of(candidate.relative_path)):
            self._set_aside(candidate, RetryableError(f"larger than a sidecar may be ({SIDECAR_BYTES >> 20} MB)"), now)
            return
        try:
            owners = source.inbox.selection.owners_of(candidate.relative_path)
            lacking = ((self._audit.image_lacking_sidecar(candidate.source, *owner), owner[1]) for owner in owners)
            filed, ending = next((found for found in lacking if found[0] is not None), (None, ""))
            if filed is None:
                why = "its image has not been filed"
                self._backlog.postponed(candidate, why, now + LONE_SIDECAR_PAUSE_SECONDS)
                return
            image = self._place_of(filed[1], candidate)
            if image is None:
                why = f"its image was filed as {printable(filed[1])}, where the configuration has no folder any more"
                self._backlog.postponed(candidate, why, now + LONE_SIDECAR_PAUSE_SECONDS)
                return
            intent = late_sidecar_intent(source.path_of(candidate.relative_path), ending, image)
            if intent is not None:
                [trip] = self._trips([(candidate, [self._audit.record_late_sidecar(filed[0], intent)])], now)
                with self._folders() as folders:
                    self._make_trips([trip], folders, now)
                if self._record_outcomes(now) and trip.moved:
                    source.works_again(now)
        except StalledError as error:
            source.pause(str(error), now)
        self._let_go([candidate])

    def _place_of(self, image_path: str, sidecar: Candidate) -> str | None:
        """Give where an image is by today's folders; None when it is in none of them."""
        places = self._recovery.places
        if places.has(image_path):
            return image_path
        today = places.of_filed(image_path, sidecar.source, len(PurePath(sidecar.relative_path).parts))
        return next((path for path in today if places.has(path) and os.path.lexists(path)), None)

    def _record_outcomes(self, now: float) -> bool:
        """Record what has become of intents; when the log refuses, keep it, and take nothing new meanwhile."""
        try:
            self._audit.record_outcomes(self._unrecorded)
        except StalledError as error:
            for source in self._sources.values():
                source.pause(str(error), now)
            return False
        self._unrecorded = []
        return True

    def _put_back(self, candidate: Candidate, error: Exception, now: float) -> None:
        """Leave a file in the inbox: forgotten, to be looked at afresh, until its source recovers, or set aside."""
        source = self._sources[candidate.source]
        if isinstance(error, OSError):
            error = _sorted_by_handler(error)
        if isinstance(error, StalledError):
            source.pause(str(error), now)
            # Others probe the end of the pause before this one does: it alone may be on the bad part of a disk.
            self._backlog.postponed(candidate, str(error), (source.next_probe() or now) + PROBE_OTHERS_SECONDS)
        elif isinstance(error, ChangedError):
            self._look_afresh(candidate, error, now)
        elif isinstance(error, RefusedError):
            self._wait_with_folder(candidate, self._refusals.refused(error.place, str(error), now))
        elif isinstance(error, NotPermittedError):
            self._wait_for_permission(candidate, error, now)
        else:
            self._set_aside(candidate, error, now)

    def _wait_unread(self, candidate: Candidate, error: OSError, now: float, seconds: float) -> None:
        """Set a file aside that its disk does not give; its source pauses for a moment, in case it gives none.

        No longer than the disk took to say so: with many such files, long pauses would keep all others waiting. And not
        at all when another file was filed meanwhile; the others are to be first when the pause is over.
        """
        source, why = self._sources[candidate.source], f"cannot be read: {error.strerror}"
        pause, is_news = self._unread.pause_of(candidate, now, source.worked_at)
        if source.worked_at <= now - seconds:
            source.pause(why, now, min(max(UNREAD_PAUSE_SECONDS, seconds), LONGEST_PAUSE_SECONDS))
            pause = max(pause, (source.next_probe() or now) + PROBE_OTHERS_SECONDS - now)
        if is_news:
            log.warning("left in the inbox", path=printable(candidate.relative_path), why=why, given_up=False)
        self._backlog.postponed(candidate, why, now + pause)

    def _look_afresh(self, candidate: Candidate, error: ChangedError, now: float) -> None:
        """Let a file settle again; one that is never the judged one, though nobody changes it, has failed."""
        tell = log.error if isinstance(error, NotPutBackError) else log.info
        tell("looked at afresh", path=printable(candidate.relative_path), why=str(error))
        counts = not isinstance(error, NotBegunError)
        failure = self._backlog.changed_underway(candidate, str(error), now) if counts else None
        if failure is None:
            self._backlog.done(candidate)
            self._sources[candidate.source].inbox.look_again_at(candidate, now)
        else:
            self._tell_of(failure)

    def _wait_for_permission(self, candidate: Candidate, error: Exception, now: float) -> None:
        """Permissions come back without an event and without an attempt of ours: ask again for as long as it takes.

        What changed with the file itself, such as its mode, intake notices far earlier.
        """
        if self._backlog.is_new_failure(candidate):
            log.warning("left in the inbox", path=printable(candidate.relative_path), why=str(error), given_up=False)
        self._backlog.postponed(candidate, str(error), now + self._unread.pause_of_forbidden(candidate, now))

    def _without_duplicates(self, group: Sequence[Finished], source: ServedSource, now: float) -> list[Pair]:
        """Give what is to be judged; what was filed before stays, if it is to, until it changes."""
        pairs = [(one.candidate, one.measurement) for one in group if one.measurement]
        policy, filed = source.inbox.duplicates, {}
        if policy != "accept":
            filed = self._audit.filed_before([measurement.sha256 for _, measurement in pairs])
        found = sort_out(pairs, filed, policy)
        for candidate, measurement, place in found.skipped:
            log.info("skipped, filed before", path=printable(candidate.relative_path), filed_as=place)
            source.inbox.skip(candidate, measurement.identity)
        for candidate in found.later:
            self._backlog.done(candidate)
            source.inbox.look_again_at(candidate, now)
        return found.to_judge

    def _may_move(self, file: JudgedFile, now: float) -> bool:
        """Tell whether a judged file may be moved; others of its folder may have been refused since it was taken."""
        image, settings = file.intents[0], self._sources[file.candidate.source].settings
        root = str(settings.accepted if file.decision.ok else settings.quarantine)
        waiting = self._refusals.of_move(image.source_path, image.destination_path, root, now)
        if waiting is not None:
            self._wait_with_folder(file.candidate, waiting)
        return waiting is None

    def _wait_with_folder(self, candidate: Candidate, waiting: Waiting) -> None:
        """Set a file aside without an attempt; what its folder refuses is told once, not of each file."""
        if not waiting.is_told:
            log.warning("left in the inbox", path=printable(candidate.relative_path), why=waiting.why, given_up=False)
            waiting.is_told = True
        self._backlog.postponed(candidate, waiting.why, waiting.until)

    def _let_others_follow(self, moved: Intent, now: float) -> None:
        """Look again at the files that waited for the same folder as one that has moved."""
        over = {waiting.why for waiting in self._refusals.moved(moved.source_path, moved.destination_path)}
        for failure in self._backlog.failures if over else ():
            if failure.error in over:
                self._backlog.retry_now(failure, now)

    def _set_aside(self, candidate: Candidate, error: Exception, now: float) -> None:
        self._tell_of(self._backlog.failed(candidate, str(error), now))

    @staticmethod
    def _tell_of(failure: Failure) -> None:
        log.warning(
            "left in the inbox",
            path=printable(failure.candidate.relative_path),
            why=failure.error,
            attempts=failure.attempts,
            given_up=failure.retry_at is None,
        )

    def _let_go(self, candidates: Iterable[Candidate]) -> None:
        """Forget the candidates that are through; those set aside stay set aside."""
        for candidate in candidates:
            if not self._backlog.is_set_aside(candidate):
                self._backlog.done(candidate)

    def _folders(self) -> Folders:
        return Folders(self._roots, self._mounts)


def _destinations(source: ServedSource) -> str:
    return " or ".join(map(str, source.settings.destinations))


def _change_since_settled(one: Finished) -> ChangedError | None:
    """Refuse a state that never lay still; it also means that every later write gets a later time stamp."""
    settled = one.candidate.settled
    if one.measurement is None or settled is None or one.measurement.identity == settled:
        return None
    return ChangedError("changed after it had settled")


def _not_hashed(one: Finished) -> RetryableError | None:
    """Refuse to file what nobody can prove to be the same afterwards: it is too large to be read."""
    if one.measurement is None or one.measurement.sha256:
        return None
    return RetryableError(f"{one.measurement.issue}: {one.measurement.detail}; it is not read, and stays here")


def _sorted_by_handler(error: OSError) -> RetryableError:
    """Say of what a worker met while reading a file whose fault it is."""
    if isinstance(error, FileNotFoundError | InterruptedError):  # gone, or nothing at all: look afresh
        return ChangedError(f"cannot be read: {error.strerror or error}")
    if isinstance(error, PermissionError):
        return NotPermittedError(f"cannot be read: {error.strerror or error}")
    return retryable(error, "cannot be read")
