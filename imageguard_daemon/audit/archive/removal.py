"""Takes out of the log what an archive has a verified copy of. The only place where rows are deleted."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa

from imageguard_daemon.audit import chain
from imageguard_daemon.audit.archive.archived_files import files_digest, keep_reviews
from imageguard_daemon.audit.archive.plan import ArchivePlan, going_query, last_anchor, make_plan, parameters_of
from imageguard_daemon.audit.database import translated_errors
from imageguard_daemon.audit.log_writer import LogWriter, new_id
from imageguard_daemon.audit.schema import CHAINED, LAST_SEEN, archives
from imageguard_daemon.core.errors import DataError
from imageguard_daemon.core.names import printable
from imageguard_daemon.core.timestamps import timestamp

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


@dataclass(frozen=True, slots=True)
class VerifiedCopy:
    """The verified copy on which the deletion relies."""

    folder: Path
    manifest_sha256: str
    who: str


class Archiver(LogWriter):
    """A writer that may take archived rows out of the log; the caller holds the root's `ActingLock`."""

    def plan(self, cutoff: datetime, *, include_quarantined: bool, forwarded_only: bool = False) -> ArchivePlan | None:
        """Plan an archive; None when there is nothing to take."""
        with self.reading() as connection:
            return make_plan(connection, cutoff, include_quarantined=include_quarantined, forwarded_only=forwarded_only)

    def take_out(self, plan: ArchivePlan, copy: VerifiedCopy, *, include_quarantined: bool) -> int:
        """Delete what the copy has and nobody needs in the log, in one transaction; give how many decisions went.

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
                return self._take_out(connection, plan, copy, include_quarantined=include_quarantined)

    def _take_out(
        self, connection: sa.Connection, plan: ArchivePlan, copy: VerifiedCopy, *, include_quarantined: bool
    ) -> int:
        parameters = parameters_of(plan.begin, plan.end)
        query = going_query(include_quarantined=include_quarantined)
        connection.execute(sa.text(f"CREATE TEMP TABLE going AS {query}"), parameters)
        connection.execute(sa.text(_ALERTS_GOING), parameters)
        gone = int(connection.exec_driver_sql("SELECT count(*) FROM going").scalar_one())
        before = chain.newest_ids(connection, ["archives"])
        archive_id = 1 + before["archives"]
        # All of this reads rows that are deleted below; the anchor's own link has to come before those of what stays.
        connection.exec_driver_sql(_FILES, (archive_id,))
        keep_reviews(connection)
        self._insert_anchor(connection, plan, copy, archive_id)
        chain.extend(connection, before)
        with _deleting(connection):
            for table, which in _OF_GOING.items():
                connection.exec_driver_sql(f"DELETE FROM {table} WHERE {which}")
            _link_what_stays(connection, plan)
            connection.exec_driver_sql("DELETE FROM chain WHERE sequence <= ?", (plan.end.sequence,))
        connection.exec_driver_sql("DROP TABLE going")
        connection.exec_driver_sql("DROP TABLE alerts_going")
        return gone

    def _insert_anchor(self, connection: sa.Connection, plan: ArchivePlan, copy: VerifiedCopy, archive_id: int) -> None:
        row = {
            "id": archive_id,
            "archived_at": timestamp(self._now()),
            "host": self._host,
            "who": printable(copy.who),
            "folder": printable(str(copy.folder)),
            "manifest_sha256": copy.manifest_sha256,
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


class _deleting:  # noqa: N801 - reads as a verb where it is used
    """Lift what forbids deleting for as long as the block lasts, inside the transaction that is open."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        names = [f"{table}_no_delete" for table in ("chain", *_OF_GOING)]
        marks = ",".join("?" * len(names))
        query = f"SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND name IN ({marks})"
        self._triggers = connection.exec_driver_sql(query, tuple(names)).all()

    def __enter__(self) -> None:
        for name, _ in self._triggers:
            self._connection.exec_driver_sql(f"DROP TRIGGER {name}")

    def __exit__(self, *_exception: object) -> None:
        for _, statement in self._triggers:
            self._connection.exec_driver_sql(statement)


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
