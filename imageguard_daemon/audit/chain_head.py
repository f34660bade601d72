"""The head of the chain, remembered outside the log: what a log alone cannot tell is that it was longer once.

After each commit its last link is written to a small file beside the daemon's lock, before any file moves because of
it. The file may lag behind the log (by what was committed in the seconds before a power cut), and never leads: a log
that lacks the remembered link has lost records.
"""

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from imageguard_daemon.audit.archive.plan import last_anchor
from imageguard_daemon.audit.chain import Head
from imageguard_daemon.audit.database import SqliteStore
from imageguard_daemon.config import STATE_FOLDER
from imageguard_daemon.core.errors import StalledError, UnavailableError
from imageguard_daemon.core.timestamps import seconds_timestamp

MEMORY_FILE = "log-head.json"
_LENGTH = 1_024
"""Always so many bytes in one write: half of a memory is never read."""


class JournalGoneError(UnavailableError):
    """The journal or its index was removed; what it had is still at hand in this process."""


class HeadMemory:
    """Remembers the head of one log; any process that writes to the log may have one."""

    def __init__(self, root: Path, database: Path) -> None:
        self._path = root / STATE_FOLDER / MEMORY_FILE
        # A root that is moved as a whole takes its log along.
        self._log = os.path.relpath(database, root) if database.is_relative_to(root) else str(database)

    def remember(self, sequence: int, link: bytes) -> None:
        """Note the last link; where there is no folder for it, or it cannot be written, the older one stays."""
        at = seconds_timestamp()
        content = json.dumps({"log": os.fsencode(self._log).hex(), "sequence": sequence, "hash": link.hex(), "at": at})
        with suppress(OSError):
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
            try:
                os.pwrite(descriptor, content.ljust(_LENGTH - 1).encode() + b"\n", 0)
            finally:
                os.close(descriptor)

    def head(self) -> Head | None:
        """Give what was remembered of this log; None for nothing, or nothing that can be read."""
        try:
            content = json.loads(self._path.read_bytes())
            if bytes.fromhex(content["log"]) != os.fsencode(self._log):
                return None
            return Head(int(content["sequence"]), bytes.fromhex(content["hash"]), str(content["at"]))
        except (OSError, ValueError, TypeError, KeyError):
            return None


def loss(database: Path, remembered: Head) -> str:
    """Say what a log lacks of what is remembered of it, as the end of a sentence; empty when it lacks nothing.

    Raises:
        UnavailableError: the log is damaged.
        StalledError: it is locked.
    """
    if not remembered.sequence:
        return ""  # it had nothing to lose
    if not database.exists():
        return f"is gone; it had {remembered.sequence:,} records at {remembered.at}"
    if not database.stat().st_size:
        return f"is empty; it had {remembered.sequence:,} records at {remembered.at}"
    last, link = _link_at(database, remembered.sequence)
    if last < remembered.sequence:
        return (
            f"ends with record {last:,}, and had {remembered.sequence:,} at {remembered.at}: an older copy was put "
            f"back, or {database.name}-wal was removed or cut"
        )
    if link not in {None, remembered.hash}:
        return f"is not the one of the last run: record {remembered.sequence:,} is another"
    return ""


def _link_at(database: Path, sequence: int) -> tuple[int, bytes | None]:
    """Give the last link's number, and the hash at another; None for one that is in an archive."""
    with SqliteStore(database) as log, log.reading() as connection:
        if not _has_chain(connection):
            return 0, None
        anchor = last_anchor(connection)
        if anchor.sequence == sequence:
            return sequence, anchor.hash
        last = connection.exec_driver_sql("SELECT max(sequence) FROM chain").scalar() or anchor.sequence
        query = "SELECT hash FROM chain WHERE sequence = ?"
        return last, connection.exec_driver_sql(query, (sequence,)).scalar()


def _has_chain(connection: sa.Connection) -> bool:
    query = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN ('chain', 'archives')"
    return bool(connection.exec_driver_sql(query).scalar() == 2)


@dataclass(frozen=True, slots=True)
class _File:
    """Which file has a name, and how long it is."""

    which: tuple[int, int]
    size_bytes: int


class WatchedFiles:
    """The files a log consists of while it is open: database, journal and the journal's index.

    SQLite goes on with files whose names are gone; what it writes then is seen by nobody and goes with the process.
    """

    def __init__(self, database: Path) -> None:
        self._database = database
        self._paths = [database, *(database.with_name(f"{database.name}-{end}") for end in ("wal", "shm"))]
        self._seen: dict[Path, _File] = {}

    def note(self) -> None:
        """Take what is there for what is ours: just after it was opened."""
        self._seen = {path: file for path in self._paths if (file := _file_at(path)) is not None}

    def require_same(self, remembered: Head | None) -> None:
        """Look at all of them.

        Raises:
            UnavailableError: one was removed, replaced or cut.
        """
        for path in self._paths:
            seen, now = self._seen.get(path), _file_at(path)
            if seen is None:
                if now is not None:  # the journal is made with the first write
                    self._seen[path] = now
            elif now is None or now.which != seen.which:
                kind = UnavailableError if self._is_database_gone() else JournalGoneError
                raise kind(self._message(path, "removed or replaced"))
            elif now != seen:
                if now.size_bytes < seen.size_bytes and remembered and self._lacks(remembered):
                    raise UnavailableError(self._message(path, "cut"))
                self._seen[path] = now

    def _lacks(self, remembered: Head) -> bool:
        """Tell whether the log is not whole for others any more; a journal may be folded in by anybody."""
        try:
            return bool(loss(self._database, remembered))
        except (StalledError, UnavailableError) as error:
            if "locked" in str(error):
                raise
            return True  # what a cut file answers to a reader: input/output error, malformed

    def _is_database_gone(self) -> bool:
        now, seen = _file_at(self._database), self._seen.get(self._database)
        return now is None or seen is None or now.which != seen.which or now.size_bytes < seen.size_bytes

    def _message(self, path: Path, what: str) -> str:
        return (
            f"the audit database {self._database} is no longer what it was: {path.name} was {what} while it was in "
            "use; nothing more is moved. Put it back; the next start says what is missing"
        )


def _file_at(path: Path) -> _File | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return _File((status.st_dev, status.st_ino), status.st_size)
