"""Archives the old part of a log: copy, verify the copy, and only then take it out. Beside a daemon or without one.

The only place where rows of the log are deleted.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from pathlib import Path

import sqlalchemy as sa

from imageguard_daemon.audit import chain
from imageguard_daemon.audit.archive.archived_files import files_digest
from imageguard_daemon.audit.archive.parquet_copy import Manifest, check_copy, read_manifest, write_copy
from imageguard_daemon.audit.archive.plan import ArchivePlan, going_query, last_anchor, make_plan, parameters_of
from imageguard_daemon.audit.database import translated_errors
from imageguard_daemon.audit.log_writer import LogWriter, new_id
from imageguard_daemon.audit.opening import open_log, require_log_of_own, writing_beside_daemon
from imageguard_daemon.audit.schema import CHAINED, LAST_SEEN, archives, rollup_reviews
from imageguard_daemon.config import Settings
from imageguard_daemon.core.errors import DataError, StorageError, UsageError, unwritable
from imageguard_daemon.core.files import sync_folder
from imageguard_daemon.core.locks import ActingLock
from imageguard_daemon.core.names import printable
from imageguard_daemon.core.timestamps import timestamp

Progress = Callable[[str, int, int], None]
"""Told the stage, how many links of how many."""

_OF_GOING = {
    "outcomes": "intent_id IN (SELECT id FROM intents WHERE decision_id IN going)",
    "relocations": "intent_id IN (SELECT id FROM intents WHERE decision_id IN going)",
    "intents": "decision_id IN going",
    "review_records": "decision_id IN going",
    "decision_records": "id IN going",
    "alert_attempts": "alert_id IN alerts_going",
    "alert_records": "id IN alerts_going",
}
"""What is deleted, in this order."""
_ALERTS_GOING = """
CREATE TEMP TABLE alerts_going AS SELECT a.id FROM alert_records a WHERE a.id <= :alert_records
AND NOT EXISTS (SELECT 1 FROM alert_attempts t WHERE t.alert_id = a.id AND t.id > :alert_attempts)
AND a.id NOT IN (SELECT record_id FROM chain WHERE sequence > :sequence AND record_table = 'alert_records'
                 AND record_id <= :alert_records)"""
_FILES = f"""
INSERT INTO archived_files (intent_id, archive_id, path, sha256, size_bytes)
SELECT i.id, ?, {LAST_SEEN}, i.sha256, i.size_bytes
FROM intents i JOIN outcomes o ON o.intent_id = i.id AND o.outcome = 'moved'
WHERE i.decision_id IN going AND NOT EXISTS (
    SELECT 1 FROM intents n JOIN outcomes p ON p.intent_id = n.id AND p.outcome IN ('moved', 'purged')
    WHERE n.previous_id = i.id)"""
_KEPT = [
    column.name
    for column in rollup_reviews.columns
    if column.name not in {"decision_id", "action", "scorer_version", "measures"}
]
_KEEP_REVIEWS = f"""
INSERT OR REPLACE INTO rollup_reviews (decision_id, action, {", ".join(_KEPT)}, scorer_version, measures)
SELECT d.id, v.action, {", ".join("d." + name for name in _KEPT)}, d.scorer_version,
       CASE WHEN v.action = 'rejudge' THEN '{{}}' ELSE CAST(d.measures AS TEXT) END
FROM reviews v CROSS JOIN decisions d ON d.id = v.decision_id
WHERE v.decision_id IN going AND (d.verdict <> 'accepted' OR v.action IN ('reject', 'approve', 'purge'))
AND v.action <> 'undo'
AND v.id = (SELECT max(id) FROM reviews WHERE decision_id = v.decision_id)
"""
"""What reports need of reviews of the decisions in `going`; of what was only rejudged nobody makes thresholds."""


@dataclass(frozen=True, slots=True)
class ArchiveRequest:
    """What to archive: what was decided before `cutoff`, into a new folder below `folder`."""

    cutoff: datetime
    folder: Path
    who: str
    include_quarantined: bool = False


@dataclass(frozen=True, slots=True)
class Archived:
    """What was archived, where to, and how many decisions left the log."""

    folder: Path
    manifest: Manifest
    decisions: int


def plan_archive(settings: Settings, request: ArchiveRequest) -> ArchivePlan | None:
    """Say what an archive would take; None when there is nothing. Changes nothing."""
    _require_apart(settings, request.folder)
    with open_log(settings.audit.database, complete=True) as log, log.reading() as connection:
        return make_plan(connection, request.cutoff, **_limits(settings, request))


def archive(settings: Settings, request: ArchiveRequest, progress: Progress = lambda *_told: None) -> Archived | None:
    """Archive; None when there is nothing. A crash leaves the log whole, at worst beside a copy nobody needs.

    Raises:
        UsageError: pyarrow is not installed, or the folder is one of the daemon's.
        DataError: the log is not as it was written.
        StalledError: the log is locked, a disk is full, or another command is at work.
        StorageError: the disk did not keep the copy.
    """
    _require_apart(settings, request.folder)
    require_log_of_own(settings)
    with writing_beside_daemon(settings, Archiver) as archiver, ActingLock(settings.state_folder).held():
        with archiver.reading() as connection:
            plan = make_plan(connection, request.cutoff, **_limits(settings, request))
        if plan is None or not plan.going:
            return None
        folder = _verified_copy(settings, plan, request.folder, progress)
        # Rows go only now, and only those of the plan: what was recorded meanwhile is beyond its end.
        decisions = archiver.take_out(plan, request, folder)
        manifest, _ = read_manifest(folder)
        return Archived(folder, manifest, decisions)


def _limits(settings: Settings, request: ArchiveRequest) -> dict[str, bool]:
    return {"include_quarantined": request.include_quarantined, "forwarded_only": bool(settings.forward.url)}


def _verified_copy(settings: Settings, plan: ArchivePlan, into: Path, progress: Progress) -> Path:
    total = plan.end.sequence - plan.begin.sequence
    name = f"{plan.begin.sequence + 1:012d}-{plan.end.sequence:012d}"
    begun = into / f".{name}.{os.getpid()}.part"
    try:
        begun.mkdir(parents=True)
        with open_log(settings.audit.database, complete=True) as log:
            write_copy(log, plan.begin, plan.end, begun, lambda done: progress("copying", done, total))
        check_copy(begun, lambda done: progress("verifying", done, total))
        return _published(begun, into, name)
    except OSError as error:
        raise unwritable(error, f"cannot write the archive below {printable(str(into))}") from error
    finally:
        with suppress(OSError):
            shutil.rmtree(begun)


def _published(begun: Path, into: Path, name: str) -> Path:
    """Give the finished copy its name durably; one that is there from an interrupted run is left as it is."""
    for number in count(1):
        folder = into / (name if number == 1 else f"{name}-{number}")
        if folder.exists():
            continue
        _sync_names(begun)  # before the new name: what has it is whole after a power cut, too
        begun.rename(folder)
        _sync_names(into)
        return folder
    raise AssertionError("numbers never end")


def _sync_names(folder: Path) -> None:
    try:
        sync_folder(str(folder))
    except OSError as error:
        raise StorageError(f"the disk did not keep {folder}: {error.strerror}") from error


def _require_apart(settings: Settings, folder: Path) -> None:
    target = Path(os.path.realpath(folder))
    for source in settings.sources:
        for place in source.folders:
            if target.is_relative_to(os.path.realpath(place)):
                raise UsageError(f"{printable(str(folder))} lies in {place}; name a folder outside of it with --to")


class Archiver(LogWriter):
    """A writer that may take archived rows out of the log; the caller holds the root's `ActingLock`."""

    def take_out(self, plan: ArchivePlan, request: ArchiveRequest, copy: Path) -> int:
        """Delete what a verified copy has and nobody needs in the log, in one transaction; count the decisions gone.

        A row `archives` is the anchor: it says up to which link and hash the log was archived, and is itself in the
        chain. What stays of the archived part gets new links behind it. The triggers that forbid deleting are dropped
        and made again within the transaction: no other connection ever sees the log without them.

        Raises:
            DataError: the log was archived by somebody else since it was planned.
        """
        self.require_same_files()
        with translated_errors(self._database):
            self._without_foreign_keys()  # kept rows may point at archived ones: duplicates at their original
            with self._engine.begin() as connection:
                if last_anchor(connection) != plan.begin:
                    raise DataError("the log was archived by somebody else just now")
                return self._take_out(connection, plan, request, copy)

    def _take_out(self, connection: sa.Connection, plan: ArchivePlan, request: ArchiveRequest, copy: Path) -> int:
        parameters = parameters_of(plan.begin, plan.end)
        query = going_query(include_quarantined=request.include_quarantined)
        connection.execute(sa.text(f"CREATE TEMP TABLE going AS {query}"), parameters)
        connection.execute(sa.text(_ALERTS_GOING), parameters)
        gone = int(connection.exec_driver_sql("SELECT count(*) FROM going").scalar_one())
        before = chain.newest_ids(connection, ["archives"])
        archive_id = 1 + before["archives"]
        # All of this reads rows that are deleted below; the anchor's own link has to come before those of what stays.
        connection.exec_driver_sql(_FILES, (archive_id,))
        connection.exec_driver_sql(_KEEP_REVIEWS)
        self._insert_anchor(connection, plan, archive_id, request.who, copy)
        chain.extend(connection, before)
        with _deleting_allowed(connection):
            for table, which in _OF_GOING.items():
                connection.exec_driver_sql(f"DELETE FROM {table} WHERE {which}")
            _link_what_stays(connection, plan)
            connection.exec_driver_sql("DELETE FROM chain WHERE sequence <= ?", (plan.end.sequence,))
        connection.exec_driver_sql("DROP TABLE going")
        connection.exec_driver_sql("DROP TABLE alerts_going")
        return gone

    def _insert_anchor(
        self, connection: sa.Connection, plan: ArchivePlan, archive_id: int, who: str, copy: Path
    ) -> None:
        _, manifest_sha256 = read_manifest(copy)
        row = {
            "id": archive_id,
            "archived_at": timestamp(self._now()),
            "host": self._host,
            "who": printable(who),
            "folder": printable(str(copy)),
            "manifest_sha256": manifest_sha256,
            "last_sequence": plan.end.sequence,
            "last_hash": plan.end.hash,
            "last_ids": dict(plan.end.last_ids),
            "counts": {"decisions": plan.decisions, "links": plan.end.sequence - plan.begin.sequence},
            "files_digest": files_digest(connection, archive_id),
        }
        assert new_id(connection.execute(archives.insert(), row)) == archive_id  # noqa: S101 - under the write lock

    def _without_foreign_keys(self) -> None:
        raw = self._engine.raw_connection()
        try:
            raw.driver_connection.execute("PRAGMA foreign_keys=OFF")  # type: ignore[union-attr]
        finally:
            raw.close()


@contextmanager
def _deleting_allowed(connection: sa.Connection) -> Iterator[None]:
    """Lift what forbids deleting for as long as the block lasts, inside the transaction that is open."""
    names = [f"{table}_no_delete" for table in ("chain", *_OF_GOING)]
    marks = ",".join("?" * len(names))
    query = f"SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND name IN ({marks})"
    triggers = connection.exec_driver_sql(query, tuple(names)).all()
    for name, _ in triggers:
        connection.exec_driver_sql(f"DROP TRIGGER {name}")
    yield
    # Not after an error: that takes back the whole transaction, the dropping with it.
    for _, statement in triggers:
        connection.exec_driver_sql(statement)


def _link_what_stays(connection: sa.Connection, plan: ArchivePlan) -> None:
    """Give rows whose links go new ones; those that an earlier archive left have theirs already."""
    connection.exec_driver_sql("CREATE TEMP TABLE linked (record_table, record_id)")
    for table, last_id in plan.begin.last_ids.items():
        connection.exec_driver_sql(
            "INSERT INTO linked SELECT record_table, record_id FROM chain "
            "WHERE sequence > ? AND record_table = ? AND record_id <= ?",
            (plan.end.sequence, table, last_id),
        )
    for table in CHAINED:
        ids = connection.exec_driver_sql(
            f"SELECT id FROM {table} WHERE id <= ? AND id NOT IN "
            "(SELECT record_id FROM linked WHERE record_table = ?) ORDER BY id",
            (plan.end.last_ids[table], table),
        ).scalars()
        chain.link_again(connection, table, list(ids))
    connection.exec_driver_sql("DROP TABLE linked")
