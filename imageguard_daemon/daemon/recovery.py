"""Finish what a crash left: at the start every intent that can be settled gets its outcome before all else."""

import errno
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import structlog

from imageguard_daemon.audit.writer import AuditWriter
from imageguard_daemon.config import Source
from imageguard_daemon.core.errors import DataError, ElsewhereError, RetryableError
from imageguard_daemon.core.model import FileIdentity, Intent, Outcome, OutcomeKind, RecordedIntent
from imageguard_daemon.core.names import aside_name, printable, temporary_name
from imageguard_daemon.core.regular_files import NotRegularError, Writers, opened, read_lease, regular_file
from imageguard_daemon.filing.folders import Folders, sync
from imageguard_daemon.filing.recorded_paths import Places
from imageguard_daemon.filing.renaming import Name, put_back, set_aside
from imageguard_daemon.filing.rules.recovery_plan import Presence, Repair, repair_for

Place = tuple[int, str, str, int]
"""Where the file of an intent was found: intent id, path, SHA-256, size in bytes."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LeftOpen:
    """An intent that cannot be given its outcome for now, and why."""

    recorded: RecordedIntent
    today: Intent
    why: str


class Recovery:
    """Gives unfinished intents their outcomes, each by itself: one that cannot be settled holds up no other, no start.

    It stays open and is tried again; `left_open` has those, and files they are about are not judged meanwhile: two
    records for one file would come of it. One thread only.
    """

    def __init__(self, audit: AuditWriter, roots: Sequence[str], sources: Mapping[str, Source] | None = None) -> None:
        self.audit = audit
        self.places = Places(sources or {})
        inboxes = [source.inbox for source in (sources or {}).values()]
        self._inboxes = [os.path.join(inbox, "") for inbox in inboxes]
        self._roots = list(roots)
        self._left_open: dict[int, LeftOpen] = {}

    @property
    def left_open(self) -> tuple[LeftOpen, ...]:
        """What could not be settled, oldest first."""
        return tuple(self._left_open.values())

    def settle(self, unfinished: Sequence[RecordedIntent]) -> list[Outcome]:
        """Find out what became of these intents and record it; may be interrupted and run again at any point.

        A move is completed where it had happened. A deletion is never completed: what is still there is kept.

        Raises:
            StalledError: the database cannot be written.
            StorageError: the disk did not keep what was synced.
        """
        if not unfinished:
            return []
        todays = self._todays(unfinished)
        elsewhere = {recorded.intent.destination_path for recorded in unfinished} - {
            intent.destination_path for intent in todays
        }
        outcomes: list[Outcome] = []
        relocated: list[Place] = []
        with Folders([*self._roots, *map(os.path.dirname, elsewhere)]) as folders:
            for recorded, today in zip(unfinished, todays, strict=True):
                try:
                    settled = _Settling(recorded, today, folders, keeps=self._keeps(today)).outcome()
                except (RetryableError, OSError) as error:
                    self._leave_open(LeftOpen(recorded, today, _text_of(error)))
                else:
                    outcomes.append(settled.outcome)
                    relocated += settled.relocations
            folders.sync()  # before the records say that it is so
        self.audit.record_relocations(relocated)  # first: without an outcome all of this is done again
        self.audit.record_outcomes(outcomes)
        for outcome in outcomes:  # not before: while the log takes none, their files go on waiting
            self._left_open.pop(outcome.intent_id, None)
        return outcomes

    def begin(self, unfinished: Sequence[RecordedIntent]) -> list[Outcome]:
        """Settle what an earlier run left, before anything new is looked at.

        Raises:
            DataError: something else lies where a judged file should be. It is recorded; the next start goes on.
            StalledError, StorageError: as `settle` does.
        """
        outcomes = self.settle(unfinished)
        disputed = [outcome for outcome in outcomes if outcome.outcome == "disputed"]
        if disputed:
            raise DataError(
                "after an interruption, another file lies where a judged one was to go; look at it, then start again:\n"
                + "\n".join(f"  {printable(outcome.detail)}" for outcome in disputed)
            )
        return outcomes

    def settle_again(self) -> list[Outcome]:
        """Try once more what was left open."""
        return self.settle([left.recorded for left in self.left_open])

    def holds_up(self, path: str) -> str:
        """Say why a file of the inbox must not be judged now: its last move is not settled; empty when it may be.

        Raises StalledError and StorageError as `settle` does.
        """
        concerned = [
            left.recorded
            for left in self.left_open
            if path in {left.today.source_path, left.recorded.intent.source_path}
        ]
        self.settle(concerned)
        for recorded in concerned:
            left = self._left_open.get(recorded.intent_id)
            if left is not None:
                return f"an earlier move of it is not settled: {left.why}"
        return ""

    def _todays(self, unfinished: Sequence[RecordedIntent]) -> list[Intent]:
        """Give the intents with the paths their files have today."""
        elsewhere = [
            recorded.intent_id
            for recorded in unfinished
            if not all(self._in_force(path) for path in _ends(recorded.intent) if path)
        ]
        origins = self.audit.origins(elsewhere) if elsewhere else {}
        return [
            self.places.today(recorded.intent, origins[recorded.intent_id])
            if recorded.intent_id in origins
            else recorded.intent
            for recorded in unfinished
        ]

    def _keeps(self, today: Intent) -> bool:
        """Tell whether an old file that may be written to may stay under a hidden name: the walks find it there."""
        return any(today.source_path.startswith(inbox) for inbox in self._inboxes)

    def _in_force(self, path: str) -> bool:
        return any(path.startswith(os.path.join(root, "")) for root in self._roots)

    def _leave_open(self, left: LeftOpen) -> None:
        earlier = self._left_open.get(left.recorded.intent_id)
        self._left_open[left.recorded.intent_id] = left
        if earlier is None or earlier.why != left.why:
            intent = left.recorded.intent
            path, destination = printable(intent.source_path), printable(intent.destination_path)
            log.error("left unfinished", path=path, destination=destination, why=left.why)


def _ends(intent: Intent) -> tuple[str, str]:
    return intent.source_path, intent.destination_path


def _text_of(error: RetryableError | OSError) -> str:
    if isinstance(error, OSError):
        name = printable(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else ""
        return f"{name}: {error.strerror}" if name else str(error.strerror or error)
    return str(error)


@dataclass(frozen=True, slots=True)
class _Settled:
    """An outcome, and where the file is when that is not where the intent says."""

    outcome: Outcome
    relocations: Sequence[Place] = ()


class _Settling:
    """One intent, as it was recorded and with the paths of today."""

    def __init__(self, recorded: RecordedIntent, today: Intent, folders: Folders, *, keeps: bool) -> None:
        self._id = recorded.intent_id
        self._written, self._today = recorded.intent, today
        self._folders = folders
        self._keeps = keeps

    def outcome(self) -> _Settled:
        """Bring both ends into order and say what became of the file.

        Raises:
            RetryableError, OSError: an end cannot be looked at, or is not where the log says; the intent stays open.
        """
        if self._written.deletes:
            return self._keep_undeleted()
        if self._today != self._written and self._is_at_old_place():
            self._today = replace(self._today, destination_path=self._written.destination_path)
        recorded, intent = RecordedIntent(self._id, self._today), self._today
        # First what the move itself has left: half a copy, and the old file under its hidden name, which may go back.
        _remove_temporary(recorded, self._folders)
        _settle_aside(recorded, self._folders, keeps=self._keeps)
        # Before it is looked at, which may take long: a file that comes to bear the name meanwhile is not removed.
        source_before = _identity(intent.source_path, self._folders)
        source = _at_source(intent.source_path, intent, self._folders)
        repair = repair_for(source, _presence(intent.destination_path, intent, self._folders))
        if repair.outcome in {"lost", "disputed"}:
            self._require_known_place(intent.source_path)
        if repair.remove_source:
            _complete_move(recorded, source_before, self._folders, keeps=self._keeps)
        return self._reported(repair)

    def _is_at_old_place(self) -> bool:
        """Tell whether the file was moved to a folder that the configuration has had, and is still there."""
        try:
            os.stat(os.path.dirname(self._written.destination_path))
        except (FileNotFoundError, NotADirectoryError):
            return False
        return _presence(self._written.destination_path, self._written, self._folders) is Presence.same

    def _require_known_place(self, path: str) -> None:
        """Conclude nothing from a file that is not where it would be today: nobody has said where it went."""
        if self._today != self._written:
            raise ElsewhereError(f"not found where it was recorded, nor at {printable(path)}")

    def _keep_undeleted(self) -> _Settled:
        path, intent = self._today.source_path, self._today
        try:
            at = self._folders.name_of(path)
            with suppress(FileNotFoundError):
                put_back(Name(at.folder, aside_name(self._id)), at, intent.sha256)
            gone = _presence(path, intent, self._folders) is Presence.absent
        except (FileNotFoundError, NotADirectoryError):
            gone = True
        if gone:
            self._require_known_place(path)
        outcome: OutcomeKind = "purged" if gone else "abandoned"
        detail = "recorded after an interruption" if gone else "interrupted before it was deleted"
        log.info("recovered", path=printable(path), outcome=outcome, detail=detail)
        return _Settled(Outcome(self._id, outcome, detail))

    def _reported(self, repair: Repair) -> _Settled:
        path = self._today.destination_path
        write = log.error if repair.outcome in {"lost", "disputed"} else log.info
        write("recovered", path=printable(path), outcome=repair.outcome, detail=repair.detail)
        outcome = Outcome(self._id, repair.outcome, f"{repair.detail}: {path}")
        if repair.outcome != "moved" or path == self._written.destination_path:
            return _Settled(outcome)
        place = (self._id, path, self._written.sha256, self._written.identity.size_bytes)
        return _Settled(outcome, [place])


def _complete_move(
    recorded: RecordedIntent, source_before: FileIdentity | None, folders: Folders, *, keeps: bool
) -> None:
    """Drop the old name once the new one is durable, unless another file has come to bear it meanwhile."""
    intent = recorded.intent
    sync(folders.descriptor(os.path.dirname(intent.destination_path)), intent.destination_path)
    if _identity(intent.source_path, folders) == source_before:
        at = folders.name_of(intent.source_path)
        if keeps and _may_be_written(at):
            with suppress(FileExistsError):  # it is aside already: what bears the name is a new upload
                set_aside(*at, aside_name(recorded.intent_id))
        else:
            os.unlink(at.called, dir_fd=at.folder)


def _may_be_written(name: Name) -> bool:
    """Tell whether an old file has a writer that nobody knows of: then it keeps a hidden name, and is looked after."""
    with opened(name.called, name.folder) as descriptor, read_lease(descriptor) as writers:
        return writers is Writers.unknown and os.fstat(descriptor).st_nlink == 1


def _identity(path: str, folders: Folders) -> FileIdentity | None:
    try:
        at = folders.name_of(path)
        status = os.stat(at.called, dir_fd=at.folder, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return FileIdentity.from_stat(status)


def _remove_temporary(recorded: RecordedIntent, folders: Folders) -> None:
    with suppress(FileNotFoundError, NotADirectoryError):
        folder = folders.descriptor(os.path.dirname(recorded.intent.destination_path))
        os.unlink(temporary_name(recorded.intent_id), dir_fd=folder)


def _settle_aside(recorded: RecordedIntent, folders: Folders, *, keeps: bool) -> None:
    """Drop the hidden source of a copy that is complete; give any other its name back, and with it another look."""
    intent = recorded.intent
    path = os.path.join(os.path.dirname(intent.source_path), aside_name(recorded.intent_id))
    presence, status = _at_source(path, intent, folders), _identity(path, folders)
    if presence is Presence.absent or status is None:
        return
    hidden = folders.name_of(path)
    is_published = _presence(intent.destination_path, intent, folders) is Presence.same
    if is_published and presence is Presence.same:
        # The copy first: until its name is durable, the hidden file is the only one that a power cut leaves.
        sync(folders.descriptor(os.path.dirname(intent.destination_path)), intent.destination_path)
        if not (keeps and _may_be_written(hidden)):
            os.unlink(hidden.called, dir_fd=hidden.folder)
    elif presence is Presence.other and status.size_bytes == 0:  # what only kept the name
        os.unlink(hidden.called, dir_fd=hidden.folder)
    else:
        put_back(hidden, folders.name_of(intent.source_path), intent.sha256)


def _at_source(path: str, intent: Intent, folders: Folders) -> Presence:
    """Look at a file of the inbox: one that is being written is a new upload, whatever it still contains."""
    presence = _presence(path, intent, folders)
    if presence is not Presence.same:
        return presence
    at = folders.name_of(path)
    with opened(at.called, at.folder) as descriptor, read_lease(descriptor) as writers:
        return Presence.other if writers is Writers.some else presence


def _presence(path: str, intent: Intent, folders: Folders) -> Presence:
    try:
        at = folders.name_of(path)
        with regular_file(at.called, at.folder) as file:
            is_judged = file.status.st_size == intent.identity.size_bytes and file.sha256() == intent.sha256
            return Presence.same if is_judged else Presence.other
    except (FileNotFoundError, NotADirectoryError):
        return Presence.absent
    except NotRegularError:
        return Presence.other
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENXIO}:  # a link, a socket: not what was judged
            return Presence.other
        raise
