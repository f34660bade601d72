"""Carries out recorded moves and sees to what they leave: outcomes into the log, old files of copies, filed files.

An outcome that the log does not take stays here, and nothing new is begun until it has: a log that is out of order must
not be made to lag behind the folders any further.

Sidecars that come after their image has been filed are sent after it, or wait in the inbox until it comes.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import PurePath

from imageguard_daemon.core.errors import RetryableError, StalledError
from imageguard_daemon.core.locks import ActingLock
from imageguard_daemon.core.model import Candidate, Outcome, RecordedIntent
from imageguard_daemon.core.names import printable
from imageguard_daemon.daemon.left_behind import LeftBehind
from imageguard_daemon.daemon.metrics import DaemonMetrics
from imageguard_daemon.daemon.move_group import (
    SIDECAR_BYTES,
    FileMove,
    carry_out,
    is_too_large_for_a_sidecar,
    late_sidecar_intent,
)
from imageguard_daemon.daemon.parts import earliest
from imageguard_daemon.daemon.recovery import Recovery
from imageguard_daemon.daemon.returning import KeptSources, Returning
from imageguard_daemon.daemon.sources import ServedSource, pause_all
from imageguard_daemon.filing.folders import Folders
from imageguard_daemon.filing.mounts import Mounts
from imageguard_daemon.intake.rules.backlog import Backlog
from imageguard_daemon.sandbox.workers import Workers

RECORD_AGAIN_SECONDS = 1.0
"""After so long it is tried again to record what the log would not take."""

LONE_SIDECAR_PAUSE_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Stages:
    """What an image meets on its way."""

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


class Moves:
    """Moves groups of files. One thread only; times are of the monotonic clock.

    `settle_unknown_seconds` is for how long a file of an unknown writer has to have been still to be surely whole.
    """

    def __init__(
        self,
        sources: Mapping[str, ServedSource],
        stages: Stages,
        left_behind: LeftBehind,
        settle_unknown_seconds: float,
    ) -> None:
        self._sources = sources
        self._audit = stages.recovery.audit
        self._metrics = stages.metrics
        self._touching = stages.touching
        self._left_behind = left_behind
        self._settle_unknown_seconds = settle_unknown_seconds
        self._roots = [str(folder) for source in sources.values() for folder in source.settings.folders]
        self._mounts = Mounts(self._roots)
        self._unrecorded: list[Outcome] = []
        came_back = left_behind.doubts.note_came_back
        self._kept_sources = KeptSources(self._audit, self.folders, stages.emptied, came_back)
        self._returning: Returning | None = None
        if stages.acting_lock is not None:
            self._returning = Returning(self._audit, stages.acting_lock, self.folders, came_back=came_back)

    @property
    def all_recorded(self) -> bool:
        """Whether the log has every outcome."""
        return not self._unrecorded

    @property
    def keeps_no_more(self) -> bool:
        """Whether old files of further copies had better not have to be kept."""
        return self._kept_sources.is_full

    def folders(self) -> Folders:
        """Open the folders of all sources."""
        return Folders(self._roots, self._mounts)

    def carry_out(
        self, recorded: Sequence[tuple[Candidate, Sequence[RecordedIntent]]], folders: Folders, now: float
    ) -> list[FileMove]:
        """Move what was recorded; what stays is left behind, and what has moved is looked after from now on."""
        moves = self._planned(recorded, now)
        with self._metrics.timed("move"):
            carry_out(moves, folders)
        for move in moves:
            self._unrecorded += move.outcomes
            for path, intent in move.kept:
                self._kept_sources.remember(path, intent, now)
            if move.error is not None:
                self._left_behind.put_back(move.candidate, move.error, now)
            elif move.intents:
                self._left_behind.let_others_follow(move.intents[0].intent, now)
        return moves

    def look_after(self, moves: Sequence[FileMove], now: float) -> None:
        """Remember the images that were renamed while nobody knew whether somebody still writes to them.

        Of a copy it is the old file that somebody may write to, and which is kept for a while.
        """
        if self._returning is not None:
            for move in moves:
                if move.moved and not move.is_copied and move.candidate.still_since is not None:
                    self._returning.remember(move.moved_files(), now)

    def record_outcomes(self, now: float) -> bool:
        """Record what has become of intents; when the log refuses, keep it, and take nothing new meanwhile."""
        try:
            self._audit.record_outcomes(self._unrecorded)
        except StalledError as error:
            pause_all(self._sources.values(), str(error), now)
            return False
        self._unrecorded = []
        return True

    def step(self, now: float) -> None:
        """Put back what somebody went on writing to, and look at the old files of copies; both write to the log."""
        # An outcome that the log refused comes before all others: what follows would only lengthen what waits for it.
        if self._returning is not None and self.all_recorded:
            with self._touching("", "where files were filed lately"):
                self._unrecorded += self._returning.step(now)
            self.record_outcomes(now)
        if self.all_recorded:
            with self._touching("", "where files were filed from lately"):
                for source in self._sources.values():
                    self._kept_sources.adopt(source.inbox.take_set_aside(), now)
                self._kept_sources.step(now)

    def next_due(self, now: float) -> float | None:
        """Say when `step` is to look again; None when nothing is looked after."""
        if self._unrecorded:
            return now + RECORD_AGAIN_SECONDS
        returning = None if self._returning is None else self._returning.next_due()
        return earliest(self._kept_sources.next_due(), returning)

    def keep_nothing(self) -> int:
        """Look a last time at the old files of copies, when no further look will follow; give how many came back."""
        with self._touching("", "where files were filed from lately"):
            return self._kept_sources.finish()

    def _planned(self, recorded: Sequence[tuple[Candidate, Sequence[RecordedIntent]]], now: float) -> list[FileMove]:
        """Plan the moves; old files of copies are kept where writers are unknown and may only be pausing."""
        moves, files = [], 0
        for candidate, intents in recorded:
            since = candidate.still_since
            is_young = since is not None and now < since + self._settle_unknown_seconds
            # Where many are kept already, only those are whose writers are the likeliest to go on.
            is_kept = is_young or (since is not None and not self._kept_sources.is_full)
            if is_kept:
                files += len(intents)
            keeps_sources = is_kept and self._kept_sources.room_for(files)
            moves.append(FileMove(candidate, intents, keeps_sources))
        return moves


class LateSidecars:
    """Sends sidecars after their images. One thread only; `let_go` forgets a candidate that is through."""

    def __init__(
        self, stages: Stages, moves: Moves, left_behind: LeftBehind, let_go: Callable[[Candidate], None]
    ) -> None:
        self._audit = stages.recovery.audit
        self._places = stages.recovery.places
        self._backlog = stages.backlog
        self._moves = moves
        self._left_behind = left_behind
        self._let_go = let_go

    def follow(self, sidecar: Candidate, source: ServedSource, now: float) -> None:
        """Send a sidecar after its image; one whose image is not known waits in the inbox."""
        if is_too_large_for_a_sidecar(source.path_of(sidecar.relative_path)):
            error = RetryableError(f"larger than a sidecar may be ({SIDECAR_BYTES >> 20} MB)")
            self._left_behind.put_back(sidecar, error, now)
            return
        try:
            why = self._sent(sidecar, source, now)
        except StalledError as error:
            source.pause(str(error), now)
            why = ""
        if why:
            self._backlog.postponed(sidecar, why, now + LONE_SIDECAR_PAUSE_SECONDS)
        else:
            self._let_go(sidecar)

    def _sent(self, sidecar: Candidate, source: ServedSource, now: float) -> str:
        """Move a sidecar to its image; say why it has to wait for that instead, if it has to."""
        for paths, ending in source.inbox.selection.owners_of(sidecar.relative_path):
            filed = self._audit.image_lacking_sidecar(sidecar.source, paths, ending)
            if filed is not None:
                break
        else:
            return "its image has not been filed"
        decision_id, filed_as = filed
        image = self._today(filed_as, sidecar)
        if image is None:
            return f"its image was filed as {printable(filed_as)}, where the configuration has no folder any more"
        intent = late_sidecar_intent(source.path_of(sidecar.relative_path), ending, image)
        if intent is not None:
            recorded = self._audit.record_late_sidecar(decision_id, intent)
            with self._moves.folders() as folders:
                [move] = self._moves.carry_out([(sidecar, [recorded])], folders, now)
            if self._moves.record_outcomes(now) and move.moved:
                source.works_again(now)
        return ""

    def _today(self, image_path: str, sidecar: Candidate) -> str | None:
        """Give where an image is by today's folders; None when it is in none of them."""
        if self._places.has(image_path):
            return image_path
        today = self._places.of_filed(image_path, sidecar.source, len(PurePath(sidecar.relative_path).parts))
        for path in today:
            if self._places.has(path) and os.path.lexists(path):
                return path
        return None
