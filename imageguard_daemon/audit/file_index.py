"""What the log says of files: where each filed one should be, which record a path has, what it was measured as."""

import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from imageguard_daemon.audit.opening import open_log
from imageguard_daemon.audit.schema import IS_GOING_ON, LAST_SEEN, decision_records, intents, outcomes
from imageguard_daemon.audit.store import Store
from imageguard_daemon.core.model import FileIdentity, Measurement, Measures
from imageguard_daemon.core.timestamps import parse_timestamp

_PAGE = 500
_WENT_ON = """EXISTS (SELECT 1 FROM intents n JOIN outcomes p ON p.intent_id = n.id AND p.outcome IN ('moved', 'purged')
        WHERE n.previous_id = {id})"""
"""A review has moved the file on, or had it deleted."""
_FILED = f"""
SELECT i.id, {LAST_SEEN} AS place, i.sha256, i.size_bytes, i.review_id
FROM intents i JOIN outcomes o ON o.intent_id = i.id AND o.outcome = 'moved'
WHERE i.id > ? AND i.id <= ? AND NOT {IS_GOING_ON} ORDER BY i.id LIMIT {_PAGE}"""
_ARCHIVED = f"""
SELECT i.intent_id AS id,
       coalesce((SELECT r.path FROM relocations r WHERE r.intent_id = i.intent_id ORDER BY r.id DESC LIMIT 1),
                i.path) AS place, i.sha256, i.size_bytes, NULL AS review_id
FROM archived_files i WHERE i.intent_id > ? AND i.intent_id <= ? ORDER BY i.intent_id LIMIT {_PAGE}"""
_UNFINISHED = f"""
SELECT i.id, CASE i.destination_path WHEN x'' THEN i.source_path ELSE i.destination_path END AS place, i.sha256,
       i.size_bytes, i.review_id
FROM intents i LEFT JOIN outcomes o ON o.intent_id = i.id
WHERE o.id IS NULL AND i.id > ? AND i.id <= ? ORDER BY i.id LIMIT {_PAGE}"""
_AT = f"""
SELECT i.destination_path FROM intents i LEFT JOIN outcomes o ON o.intent_id = i.id
WHERE i.destination_path IN ({{marks}}) AND i.id > {{after}} AND (o.outcome = 'moved' OR o.id IS NULL)
  AND NOT EXISTS (SELECT 1 FROM relocations r WHERE r.intent_id = i.id)
  AND NOT {_WENT_ON.format(id="i.id")}
UNION
SELECT a.path FROM archived_files a
WHERE a.path IN ({{marks}}) AND a.intent_id > {{after}}
  AND NOT EXISTS (SELECT 1 FROM relocations r WHERE r.intent_id = a.intent_id)
UNION
SELECT r.path FROM relocations r
WHERE r.path IN ({{marks}}) AND r.intent_id > {{after}}
  AND r.id = (SELECT max(id) FROM relocations WHERE intent_id = r.intent_id)
  AND NOT {_WENT_ON.format(id="r.intent_id")}"""
_MEASURED = (
    *(decision_records.c[name] for name in ("sha256", "measures", "reason", "detail", "camera", "image_format")),
    *(intents.c[name] for name in ("size_bytes", "mtime_ns")),
    outcomes.c.recorded_at,
)


@dataclass(frozen=True, slots=True)
class FiledFile:
    """A file the log knows: its intent, where it should be, and what it should be; `of_review` says who moves it."""

    intent_id: int
    path: str
    sha256: str
    size_bytes: int
    of_review: bool = False


class FiledFiles:
    """Questions about files, each answered from the log as it is at that moment."""

    def __init__(self, log: Store) -> None:
        self._log = log

    def moved(self, last_id: int) -> Iterator[FiledFile | int]:
        """Yield every file where it was last moved to, up to an intent; only the id where the record makes no sense."""
        yield from self._pages(_ARCHIVED, last_id)
        yield from self._pages(_FILED, last_id)

    def unfinished(self, last_id: int) -> Iterator[FiledFile | int]:
        """Yield the intents that have no outcome, with their destinations."""
        return self._pages(_UNFINISHED, last_id)

    def has_outcome(self, intent_id: int) -> bool:
        """Tell whether it is recorded what became of an intent, or whether there is no such intent."""
        query = "SELECT 1 FROM intents i LEFT JOIN outcomes o ON o.intent_id = i.id WHERE i.id = ? AND o.id IS NULL"
        with self._log.reading() as connection:
            return connection.exec_driver_sql(query, (intent_id,)).first() is None

    def is_moved_on(self, intent_id: int) -> bool:
        """Tell whether a review has moved on what this intent had moved, or is doing so."""
        query = f"SELECT 1 FROM intents i WHERE i.id = ? AND {IS_GOING_ON}"
        with self._log.reading() as connection:
            return connection.exec_driver_sql(query, (intent_id,)).first() is not None

    def last_with_outcome(self, *, of_reviews: bool) -> int:
        """Give the largest intent of reviews, or of a daemon, that has an outcome; 0 when none has."""
        query = f"""
        SELECT i.id FROM intents i JOIN outcomes o ON o.intent_id = i.id
        WHERE i.review_id IS {"NOT " if of_reviews else ""}NULL ORDER BY i.id DESC LIMIT 1"""
        with self._log.reading() as connection:
            return int(connection.exec_driver_sql(query).scalar() or 0)

    def known(self, paths: Sequence[str], after: int = 0) -> set[str]:
        """Give those of the paths at which the file of an intent above `after` is or is about to be."""
        query = _AT.format(marks=",".join("?" * len(paths)), after=int(after))
        values = [os.fsencode(path) for path in paths]
        with self._log.reading() as connection:
            places = connection.exec_driver_sql(query, (*values, *values, *values)).scalars().all()
        return {os.fsdecode(path) for path in places}

    def _pages(self, query: str, last_id: int) -> Iterator[FiledFile | int]:
        after = 0
        while True:
            with self._log.reading() as connection:
                rows = connection.exec_driver_sql(query, (after, last_id)).all()
            yield from map(_filed, rows)
            if len(rows) < _PAGE:
                return
            after = rows[-1].id


def _filed(row: sa.Row[Any]) -> FiledFile | int:
    """Read a row that somebody may have tampered with."""
    path = row.place
    if isinstance(path, bytes) and b"\0" not in path and isinstance(row.size_bytes, int):
        return FiledFile(row.id, os.fsdecode(path), str(row.sha256), row.size_bytes, row.review_id is not None)
    return int(row.id)


class MissingFiles:
    """Files not found where they should be, until they turn up elsewhere; kept on disk, for there may be millions."""

    def __init__(self) -> None:
        self._scratch = sqlite3.connect("", isolation_level=None)  # a private file, gone when it is closed
        self._scratch.execute("CREATE TABLE missing (intent_id INTEGER PRIMARY KEY, path BLOB, sha256, size_bytes)")
        self._scratch.execute("CREATE INDEX by_content ON missing (size_bytes, sha256)")
        self._scratch.execute("BEGIN")

    def add(self, file: FiledFile) -> None:
        """Note a file that is missing."""
        values = (file.intent_id, os.fsencode(file.path), file.sha256.encode("utf-8", "replace"), file.size_bytes)
        self._scratch.execute("INSERT OR IGNORE INTO missing VALUES (?, ?, ?, ?)", values)

    def has_size(self, size_bytes: int) -> bool:
        """Tell whether a missing file has this size: only then it is worth hashing another."""
        query = "SELECT 1 FROM missing WHERE size_bytes = ? LIMIT 1"
        return self._scratch.execute(query, (size_bytes,)).fetchone() is not None

    def take(self, sha256: str, size_bytes: int) -> FiledFile | None:
        """Give a missing file of this content, the oldest first, and count it as missing no more."""
        query = "SELECT * FROM missing WHERE size_bytes = ? AND sha256 = ? ORDER BY intent_id LIMIT 1"
        row = self._scratch.execute(query, (size_bytes, sha256.encode())).fetchone()
        if row is None:
            return None
        self._scratch.execute("DELETE FROM missing WHERE intent_id = ?", row[:1])
        return _missing(row)

    def remaining(self) -> Iterator[FiledFile]:
        """Yield what has not turned up, oldest first."""
        return map(_missing, self._scratch.execute("SELECT * FROM missing ORDER BY intent_id"))

    def close(self) -> None:
        """Forget all."""
        self._scratch.close()


def _missing(row: tuple[int, bytes, bytes, int]) -> FiledFile:
    return FiledFile(row[0], os.fsdecode(row[1]), row[2].decode(), row[3])


class RecordedMeasurements:
    """What the daemon measured of files, for those who would measure them again. One thread only."""

    def __init__(self, database: Path, scorer_version: str) -> None:
        self._log = open_log(database)
        self._scorer_version = scorer_version
        self._readout = scorer_version.partition("+")[2]

    def close(self) -> None:
        """Let go of the log."""
        self._log.close()

    def find(self, path: str, identity: FileIdentity) -> Measurement | None:
        """Give what a file was measured as that lies where the daemon filed it, unchanged since, by this scorer.

        Size and mtime can be given to other bytes, as `cp -p` and archives do; ctime cannot: what changed after it was
        filed, if only its permissions, is not known by its place.
        """
        where = (intents.c.destination_path == os.fsencode(path), intents.c.role == "image")
        row = self._latest(*where)
        if row is None or (row.size_bytes, row.mtime_ns) != (identity.size_bytes, identity.mtime_ns):
            return None
        if identity.ctime_ns > parse_timestamp(row.recorded_at).timestamp() * 1e9:
            return None
        return self._measurement(row, identity)

    def find_content(self, sha256: str, identity: FileIdentity) -> Measurement | None:
        """Give what a file of this content was measured as by this scorer, wherever it lies."""
        row = self._latest(decision_records.c.sha256 == sha256, intents.c.role == "image")
        return None if row is None else self._measurement(row, identity)

    def _latest(self, *where: sa.ColumnElement[bool]) -> "sa.Row[tuple[object, ...]] | None":
        query = (
            sa.select(*_MEASURED)
            .join(intents, intents.c.decision_id == decision_records.c.id)
            .join(outcomes, sa.and_(outcomes.c.intent_id == intents.c.id, outcomes.c.outcome == "moved"))
            .where(decision_records.c.scorer_version == self._scorer_version, *where)
            .order_by(decision_records.c.id.desc())
            .limit(1)
        )
        with self._log.reading() as connection:
            return connection.execute(query).first()

    def _measurement(self, row: "sa.Row[tuple[object, ...]]", identity: FileIdentity) -> Measurement | None:
        measures = json.loads(row.measures) if isinstance(row.measures, str) else row.measures
        facts = {"camera": row.camera, "image_format": row.image_format, "identity": identity, "readout": self._readout}
        if not measures:
            return Measurement(row.sha256, issue=row.reason, detail=row.detail, **facts)
        try:
            return Measurement(row.sha256, Measures(**measures), **facts)
        except TypeError:  # recorded by a version with other measures
            return None
