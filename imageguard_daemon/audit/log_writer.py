"""Adds to the audit log: durable transactions that extend the hash chain, on a log that lacks nothing it had.

Several processes may have a writer: each transaction takes SQLite's write lock before it reads anything, and finds the
head of the hash chain again (docs/decisions/0008-acting-beside-a-daemon.md).

What a log alone cannot tell is that it was longer once. After each commit its last link is written to a small file
beside the daemon's lock, before any file moves because of it. That file may lag behind the log (by what was committed
in the seconds before a power cut), and never leads: a log that lacks the remembered link has lost records.
"""

import ctypes
import json
import os
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from imageguard_daemon.audit import chain
from imageguard_daemon.audit.archive.plan import last_anchor
from imageguard_daemon.audit.chain import Head
from imageguard_daemon.audit.database import SqliteStore, open_for_writing, require_permission, translated_errors
from imageguard_daemon.audit.schema import alert_attempts, alert_records
from imageguard_daemon.config import STATE_FOLDER
from imageguard_daemon.core.errors import DataError, StalledError, UnavailableError
from imageguard_daemon.core.names import printable
from imageguard_daemon.core.timestamps import seconds_timestamp, timestamp, utc_now

MEMORY_FILE = "log-head.json"
_LENGTH = 1_024
"""Always so many bytes in one write: half of a memory is never read."""


class LogWriter:
    """Owns the only writing connection of its process. One thread only.

    A transaction costs two to ten milliseconds, most of it waiting for the disk, whether it is about one file or a
    hundred; a file in it costs a tenth of one. Whoever adds to these transactions adds one statement for the group, not
    one for each file; `tests/unit/daemon/test_counts.py` counts them.

    Every method of a writer that records is one durable transaction: when it returned, its rows survive a power cut;
    when it raised, none of them is there. All raise StalledError when the database is locked or its disk full.
    """

    def __init__(
        self,
        database: Path,
        root: Path,
        now: Callable[[], datetime] = utc_now,
        on_progress: Callable[[], None] = lambda: None,
        *,
        upgrade: bool = True,
    ) -> None:
        self._database = database
        self._root = root
        self._now = now
        self._host = socket.gethostname()
        self._memory = HeadMemory(root, database)
        # Both before it is opened: SQLite would begin a log that is not there, and fold in a journal that may be cut.
        require_permission(database)
        self._require_remembered()
        self._engine = open_for_writing(database, on_progress, upgrade=upgrade)
        self._files = WatchedFiles(database)
        self._files.note()
        self._head = self._newest_head()
        self._is_abandoned = False

    def close(self) -> None:
        """Fold the WAL into the database file and let go of it."""
        if not self._is_abandoned:
            self._engine.dispose()

    @contextmanager
    def transaction(self, *tables: sa.Table) -> Iterator[sa.Connection]:
        """Add rows to these tables, and their links, durably at once; rows added by others get no links from us.

        For this package alone: nobody else speaks SQL.
        """
        self.require_same_files()
        with translated_errors(self._database), self._engine.begin() as connection:
            # Under the write lock from here on: nobody else's rows get between ours and their links.
            before = chain.newest_ids(connection, [table.name for table in tables])
            yield connection
            head = chain.extend(connection, before)
        # After the commit, or the memory could lead the log; before the caller moves a file, or a log that is put back
        # from a backup would not be missed.
        self._memory.remember(head)
        self._head = head

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Look something up on the connection that writes; for this package alone: nobody else speaks SQL."""
        with translated_errors(self._database), self._engine.connect() as connection:
            yield connection

    def require_same_files(self) -> None:
        """Notice that the log was deleted, replaced or cut under us: what is written would be seen by nobody.

        Raises:
            UnavailableError: what was in the journal alone is in the database by now, where that can still be done.
        """
        if self._is_abandoned:
            raise UnavailableError(f"the audit database {self._database} was given up")
        try:
            self._files.require_same(self._head)
        except UnavailableError as error:
            self._give_up(fold=isinstance(error, JournalGoneError))
            raise

    def _give_up(self, *, fold: bool) -> None:
        """Never close the log: SQLite would put what is left of a cut journal into it, and remove another's."""
        self._is_abandoned = True
        raw = self._engine.raw_connection()
        connection = raw.driver_connection
        if fold and connection is not None:
            with suppress(sqlite3.Error):
                connection.execute("PRAGMA wal_checkpoint(FULL)")
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))  # or the end of the process would close it

    def _require_remembered(self) -> None:
        """Refuse a log that lacks what it had when it was last written to.

        Raises:
            DataError: with what it lacks, and what to do.
        """
        remembered = self._memory.head()
        lack = loss(self._database, remembered) if remembered else ""
        if lack:
            raise DataError(
                f"the audit database {self._database} {lack}. Put the right one back. If what it lacks is lost for "
                "good, say so with `imageguard-daemon audit accept`: that is recorded, and the log goes on without it"
            )

    def _newest_head(self) -> Head:
        with self.reading() as connection:
            head = chain.head(connection)
        if self._is_to_be_remembered():
            self._memory.remember(head)
        return head

    def _is_to_be_remembered(self) -> bool:
        """Tell whether the log as it was opened is the one to go on with."""
        return True


class AcceptingWriter(LogWriter):
    """Opens a log whatever is remembered of it, and begins one where there is none; `lack` says what it lacks."""

    lack = ""

    def _require_remembered(self) -> None:
        self._remembered = self._memory.head()
        self.lack = loss(self._database, self._remembered) if self._remembered else ""

    def _is_to_be_remembered(self) -> bool:
        return not self.lack  # until it is recorded that a person accepted it

    def accept(self, who: str, why: str) -> None:
        """Record that a person accepts the loss, beside the alerts sent; from then on this log is the one."""
        if not self.lack or self._remembered is None:
            return
        now = timestamp(utc_now())
        evidence = {
            "who": printable(who),
            "why": printable(why),
            "had": self._remembered.sequence,
            "hash": self._remembered.hash.hex(),
        }
        row = {
            "found_at": now,
            "kind": "log_loss_accepted",
            "subject": printable(str(self._database)),
            "message": f"the log {self.lack}; {printable(who)} accepted that: {printable(why)}".rstrip(": "),
            "evidence": evidence,
            "channel": "audit accept",
        }
        with self.transaction(alert_records, alert_attempts) as connection:
            alert_id = new_id(connection.execute(alert_records.insert(), row))
            attempt = {"alert_id": alert_id, "attempted_at": now, "succeeded": 1, "detail": "recorded by a person"}
            connection.execute(alert_attempts.insert(), attempt)
        self.lack = ""


def new_id(result: sa.CursorResult[Any]) -> int:
    """Give the id of the row just inserted."""
    (new_id,) = result.inserted_primary_key or (0,)
    return int(new_id)


class JournalGoneError(UnavailableError):
    """The journal or its index was removed; what it had is still at hand in this process."""


class HeadMemory:
    """Remembers the head of one log; any process that writes to the log may have one."""

    def __init__(self, root: Path, database: Path) -> None:
        self._path = root / STATE_FOLDER / MEMORY_FILE
        # A root that is moved as a whole takes its log along.
        self._log = os.path.relpath(database, root) if database.is_relative_to(root) else str(database)

    def remember(self, head: Head) -> None:
        """Note the last link; where there is no folder for it, or it cannot be written, the older one stays."""
        values = {
            "log": os.fsencode(self._log).hex(),
            "sequence": head.sequence,
            "hash": head.hash.hex(),
            "at": seconds_timestamp(),
        }
        content = json.dumps(values)
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
        now = _file_at(self._database)
        seen = self._seen.get(self._database)
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
