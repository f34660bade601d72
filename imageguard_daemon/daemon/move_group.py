"""A group of files on its way: decided on and planned together, then moved together.

All are held and synced, all published, their folders synced once, and all proved. What is planned is recorded in
between, by whoever has the log.
"""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import NamedTuple, Self

from imageguard_daemon.core.errors import RetryableError
from imageguard_daemon.core.model import (
    Candidate,
    Decision,
    FileIdentity,
    Intent,
    JudgedFile,
    Measurement,
    Outcome,
    OutcomeKind,
    RecordedIntent,
)
from imageguard_daemon.core.names import sidecar_ending
from imageguard_daemon.core.regular_files import is_there, regular_file
from imageguard_daemon.daemon.sources import ServedSource
from imageguard_daemon.filing.folders import Folders, sync_all
from imageguard_daemon.filing.mover import Move, NotPutBackError
from imageguard_daemon.filing.rules import destinations
from imageguard_daemon.quality.policy import decide_on_file

SIDECAR_BYTES = 16 << 20
"""The loop itself reads sidecars, so their size is bounded."""


def judge(group: Sequence[tuple[Candidate, Measurement]], source: ServedSource) -> list[JudgedFile]:
    """Decide on a group of one source's files and plan their moves; no two get the same destination."""
    reserved: set[str] = set()
    judged = []
    for candidate, measurement in group:
        decision = decide_on_file(candidate.relative_path, measurement, source.settings.preset, source.thresholds)
        intents = _intents(candidate, measurement, source, _Target(source, decision, reserved))
        reserved.update(intent.destination_path for intent in intents)
        class_name = destinations.class_of(candidate.relative_path, source.settings.class_from)
        judged.append(JudgedFile(candidate, class_name, measurement, decision, tuple(intents)))
    return judged


def late_sidecar_intent(path: str, ending: str, image_path: str) -> Intent | None:
    """Plan the move of a sidecar to the image that went before it; None when the sidecar is gone."""
    contents = contents_of(path, SIDECAR_BYTES)
    if contents is None:
        return None
    sha256, identity = contents
    wanted = destinations.renamed_like(ending, image_path)
    destination = destinations.free_path(wanted, (), sha256, os.path.lexists)
    return Intent("sidecar", path, destination, sha256, identity)


def contents_of(path: str, most_bytes: int) -> tuple[str, FileIdentity] | None:
    """Give SHA-256 and identity of a regular file; None when there is none, it cannot be read, or it is larger."""
    try:
        with regular_file(path) as file:
            return None if file.status.st_size > most_bytes else (file.sha256(), file.identity)
    except OSError:
        return None


def is_too_large_for_a_sidecar(path: str) -> bool:
    """Tell whether a file is larger than what is read of a sidecar, or claims to be."""
    try:
        return os.lstat(path).st_size > SIDECAR_BYTES
    except OSError:
        return False


class _Target:
    """The folder a decision sends files to, and which names in it are taken or promised."""

    def __init__(self, source: ServedSource, decision: Decision, reserved: set[str]) -> None:
        self._root = str(source.settings.accepted if decision.ok else source.settings.quarantine)
        self._reserved = reserved

    def path(self, relative_path: str) -> str:
        return os.path.join(self._root, relative_path)

    def taken(self, relative_path: str) -> bool:
        path = self.path(relative_path)
        return path in self._reserved or os.path.lexists(path)


def _intents(candidate: Candidate, measurement: Measurement, source: ServedSource, target: _Target) -> list[Intent]:
    if measurement.identity is None:
        raise ValueError("a measurement of a file in the inbox has an identity")
    sidecars = _sidecars(candidate, source)
    relative_path = destinations.free_path(candidate.relative_path, tuple(sidecars), measurement.sha256, target.taken)
    image = Intent(
        "image",
        source.path_of(candidate.relative_path),
        target.path(relative_path),
        measurement.sha256,
        measurement.identity,
    )
    intents = [image]
    for ending, sidecar in sidecars.items():
        destination = target.path(destinations.renamed_like(ending, relative_path))
        intents.append(Intent("sidecar", sidecar.path, destination, sidecar.sha256, sidecar.identity))
    return intents


class _Sidecar(NamedTuple):
    path: str
    sha256: str
    identity: FileIdentity

    def may_be(self, other: Self) -> bool:
        """Tell whether both may be one file."""
        is_alike = self.path.lower() == other.path.lower() and self.sha256 == other.sha256
        return is_alike and self.identity.looks_like(other.identity)


def _sidecars(candidate: Candidate, source: ServedSource) -> dict[str, _Sidecar]:
    """Find the sidecars beside an image, by what each has after its stem.

    Of two names that differ by case alone, and may be one file on SMB or a card, the other is left: if it is a file of
    its own, it follows its image as a late one.
    """
    sidecars: dict[str, _Sidecar] = {}
    for relative_path in source.inbox.selection.sidecars_of(candidate.relative_path):
        path = source.path_of(relative_path)
        if not is_there(path):  # the rule, a dozen times for each image
            continue
        contents = contents_of(path, SIDECAR_BYTES)
        if contents is None:
            continue
        sidecar = _Sidecar(path, *contents)
        if not any(sidecar.may_be(other) for other in sidecars.values()):
            sidecars[sidecar_ending(relative_path, candidate.relative_path)] = sidecar
    return sidecars


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
    def is_copied(self) -> bool:
        """Whether the candidate's own file was copied: a device does not tell, as a union has several disks."""
        return any(move.is_copied and move.recorded.intent.role == self.candidate.role for move in self._published)

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
        # The leases of all are held from before the first old name goes until the folders of all are synced: whoever
        # had opened a file by its old name has met its lease by the time that it is proved.
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
