"""Carries out the recorded moves of a group: all held and synced, all published, folders synced once, all proved."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from imageguard_daemon.core.errors import RetryableError
from imageguard_daemon.core.model import Candidate, Outcome, OutcomeKind, RecordedIntent
from imageguard_daemon.filing.folders import Folders, sync_all
from imageguard_daemon.filing.mover import Move, NotPutBackError


@dataclass(slots=True)
class FileMove:
    """The moves one candidate calls for. When its own file stays, the others stay, too."""

    candidate: Candidate
    intents: Sequence[RecordedIntent]
    keeps_sources: bool = False
    """Whether the old files of copies stay, each under a hidden name: nobody knows who may still write to them."""
    outcomes: list[Outcome] = field(default_factory=list)
    error: RetryableError | None = None
    """Why the candidate's own file stayed in the inbox, if it did."""
    held: list[Move] = field(default_factory=list)
    kept: list[tuple[str, RecordedIntent]] = field(default_factory=list)
    """Where old files of copies stayed."""
    _published: list[Move] = field(default_factory=list)

    @property
    def moved(self) -> bool:
        """Whether the candidate's own file has moved; known once it has been proved."""
        return self.error is None

    @property
    def renamed_again(self) -> bool:
        """Whether names changed after the folders were synced."""
        return any(move.renamed_again for move in self._published)

    def moved_files(self) -> list[RecordedIntent]:
        """Give the intents whose files have moved, in their order; known once it has been proved."""
        moved = {outcome.intent_id for outcome in self.outcomes if outcome.outcome == "moved"}
        return [recorded for recorded in self.intents if recorded.intent_id in moved]

    def hold(self, folders: Folders, held: ExitStack) -> None:
        """Get hold of the files, so that nobody writes to them from now on."""
        for recorded in self.intents:
            if self.error is not None:
                self.outcomes.append(Outcome(recorded.intent_id, "abandoned", "its image stayed"))
                continue
            move = held.enter_context(Move(recorded, folders, keeps_source=self.keeps_sources))
            try:
                move.hold()
            except RetryableError as error:
                self._stays(recorded, error)
            else:
                self.held.append(move)

    def publish(self) -> None:
        """Give the files their new names and go on holding them."""
        for move in self.held:
            if self.error is not None:
                self.outcomes.append(Outcome(move.recorded.intent_id, "abandoned", "its image stayed"))
                continue
            try:
                move.publish()
            except RetryableError as error:
                self._stays(move.recorded, error)
            else:
                self._published.append(move)

    def prove(self) -> None:
        """Find out what became of each move; what cannot be proved has been taken back."""
        for move in self._published:
            try:
                if self.error is None:
                    move.confirm()
                elif move.take_back():
                    self.outcomes.append(Outcome(move.recorded.intent_id, "abandoned", "its image stayed"))
                    continue
            except RetryableError as error:
                self._stays(move.recorded, error)
            else:
                self.outcomes.append(Outcome(move.recorded.intent_id, "moved", move.detail))
                if kept_at := move.kept_at:
                    self.kept.append((kept_at, move.recorded))

    def _stays(self, recorded: RecordedIntent, error: RetryableError) -> None:
        kind: OutcomeKind = "disputed" if isinstance(error, NotPutBackError) else "abandoned"
        self.outcomes.append(Outcome(recorded.intent_id, kind, str(error)))
        if recorded.intent.role == self.candidate.role:
            self.error = error


def carry_out(moves: Sequence[FileMove], folders: Folders) -> None:
    """Make all moves; afterwards their outcomes are durable on disk and may be recorded.

    Raises:
        DataError, StorageError: the disk or the folders cannot be trusted; the intents stay open for recovery.
    """
    with ExitStack() as held:
        for move in moves:
            move.hold(folders, held)
        sync_all([file.held for move in moves for file in move.held])  # or a new name could lead to lost bytes
        for move in moves:
            move.publish()
        folders.sync()
        for move in moves:
            move.prove()
        if any(move.renamed_again for move in moves):
            folders.sync()
