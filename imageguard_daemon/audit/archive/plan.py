"""Which part of the log may go to an archive: a beginning of the hash chain, less what is not settled.

docs/decisions/0009-archives.md has the reasons.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from imageguard_daemon.audit.chain import ORIGIN
from imageguard_daemon.audit.schema import CHAINED, archives, forwarding
from imageguard_daemon.core.timestamps import timestamp


@dataclass(frozen=True, slots=True)
class Anchor:
    """Up to which link the log was archived, what that link's hash was, and the last id of each table by then."""

    sequence: int = 0
    hash: bytes = ORIGIN
    last_ids: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(CHAINED, 0))


@dataclass(frozen=True, slots=True)
class ArchivePlan:
    """What an archive would take: the links after `begin` up to `end`, and the decisions that would leave the log.

    `decisions` are all up to `end`, `going` those of them that are settled; `in_quarantine` stay because their file is
    still in quarantine, `unsettled` because something about them was recorded later or is missing.
    """

    begin: Anchor
    end: Anchor
    decisions: int
    going: int
    in_quarantine: int

    @property
    def unsettled(self) -> int:
        """How many decisions stay for another reason than that their file is in quarantine."""
        return self.decisions - self.going - self.in_quarantine


_IN_QUARANTINE = """
(d.verdict = 'quarantined' OR d.id IN (SELECT decision_id FROM review_records WHERE action = 'reject'))
AND EXISTS (SELECT 1 FROM intents i JOIN outcomes o ON o.intent_id = i.id AND o.outcome = 'moved'
            WHERE i.decision_id = d.id AND i.role = 'image' AND i.review_id IS NULL)
AND (d.verdict, coalesce((SELECT v.action FROM reviews v WHERE v.decision_id = d.id ORDER BY v.id DESC LIMIT 1), ''))
    IN (VALUES ('quarantined', ''), ('quarantined', 'undo'), ('quarantined', 'confirm'), ('accepted', 'reject'))"""
_SETTLED = """
NOT EXISTS (SELECT 1 FROM intents i LEFT JOIN outcomes o ON o.intent_id = i.id WHERE i.decision_id = d.id
            AND (i.id > :intents OR o.id IS NULL OR o.id > :outcomes
                 OR EXISTS (SELECT 1 FROM relocations r WHERE r.intent_id = i.id AND r.id > :relocations)))
AND NOT EXISTS (SELECT 1 FROM review_records v WHERE v.decision_id = d.id AND v.id > :review_records)
AND d.id NOT IN (SELECT record_id FROM chain WHERE sequence > :sequence AND record_table = 'decision_records'
                 AND record_id <= :relinked)"""


def going_query(*, include_quarantined: bool) -> str:
    """Give the question which decisions may leave the log; its parameters are `parameters_of` the end."""
    but_for = "" if include_quarantined else f" AND NOT ({_IN_QUARANTINE})"
    return f"SELECT d.id FROM decision_records d WHERE d.id <= :decision_records AND {_SETTLED}{but_for}"


def parameters_of(begin: Anchor, end: Anchor) -> dict[str, int]:
    """Give the values for `going_query`."""
    # Only what an earlier archive left behind can have a second, later link.
    return {**end.last_ids, "sequence": end.sequence, "relinked": begin.last_ids["decision_records"]}


def last_anchor(connection: sa.Connection) -> Anchor:
    """Give the anchor of the latest archive; the beginning of all where there is none."""
    row = connection.execute(sa.select(archives).order_by(archives.c.id.desc()).limit(1)).first()
    if row is None:
        return Anchor()
    # An archive of before a table was added has no last id of it.
    return Anchor(row.last_sequence, row.last_hash, dict.fromkeys(CHAINED, 0) | row.last_ids)


def make_plan(
    connection: sa.Connection, cutoff: datetime, *, include_quarantined: bool, forwarded_only: bool = False
) -> ArchivePlan | None:
    """Plan an archive of what was decided before `cutoff`; None when there is nothing since the last one.

    With `forwarded_only`, what the fleet's database has not confirmed stays: the log is the queue.
    """
    begin = last_anchor(connection)
    most = connection.scalar(sa.select(forwarding.c.sequence)) if forwarded_only else None
    end = _end(connection, begin, timestamp(cutoff), most)
    if end is None:
        return None
    parameters = parameters_of(begin, end)
    going = going_query(include_quarantined=include_quarantined)
    everything = "SELECT count(*) FROM decision_records WHERE id <= :decision_records"
    quarantined = f"SELECT count(*) FROM decision_records d WHERE d.id <= :decision_records AND {_IN_QUARANTINE}"
    counts = [
        int(connection.execute(sa.text(question), parameters).scalar_one())
        for question in (everything, f"SELECT count(*) FROM ({going})", quarantined)
    ]
    return ArchivePlan(begin, end, counts[0], counts[1], 0 if include_quarantined else counts[2])


def _end(connection: sa.Connection, begin: Anchor, cutoff: str, most: int | None) -> Anchor | None:
    first_kept = "SELECT id FROM decision_records WHERE id > ? AND decided_at >= ? ORDER BY id LIMIT 1"
    first_to_stay = connection.exec_driver_sql(first_kept, (begin.last_ids["decision_records"], cutoff)).scalar()
    if first_to_stay is None:
        last = connection.exec_driver_sql("SELECT max(sequence) FROM chain").scalar()
    else:
        link = (
            "SELECT sequence - 1 FROM chain WHERE sequence > ? AND record_table = 'decision_records' "
            "AND record_id = ? ORDER BY sequence LIMIT 1"
        )
        last = connection.exec_driver_sql(link, (begin.sequence, first_to_stay)).scalar()
    if last is not None and most is not None:
        last = min(last, most)
    if last is None or last <= begin.sequence:
        return None
    head = connection.exec_driver_sql("SELECT hash FROM chain WHERE sequence = ?", (last,)).scalar_one()
    ids = "SELECT record_table, max(record_id) FROM chain WHERE sequence > ? AND sequence <= ? GROUP BY record_table"
    newest: dict[str, Any] = {row[0]: row[1] for row in connection.exec_driver_sql(ids, (begin.sequence, last))}
    # What was linked again after an earlier archive has smaller ids than that archive's last.
    last_ids = {table: max(last_id, newest.get(table, 0)) for table, last_id in begin.last_ids.items()}
    return Anchor(last, head, last_ids)
