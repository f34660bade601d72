"""What files were measured as, so that no file is measured twice: a cache that may be deleted at any time, no record.

A file is known by its identity: device, inode, size and both times. A renamed or rewritten file is another one, and
is measured again; a changed file is never taken for the old one.
"""

import json
import sqlite3
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

from imageguard_daemon.audit.write_obstacles import hindrance
from imageguard_daemon.core.errors import UnavailableError, UsageError, unwritable
from imageguard_daemon.core.model import FileIdentity, Measurement, Measures
from imageguard_daemon.core.names import printable

_APPLICATION = 0x494D4753
"""Marks a SQLite file as ours, so that no other database is ever emptied."""
_COMMIT_SECONDS = 1.0
_COMMIT_ROWS = 100
_BUSY_SECONDS = 30.0
_FORM = f"1 {' '.join(field.name for field in fields(Measures))}"


class MeasuredFiles:
    """A file of measurements. One thread only, but several processes may share it.

    What is added is durable within about a second: a killed process loses no more than that. `version` says what
    measurements depend on beside the files; those of another version are forgotten. Who opens the file with another
    one has it from then on: an earlier holder finds nothing there any more, and can add nothing.
    """

    def __init__(self, path: Path, version: str, now: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._version = f"{_FORM} {version}"
        self._now = now
        self._added = 0
        self._committed_at = now()
        with self._errors_in_words():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
            self._prepare()

    def __len__(self) -> int:
        return int(self._connection.execute("SELECT count(*) FROM measured").fetchone()[0])

    def find(self, identity: FileIdentity) -> Measurement | None:
        """Give what a file in this state was measured as, or None.

        Raises:
            UnavailableError: the file is damaged.
        """
        query = "SELECT content FROM measured WHERE identity = ? AND (SELECT version FROM about) = ?"
        with self._errors_in_words():
            row = self._connection.execute(query, (_key(identity), self._version)).fetchone()
        return None if row is None else _measurement(row[0], identity)

    def add(self, measurement: Measurement) -> None:
        """Keep a measurement of a file whose identity it has.

        Raises:
            UnavailableError: the disk is full, the file is locked or damaged, or another version has it now.
        """
        if measurement.identity is None:
            raise ValueError("only measurements of files can be kept")
        values = (_key(measurement.identity), _content(measurement))
        with self._errors_in_words():
            if not self._connection.in_transaction:
                self._begin()
            self._connection.execute("INSERT OR REPLACE INTO measured VALUES (?, ?)", values)
            self._added += 1
            if self._added >= _COMMIT_ROWS or self._now() - self._committed_at >= _COMMIT_SECONDS:
                self.commit()

    def _begin(self) -> None:
        """Begin to write: until the commit nobody else does, so the version stays what it is found to be here."""
        self._connection.execute("BEGIN IMMEDIATE")
        if self._is_mine():
            return
        self._connection.execute("ROLLBACK")
        raise UnavailableError(
            f"another run with another readout, version or other limits has taken {printable(str(self._path))} "
            "meanwhile; give each a file of its own"
        )

    def _is_mine(self) -> bool:
        return self._connection.execute("SELECT version FROM about").fetchall() == [(self._version,)]

    def forget(self) -> None:
        """Start over, for everybody who shares the file."""
        with self._errors_in_words():
            self._connection.execute("DELETE FROM measured")

    def commit(self) -> None:
        """Make durable what was added; errors are those of `add`."""
        if self._connection.in_transaction:
            with self._errors_in_words():
                self._connection.execute("COMMIT")
        self._added = 0
        self._committed_at = self._now()

    def close(self) -> None:
        """Make durable what was added, and let go of the file."""
        try:
            self.commit()
        finally:
            self._connection.close()

    @contextmanager
    def _errors_in_words(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            message = f"cannot keep measurements in {printable(str(self._path))}"
            obstacle = hindrance(self._path) if isinstance(error, sqlite3.OperationalError) else error
            if isinstance(obstacle, OSError):
                raise unwritable(obstacle, message) from error
            advice = "; delete it, or name another" if type(error) is sqlite3.DatabaseError else ""
            raise UnavailableError(f"{message}: {error}{advice}") from error

    def _prepare(self) -> None:
        run = self._connection.execute
        application, pages = (run(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "page_count"))
        if pages and application != _APPLICATION:
            raise UsageError(f"{printable(str(self._path))} is another database; name a file of its own")
        run(f"PRAGMA application_id = {_APPLICATION}")
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = NORMAL")  # a power cut may cost the last seconds, never the file
        run("CREATE TABLE IF NOT EXISTS about (version TEXT NOT NULL)")
        run("CREATE TABLE IF NOT EXISTS measured (identity BLOB PRIMARY KEY, content TEXT NOT NULL) WITHOUT ROWID")
        run("BEGIN IMMEDIATE")
        if not self._is_mine():
            run("DELETE FROM measured")
            run("DELETE FROM about")
            run("INSERT INTO about VALUES (?)", (self._version,))
        run("COMMIT")


def _key(identity: FileIdentity) -> bytes:
    return struct.pack(">5Q", *(number % (1 << 64) for number in astuple(identity)))  # a time may be negative, or huge


def _content(measurement: Measurement) -> str:
    measures = measurement.measures and [getattr(measurement.measures, field.name) for field in fields(Measures)]
    facts = (measurement.sha256, measurement.issue, measurement.detail, measurement.camera, measurement.image_format)
    readout = [measurement.readout] if measurement.readout else []
    return json.dumps([measures, *facts, round(measurement.duration_ms, 1), *readout], separators=(",", ":"))


def _measurement(content: str, identity: FileIdentity) -> Measurement:
    measures, sha256, issue, detail, camera, image_format, duration_ms, *readout = json.loads(content)
    measured: Any = measures and Measures(*measures)
    return Measurement(sha256, measured, issue, detail, camera, image_format, duration_ms, identity, *readout)
