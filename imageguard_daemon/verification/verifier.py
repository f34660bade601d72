"""Holds a whole log against the folders, one thing after the other; memory does not grow with log or folders.

A root may be reached through links, and the log has the name the daemon was given: one folder goes by several names.
What is true of a file and not yet in the log may be put there: repairing adds records and touches no file.
"""

import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import PurePath

from imageguard_daemon.audit.chain import ORIGIN
from imageguard_daemon.audit.chain_check import ChainCheck
from imageguard_daemon.audit.file_index import FiledFile, FiledFiles, MissingFiles
from imageguard_daemon.audit.writer import AuditWriter
from imageguard_daemon.core.model import Intent, Outcome
from imageguard_daemon.core.names import hidden_for
from imageguard_daemon.core.regular_files import regular_file
from imageguard_daemon.intake.rules.selection import Selection, SkipReason
from imageguard_daemon.intake.scan import InboxEntry, walk
from imageguard_daemon.verification.discrepancies import Discrepancy, Kind

_SPECIAL: dict[Callable[[int], bool], str] = {stat.S_ISDIR: "a folder", stat.S_ISLNK: "a symbolic link"}


def inspect(file: FiledFile, *, quick: bool) -> Discrepancy | None:
    """Say what is wrong with a filed file, or None; `quick` compares only existence and size.

    Looks a second time before it finds fault, in case the file was being put back just then.
    """
    if _look_at(file, quick=quick) is None:
        return None
    wrong = _look_at(file, quick=quick)
    return wrong and Discrepancy(*wrong, path=file.path, record=f"intents {file.intent_id}")


def sha256_of(path: str) -> str:
    """Give the SHA-256 of a file, following no link; OSError when it cannot be read."""
    with regular_file(path) as file:
        return file.sha256()


def _look_at(file: FiledFile, *, quick: bool) -> tuple[Kind, str] | None:
    try:
        return _compare(file, quick=quick)
    except (FileNotFoundError, NotADirectoryError):
        return Kind.missing, f"{file.size_bytes} bytes, SHA-256 {file.sha256}"
    except OSError as error:
        return Kind.unreadable, error.strerror or str(error)


def _compare(file: FiledFile, *, quick: bool) -> tuple[Kind, str] | None:
    status = os.lstat(file.path)
    if not stat.S_ISREG(status.st_mode):
        what = next((word for is_it, word in _SPECIAL.items() if is_it(status.st_mode)), "no ordinary file")
        return Kind.changed, f"{what} is in its place"
    if status.st_size != file.size_bytes:
        return Kind.changed, f"{status.st_size} bytes, recorded {file.size_bytes}"
    if quick:
        return None
    found = sha256_of(file.path)
    return None if found == file.sha256 else (Kind.changed, f"SHA-256 {found}, recorded {file.sha256}")


class LogRepairer:
    """Repairs with a writer; the caller holds the root's lock, so that no daemon is at work."""

    def __init__(self, audit: AuditWriter) -> None:
        self._audit = audit
        self._intents = {recorded.intent_id: recorded.intent for recorded in audit.unfinished()}

    def relocated(self, file: FiledFile, path: str) -> bool:
        """Record where a file now is; its contents have been compared."""
        self._audit.record_relocations([(file.intent_id, path, file.sha256, file.size_bytes)])
        return True

    def unfinished(self, file: FiledFile) -> bool:
        """Record a move that has happened. One whose source is still there is left to the daemon, which removes it."""
        intent = self._intents.get(file.intent_id)
        if (
            intent is None
            or intent.deletes
            or _is_there(file, intent.source_path, intent)
            or inspect(file, quick=False)
        ):
            return False
        self._audit.record_outcomes([Outcome(file.intent_id, "moved", "recorded by verify --repair")])
        return True


def _is_there(file: FiledFile, path: str, intent: Intent) -> bool:
    source = FiledFile(file.intent_id, path, intent.sha256, intent.identity.size_bytes)
    return inspect(source, quick=False) is None


_LOOKED_UP_AT_ONCE = 500
_FINISHED_BY = {
    False: "the daemon finishes this at its next start",
    True: "the next start, or the next release, undo or purge, finishes this",
}
_NO_NAME = re.compile(r"(?!)")
_EVERYTHING = Selection(_NO_NAME, _NO_NAME, frozenset(), (), takes_other_files=True)

Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True, slots=True)
class Verification:
    """What to verify: destination folders (absolute), how, and whether a daemon may be at work meanwhile.

    `reviews_may_run` tells whether a command may be acting on rejected images just then.
    """

    folders: Sequence[str]
    quick: bool = False
    expected_head: bytes | None = None
    daemon_may_run: bool = True
    reviews_may_run: Callable[[], bool] = lambda: False


class Verifier:
    """One verification. Iterate `discrepancies` to its end; then the counts and `head` are complete."""

    def __init__(
        self, check: ChainCheck, filed: FiledFiles, task: Verification, repairer: LogRepairer | None = None
    ) -> None:
        self._chain = check
        self._filed = filed
        self._task = task
        self._repairer = repairer
        self._missing = MissingFiles()
        self._spellings = Spellings(task.folders)
        self.counts: Counter[Kind] = Counter()
        self.left = 0
        self.files = 0

    @property
    def head(self) -> bytes:
        """The hash of the last link."""
        return self._chain.head

    @property
    def links(self) -> int:
        """How many links the chain has."""
        return self._chain.extent.sequence

    def discrepancies(self, progress: Progress = lambda _stage, _done, _total: None) -> Iterator[Discrepancy]:
        """Yield all that is wrong: first in the log, then with filed files, then in the folders."""
        # The log comes first, since all else is compared with it. Filed files come before the folders: what is missing
        # of them is looked for by its contents there, and how folders are spelled is learned from those that are found.
        stages = (self._tampered, self._unfinished, self._not_as_recorded, self._unknown)
        try:
            for stage in stages:
                for discrepancy in stage(progress):
                    self.counts[discrepancy.kind] += 1
                    self.left += not discrepancy.repaired
                    yield discrepancy
        finally:
            self._missing.close()

    def _tampered(self, progress: Progress) -> Iterator[Discrepancy]:
        for fault in self._chain.faults(lambda done: progress("records", done, self.links)):
            yield Discrepancy(Kind.tampered, fault.what, record=fault.record)
        expected = self._task.expected_head
        if expected is not None and expected not in self._chain.met | {ORIGIN}:
            message = f"head {expected.hex()} is not in the chain: the log was rewritten, cut or replaced"
            if self._chain.extent.archives:
                message += f"; or it is of the part archived up to link {self._chain.extent.anchor.sequence:,}"
            yield Discrepancy(Kind.tampered, message, record="chain")

    def _unfinished(self, _progress: Progress) -> Iterator[Discrepancy]:
        for file in self._filed.unfinished(self._chain.extent.newest["intents"]):
            if isinstance(file, int):
                yield _senseless(file)
            elif not self._may_be_at_work_on(file):
                repaired = self._repairer is not None and self._repairer.unfinished(file)
                detail = "recorded now, the file is there" if repaired else _FINISHED_BY[file.of_review]
                yield Discrepancy(Kind.unfinished, detail, file.path, f"intents {file.intent_id}", repaired=repaired)

    def _may_be_at_work_on(self, file: FiledFile) -> bool:
        """A group's outcomes are recorded before the next group: of each kind only the newest can be in work."""
        may_run = self._task.reviews_may_run() if file.of_review else self._task.daemon_may_run
        if may_run and file.intent_id > self._filed.last_with_outcome(of_reviews=file.of_review):
            return True
        # The list of moves was read a while ago: one that has ended since then is not a discrepancy.
        return self._filed.has_outcome(file.intent_id)

    def _not_as_recorded(self, progress: Progress) -> Iterator[Discrepancy]:
        last_id = self._chain.extent.newest["intents"]
        for file in self._filed.moved(last_id):
            if isinstance(file, int):
                yield _senseless(file)
                continue
            self.files += 1
            progress("files", file.intent_id, last_id)
            wrong = inspect(file, quick=self._task.quick)
            # A daemon and reviews may be at work meanwhile: whatever looks wrong is compared with the log of now
            # before anybody hears of it.
            if wrong and self._filed.is_moved_on(file.intent_id):
                continue
            if wrong and wrong.kind is Kind.changed and self._filed.known([file.path], after=file.intent_id):
                wrong = replace(wrong, kind=Kind.missing)  # a later file has taken the place it left
            if wrong and wrong.kind is Kind.missing:
                self._missing.add(file)
            elif wrong:
                yield wrong
            else:
                self._spellings.learn(file.path)

    def _unknown(self, progress: Progress) -> Iterator[Discrepancy]:
        """Look through the folders; what is missing may turn up there."""
        entries = ((folder, entry) for folder in self._task.folders for entry in walk(folder, _EVERYTHING))
        done = 0
        while page := list(islice(entries, _LOOKED_UP_AT_ONCE)):
            done += len(page)
            progress("folders", done, None)
            names = [self._spellings.of(folder, entry.relative_path) for folder, entry in page]
            known = self._filed.known(list(chain(*names)))
            for (path, *others), (_, entry) in zip(names, page, strict=True):
                if known.isdisjoint((path, *others)):
                    yield from self._explain(path, entry)
        for file in self._missing.remaining():
            detail = f"{file.size_bytes} bytes, SHA-256 {file.sha256}"
            yield Discrepancy(Kind.missing, detail, file.path, f"intents {file.intent_id}")

    def _explain(self, path: str, entry: InboxEntry) -> Iterator[Discrepancy]:
        hidden = hidden_for(os.path.basename(path))
        if hidden and not self._filed.has_outcome(hidden[0]):
            return  # of a move that goes on, or is reported as unfinished
        # Looked at after the log: a file that was moved between the walk and the question is in neither place.
        if not os.path.lexists(path):
            return
        if entry.skip_reason is SkipReason.unreadable:
            yield Discrepancy(Kind.unreadable, str(entry.skip_reason), path)
        elif entry.skip_reason is not None:
            yield Discrepancy(Kind.foreign, str(entry.skip_reason), path)
        elif hidden and hidden[1] == "part":  # what was set aside may be the only copy
            yield Discrepancy(Kind.leftover, "", path, f"intents {hidden[0]}")
        else:
            yield self._foreign_or_relocated(path)

    def _foreign_or_relocated(self, path: str) -> Discrepancy:
        try:
            size_bytes = os.lstat(path).st_size
            file = self._missing.take(sha256_of(path), size_bytes) if self._missing.has_size(size_bytes) else None
        except OSError as error:
            return Discrepancy(Kind.foreign, f"cannot be read: {error.strerror}", path)
        if file is None:
            return Discrepancy(Kind.foreign, f"{size_bytes} bytes", path)
        repaired = self._repairer is not None and self._repairer.relocated(file, path)
        detail = "its new place is now recorded" if repaired else "found by its contents"
        return Discrepancy(Kind.relocated, detail, file.path, f"intents {file.intent_id}", path, repaired)


def _senseless(intent_id: int) -> Discrepancy:
    return Discrepancy(Kind.tampered, "the record names no file that could be", record=f"intents {intent_id}")


class Spellings:
    """Learns from recorded paths how else the destination folders are called."""

    def __init__(self, folders: Sequence[str]) -> None:
        self._names = {folder: [folder] for folder in folders}

    def learn(self, path: str) -> None:
        """Take in the path of a file that is there."""
        if any(path.startswith(f"{name}/") for names in self._names.values() for name in names):
            return
        for parent in map(str, PurePath(path).parents):
            for folder, names in self._names.items():
                if _same(parent, folder):
                    names.append(parent)
                    return

    def of(self, folder: str, relative_path: str) -> list[str]:
        """Give every path under which the log may know a file."""
        return [os.path.join(name, relative_path) for name in self._names[folder]]


def _same(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False
