"""Adds to the audit log: durable transactions that extend the hash chain, on a log that lacks nothing it had.

Several processes may have a writer: each transaction takes SQLite's write lock before it reads anything, and finds the
head of the hash chain again (docs/decisions/0008-acting-beside-a-daemon.md).
"""

import ctypes
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from imageguard_daemon.audit import chain
from imageguard_daemon.audit.chain_head import HeadMemory, JournalGoneError, WatchedFiles, loss
from imageguard_daemon.audit.database import open_for_writing, require_permission, translated_errors
from imageguard_daemon.audit.schema import alert_attempts, alert_records
from imageguard_daemon.core.errors import DataError, UnavailableError
from imageguard_daemon.core.names import printable
from imageguard_daemon.core.timestamps import timestamp, utc_now

KIND, CHANNEL = "log_loss_accepted", "audit accept"


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
        self._memory.remember(*head)  # after the commit, and before anything moves because of it
        self._head = chain.Head(*head)

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

    def _newest_head(self) -> chain.Head:
        with self.reading() as connection:
            sequence, link = chain.head(connection)
        if self._is_to_be_remembered():
            self._memory.remember(sequence, link)
        return chain.Head(sequence, link)

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
        evidence = {"who": printable(who), "why": printable(why), "had": self._remembered.sequence}
        evidence["hash"] = self._remembered.hash.hex()
        row = {
            "found_at": now,
            "kind": KIND,
            "subject": printable(str(self._database)),
            "message": f"the log {self.lack}; {printable(who)} accepted that: {printable(why)}".rstrip(": "),
            "evidence": evidence,
            "channel": CHANNEL,
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
