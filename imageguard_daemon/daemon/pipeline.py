"""One image's way: taken from the backlog, measured, decided, recorded, moved, recorded again.

What keeps a file in the inbox is in `left_behind.py`, what becomes of moved files, and late sidecars,
in `moves.py`.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import structlog

from imageguard_daemon.config import Settings
from imageguard_daemon.core.errors import ChangedError, RetryableError, StalledError
from imageguard_daemon.core.model import Candidate, JudgedFile
from imageguard_daemon.core.names import printable
from imageguard_daemon.daemon.left_behind import LeftBehind
from imageguard_daemon.daemon.move_group import judge
from imageguard_daemon.daemon.moves import LateSidecars, Moves, Stages
from imageguard_daemon.daemon.parts import LEFT_OPEN_SHOWN, Part, Snapshot, earliest
from imageguard_daemon.daemon.recovery import LeftOpen
from imageguard_daemon.daemon.rules.admission import Pair, sort_out
from imageguard_daemon.daemon.sources import ServedSource, pause_all
from imageguard_daemon.filing.folders import Folders
from imageguard_daemon.filing.renaming import require_names
from imageguard_daemon.sandbox.workers import Finished

FILES_IN_A_GROUP = 64
"""With more the durable writes would hardly cost less for each, and all hold descriptors and a lease meanwhile."""
SETTLE_AGAIN_SECONDS = 15.0
"""How often what recovery had to leave open is tried once more."""
SILENCE_SECONDS = 1.0
"""How often workers are looked at that say nothing: they may have ended without a word."""
STUCK_AFTER_TIMEOUTS = 4
"""When nothing at all finished for so many time limits of one image, systemd is no longer told that all is well."""

T = TypeVar("T")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Waits:
    """How long the pipeline waits for what."""

    group_seconds: float = 0.0
    """For how long what has been measured may wait for others, to be recorded and synced with them."""
    settle_unknown_seconds: float = 60.0
    """For how long doubtful files of unknown writers have to be still."""
    stuck_seconds: float = math.inf
    """After how long without any result, though images are in work, something is wrong."""

    @classmethod
    def of(cls, settings: Settings) -> "Waits":
        """Take them from the settings."""
        stuck_seconds = STUCK_AFTER_TIMEOUTS * settings.scoring.timeout_seconds
        return cls(settings.filing.group_seconds, settings.intake.settle_unknown_seconds, stuck_seconds)


class Pipeline(Part):
    """Carries candidates through the stages. One thread only; `step` never waits for a worker.

    `on_filed` is told of every image once it has moved.
    """

    def __init__(
        self,
        sources: Mapping[str, ServedSource],
        stages: Stages,
        on_filed: Callable[[JudgedFile], None],
        waits: Waits = Waits(),
    ) -> None:
        self._sources = sources
        self._backlog = stages.backlog
        self._workers = stages.workers
        self._recovery = stages.recovery
        self._audit = stages.recovery.audit
        self._metrics = stages.metrics
        self._touching = stages.touching
        self._on_filed = on_filed
        self._waits = waits
        self._left_behind = LeftBehind(sources, stages.backlog, stages.touching, waits.settle_unknown_seconds)
        self._moves = Moves(sources, stages, self._left_behind, waits.settle_unknown_seconds)
        self._late_sidecars = LateSidecars(stages, self._moves, self._left_behind, self._let_go)
        self._begun: dict[Candidate, float] = {}
        self._measured: list[Finished] = []
        self._measured_since = 0.0
        self._settle_again_at = 0.0
        self._last_progress_at = 0.0
        self._is_draining = False

    def start(self) -> None:
        """Say what there is to work with, and pause the sources where no name can be given, before a file is moved."""
        self._workers.log_plan()
        self.probe_destinations(time.monotonic())

    def step(self, now: float) -> None:
        """Move everything on by one stage, the last one first, so that what is filed makes room for what waits."""
        if not self._workers.in_work:
            self._last_progress_at = now
        if self._is_draining:
            self.file_finished(now)
            return
        if now >= self._settle_again_at:
            self._settle_again_at = now + SETTLE_AGAIN_SECONDS
            self.settle_again(now)
        self.file_finished(now)
        self._moves.step(now)
        self._feed(now)

    def next_due(self, now: float) -> float | None:
        """Say when what has been measured is to be filed even if nothing more is, or old troubles are looked at."""
        return earliest(
            self._settle_again_at if self._recovery.left_open else None,
            now + SILENCE_SECONDS if self._workers.in_work else None,
            self._measured_since + self._waits.group_seconds if self._measured else None,
            self._moves.next_due(now),
        )

    def has_work(self, now: float) -> bool:
        """Tell whether anything is in work, waits to be recorded, or is on its way to being believed."""
        if self._workers.in_work or self._measured or not self._moves.all_recorded:
            return True
        return not self._is_draining and self._left_behind.waits_for_doubts(now)

    def conclude(self) -> Mapping[str, str]:
        """Look a last time at old files of copies, and say what is unfinished."""
        came_back, unfinished = self._moves.keep_nothing(), len(self._recovery.left_open)
        left = {
            "unfinished": f"{unfinished} moves of an earlier run" if unfinished else "",
            "came back": f"{came_back} files were written to after they had been filed as copies" if came_back else "",
        }
        return {what: how for what, how in left.items() if how}

    def drain(self) -> None:
        """Have the workers begin nothing more; what they have is finished and filed."""
        self._is_draining = True
        self._workers.begin_nothing_more()

    def stop(self) -> None:
        """End the workers; what they had in work is still in the inbox."""
        self._workers.stop()

    def snapshot(self, so_far: Snapshot, now: float) -> Snapshot:
        """Add what is in work, how the workers fare, and what earlier runs left."""
        left_open = self._recovery.left_open
        return replace(
            so_far,
            in_work=self._workers.in_work,
            worker_failures=self._workers.failures,
            pools_lost=self._workers.pools_replaced,
            makes_progress=now - self._last_progress_at < self._waits.stuck_seconds,
            left_open=len(left_open),
            left_open_examples=tuple(map(_left_open_text, left_open[:LEFT_OPEN_SHOWN])),
        )

    def probe_destinations(self, now: float) -> None:
        """Find out, before any file is in work, where no name can be given; these sources pause, and say why."""
        for source in self._sources.values():
            with self._touching(source.settings.name, source.destinations):
                self._can_file(source, now)

    def _can_file(self, source: ServedSource, now: float) -> bool:
        """Try the destinations of a source with a harmless name: no file and no record is needed to learn of this."""
        with self._moves.folders() as folders:
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
        while (capacity := self._workers.capacity) and self._backlog.waiting:
            taken = self._backlog.take(capacity)
            files = []
            for candidate in taken:
                file = self._for_workers(candidate, now)
                if file is not None:
                    files.append(file)
            if files:
                self._begun.update((candidate, now) for candidate, _ in files)
                self._workers.submit(files)

    def _for_workers(self, candidate: Candidate, now: float) -> tuple[Candidate, str] | None:
        """Give a candidate with its path; None when it is not one for the workers."""
        source = self._sources[candidate.source]
        path = source.path_of(candidate.relative_path)
        if source.is_paused(now):
            self._backlog.done(candidate)  # the walk at the end of the pause finds it again
            return None
        with self._touching(candidate.source, source.whereabouts):
            if self._is_held_up(candidate, path, now):
                return None
            if self._left_behind.waits_with_source(candidate, path, now):
                return None
            if candidate.role == "sidecar":
                self._late_sidecars.follow(candidate, source, now)
                return None
            return candidate, path

    def settle_again(self, now: float) -> None:
        """Try what recovery had to leave open once more."""
        if self._recovery.left_open:
            with self._touching("", "where earlier moves are unfinished"):
                self._settling(self._recovery.settle_again, now)

    def _is_held_up(self, candidate: Candidate, path: str, now: float) -> bool:
        """Tell whether an earlier move of this very file is not settled yet; it waits then, and no other with it."""
        why = self._settling(lambda: self._recovery.holds_up(path), now)
        if why:
            self._left_behind.hold_up(candidate, why, now)
        return bool(why)

    def _settling(self, settle: Callable[[], T], now: float) -> T | str:
        try:
            return settle()
        except StalledError as error:
            pause_all(self._sources.values(), str(error), now)
            return str(error)

    def file_finished(self, now: float) -> None:
        """Decide, record, move and record again what the workers have finished, a group for each source.

        What has just been measured waits for others a little, so that the durable writes are shared; but for no longer
        than the configuration says, and not at all when nothing else is in work.
        """
        for finished in self._workers.finished():
            began_at = self._begun.pop(finished.candidate, now)
            if not self._left_behind.waits_unread(finished, now, now - began_at):
                self._take_in(finished, now)
        due = now >= self._measured_since + self._waits.group_seconds
        while self._measured:
            is_full = len(self._measured) >= FILES_IN_A_GROUP
            if not (due or is_full) and self._workers.in_work:
                break
            measured, self._measured = self._measured[:FILES_IN_A_GROUP], self._measured[FILES_IN_A_GROUP:]
            self._file(measured, now)
        if not self._measured:
            self._moves.record_outcomes(now)

    def _take_in(self, finished: Finished, now: float) -> None:
        error = finished.error or _change_since_settled(finished) or _not_hashed(finished)
        if error is not None:
            self._left_behind.put_back(finished.candidate, error, now)
        elif not self._left_behind.waits_in_doubt(finished, now, lambda: self._moves.keeps_no_more):
            self._measured_since = self._measured_since if self._measured else now
            self._measured.append(finished)

    def _file(self, measured: Sequence[Finished], now: float) -> None:
        if not self._moves.record_outcomes(now):  # the log is out of order: don't make more that it can't take
            self._let_all_go(measured)
            return
        for name in dict.fromkeys(finished.candidate.source for finished in measured):
            source = self._sources[name]
            with self._touching(name, source.whereabouts):
                group = [finished for finished in measured if finished.candidate.source == name]
                self._file_group(group, source, now)

    def _file_group(self, group: Sequence[Finished], source: ServedSource, now: float) -> None:
        if source.paused_because and not self._can_file(source, now):
            self._let_all_go(group)
            return
        with self._moves.folders() as folders:
            try:
                filed = self._judge_and_move(group, source, folders, now)
            except StalledError as error:
                source.pause(str(error), now)
                filed = []
        self._moves.record_outcomes(now)
        for file in filed:
            self._last_progress_at = now
            self._left_behind.doubts.was_filed(file.intents[0].source_path)
            self._on_filed(file)
        if filed and self._moves.all_recorded:
            source.works_again(now)
        self._let_all_go(group)

    def _judge_and_move(
        self, group: Sequence[Finished], source: ServedSource, folders: Folders, now: float
    ) -> list[JudgedFile]:
        """Decide, record the intents, then move, in this order; give the files whose image has moved."""
        judged = judge(self._without_duplicates(group, source, now), source)
        judged = [file for file in judged if self._left_behind.may_move(file, now)]
        # Before anything moves: whatever is cut off from here on, the next start knows of it.
        with self._metrics.timed("record"):
            recorded = self._audit.record_intents(judged)
        candidates = [file.candidate for file in judged]
        moves = self._moves.carry_out(list(zip(candidates, recorded, strict=True)), folders, now)
        self._moves.look_after(moves, now)
        return [file for file, move in zip(judged, moves, strict=True) if move.moved]

    def _without_duplicates(self, group: Sequence[Finished], source: ServedSource, now: float) -> list[Pair]:
        """Give what is to be judged; what was filed before stays, if it is to, until it changes."""
        pairs = [(finished.candidate, finished.measurement) for finished in group if finished.measurement]
        policy, filed = source.inbox.duplicates, {}
        if policy != "accept":
            filed = self._audit.filed_before([measurement.sha256 for _, measurement in pairs])
        sorted_out = sort_out(pairs, filed, policy)
        for candidate, measurement, place in sorted_out.skipped:
            log.info("skipped, filed before", path=printable(candidate.relative_path), filed_as=place)
            source.inbox.skip(candidate, measurement.identity)
        for candidate in sorted_out.later:
            self._backlog.done(candidate)
            source.inbox.look_again_at(candidate, now)
        return sorted_out.to_judge

    def _let_all_go(self, group: Iterable[Finished]) -> None:
        for finished in group:
            self._let_go(finished.candidate)

    def _let_go(self, candidate: Candidate) -> None:
        """Forget a candidate that is through; one that was set aside stays set aside."""
        if not self._backlog.is_set_aside(candidate):
            self._backlog.done(candidate)


def _left_open_text(left_open: LeftOpen) -> str:
    return f"{printable(left_open.recorded.intent.source_path)}: {left_open.why}"


def _change_since_settled(finished: Finished) -> ChangedError | None:
    """Refuse a state that never lay still; it also means that every later write gets a later time stamp."""
    settled = finished.candidate.settled
    if finished.measurement is None or settled is None or finished.measurement.identity == settled:
        return None
    return ChangedError("changed after it had settled")


def _not_hashed(finished: Finished) -> RetryableError | None:
    """Refuse to file what nobody can prove to be the same afterwards: it is too large to be read."""
    measurement = finished.measurement
    if measurement is None or measurement.sha256:
        return None
    return RetryableError(f"{measurement.issue}: {measurement.detail}; it is not read, and stays here")
