"""One file checked against its record, and what is true of it and not yet in the log put there.

Repairing adds records and touches no file.
"""

import os
import stat
from collections.abc import Callable

from imageguard_daemon.audit.file_index import FiledFile
from imageguard_daemon.audit.writer import AuditWriter
from imageguard_daemon.core.model import Intent, Outcome
from imageguard_daemon.core.regular_files import regular_file
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
