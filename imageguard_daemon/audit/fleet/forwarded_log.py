"""A log as its forwarder sees it: links with their rows, which log it is, and how far the fleet has confirmed it.

What is confirmed is noted in the log itself, for whoever archives: rows leave it only when the fleet has them. How far
the fleet really is, its database says; this note may lag behind it and is never ahead of what it has kept.
"""

import json
import sqlite3
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from imageguard_daemon.audit.archive.plan import Anchor, last_anchor
from imageguard_daemon.audit.chain import Linked, linked_rows
from imageguard_daemon.audit.database import BUSY_TIMEOUT_MS
from imageguard_daemon.audit.opening import open_log_for_checking, which_file
from imageguard_daemon.audit.schema import CHAINED, MOMENTS, forwarding
from imageguard_daemon.core.errors import StalledError, UnavailableError
from imageguard_daemon.core.model import MAX_INT64
from imageguard_daemon.core.timestamps import parse_timestamp, timestamp, utc_now


@dataclass(frozen=True, slots=True)
class LogIdentity:
    """Which log this is: a name given by chance when its table was made; for a branch, of what and where."""

    uuid: str
    parent_uuid: str | None = None
    fork_sequence: int = 0
    fork_ids: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LogExtent:
    """How far a log reaches: what was archived, and the last link."""

    anchor: Anchor
    sequence: int


def as_hash(value: object) -> bytes:
    """Give a link's hash; of one that somebody has tampered with, something that stays the same."""
    return value if isinstance(value, bytes) else repr(value).encode("utf-8", "replace")


class ForwardedLog:
    """Reads a log for forwarding, and notes in it what was confirmed. One thread only.

    Raises:
        NoInputError: there is none.
        UnavailableError: it is of another version, or damaged.
    """

    def __init__(self, database: Path) -> None:
        self._database = database
        self._log = open_log_for_checking(database)
        self._file = which_file(database)
        with self._log.reading() as connection:
            query = "SELECT 1 FROM sqlite_master WHERE name = 'forwarding'"
            if connection.exec_driver_sql(query).first() is None:
                raise UnavailableError(
                    f"the audit database {database} was made by an older version; start the daemon once: "
                    "it brings it up to date"
                )

    def close(self) -> None:
        """Let go of the log."""
        self._log.close()

    def was_replaced(self) -> bool:
        """Tell whether another file has its name now, and go on with that one."""
        now = which_file(self._database)
        if now == self._file:
            return False
        self._log.close()
        self._log = open_log_for_checking(self._database)
        self._file = now
        return True

    def identity(self) -> LogIdentity:
        """Say which log this is."""
        with self._log.reading() as connection:
            row = connection.execute(sa.select(forwarding)).one()
        return LogIdentity(row.log_uuid, row.parent_uuid, row.fork_sequence or 0, row.fork_ids or {})

    def extent(self) -> LogExtent:
        """Say how far it reaches now."""
        with self._log.reading() as connection:
            anchor = last_anchor(connection)
            last = connection.exec_driver_sql("SELECT max(sequence) FROM chain").scalar()
        return LogExtent(anchor, anchor.sequence if last is None else last)

    def hash_at(self, sequence: int) -> bytes | None:
        """Give the hash of a link; None for one that is not there."""
        with self._log.reading() as connection:
            query = "SELECT hash FROM chain WHERE sequence = ?"
            row = connection.exec_driver_sql(query, (sequence,)).first()
        return None if row is None else as_hash(row.hash)

    def last_ids_at(self, sequence: int) -> dict[str, int]:
        """Give the last id that each table had at a link."""
        query = "SELECT record_table, max(record_id) FROM chain WHERE sequence <= ? GROUP BY record_table"
        with self._log.reading() as connection:
            anchor = last_anchor(connection)
            last_ids: dict[str, Any] = {row[0]: row[1] for row in connection.exec_driver_sql(query, (sequence,))}
        if sequence < anchor.sequence:
            return dict.fromkeys(CHAINED, 0)
        return {table: max(anchor.last_ids[table], last_ids.get(table, 0)) for table in CHAINED}

    def links_after(self, sequence: int, most: int) -> list[Linked]:
        """Give the next links with their rows."""
        with self._log.reading() as connection:
            return linked_rows(connection, sequence, MAX_INT64, most)

    def waiting(self) -> tuple[int, datetime | None]:
        """Say how many records were not confirmed yet, and when the first of them was made."""
        with self._log.reading() as connection:
            confirmed = connection.scalar(sa.select(forwarding.c.sequence)) or 0
        behind = max(0, self.extent().sequence - confirmed)
        return behind, self.recorded_at(confirmed + 1) if behind else None

    def recorded_at(self, sequence: int) -> datetime | None:
        """Say when the record of a link was made, by the clock of its time; None where that cannot be said."""
        with self._log.reading() as connection:
            links = linked_rows(connection, sequence - 1, sequence, 1)
        link, row = links[0] if links else ({}, None)
        text = (row or {}).get(MOMENTS.get(link.get("record_table", ""), ""))
        try:
            return parse_timestamp(text) if isinstance(text, str) else None
        except ValueError:
            return None

    def confirm(self, sequence: int) -> None:
        """Note up to which link the fleet has the log.

        Need not survive a power cut: then fewer are noted than there are.

        Raises:
            StalledError: the log is locked, or its disk full.
        """
        now = timestamp(utc_now())
        self._write("UPDATE forwarding SET sequence = ?, confirmed_at = ?", (sequence, now), "NORMAL")

    def fork(self, sequence: int) -> LogIdentity:
        """Make this log a branch of the one that it was: up to this link they are the same."""
        old = self.identity()
        new = LogIdentity(str(uuid.uuid4()), old.uuid, sequence, self.last_ids_at(sequence))
        values = (new.uuid, new.parent_uuid, new.fork_sequence, json.dumps(new.fork_ids), sequence)
        statement = (
            "UPDATE forwarding SET log_uuid = ?, parent_uuid = ?, fork_sequence = ?, fork_ids = ?, sequence = ?, "
            "confirmed_at = NULL"
        )
        self._write(statement, values, "FULL")
        return new

    def _write(self, statement: str, values: tuple[object, ...], synchronous: str) -> None:
        try:
            connection = sqlite3.connect(self._database, timeout=BUSY_TIMEOUT_MS / 1000, isolation_level=None)
            try:
                connection.execute(f"PRAGMA synchronous={synchronous}")
                connection.execute(statement, values)
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise StalledError(f"audit database {self._database}: {error}") from error
