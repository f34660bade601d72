"""What people said of images whose records were archived, for reports and for thresholds made from reviews."""

import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

COLUMNS = (
    *("action", "decided_at", "host", "source", "class", "camera", "preset", "verdict", "reason", "relative_path"),
    *("sha256", "scorer_version", "measures"),
)
_KEY = "SELECT host, source, class, camera, preset, verdict, reason, scorer_version FROM rollup_keys WHERE id = ?"
_IDS_AT_A_TIME = 500


def upgrade() -> None:
    """Create the table. Of what was archived before nobody knows any more what became of it: noted is that it went."""
    op.create_table(
        "rollup_reviews",
        sa.Column("decision_id", sa.Integer, primary_key=True),
        *(sa.Column(name, sa.Text, nullable=False) for name in COLUMNS),
    )
    connection = op.get_bind()
    if connection.exec_driver_sql("SELECT count(*) FROM archives").scalar():
        for part in _in_parts(_rejected(connection)):
            _note_gone(connection, part)


def _rejected(connection: sa.Connection) -> Iterator[tuple[int, int, int]]:
    """Yield number, moment and key of every rejected image that the roll-ups have."""
    query = "SELECT id FROM rollup_keys WHERE verdict <> 'accepted'"
    keys = set(connection.exec_driver_sql(query).scalars())
    hours = "SELECT id, images, moments, keys, ids FROM rollup_hours WHERE rejected > 0 AND id > ? ORDER BY id LIMIT 24"
    last = -1
    while rows := connection.exec_driver_sql(hours, (last,)).all():
        last = rows[-1].id
        for row in rows:
            moments, ids = (struct.unpack(f"<{row.images}q", packed) for packed in (row.moments, row.ids))
            of_key = struct.unpack(f"<{row.images}I", row.keys)
            yield from (one for one in zip(ids, moments, of_key, strict=True) if one[2] in keys)
    recent = "SELECT decision_id, moment_ms, key_id FROM rollup_recent"
    yield from (tuple(row) for row in connection.exec_driver_sql(recent).all() if row.key_id in keys)


def _in_parts(images: Iterator[tuple[int, int, int]]) -> Iterator[list[tuple[int, int, int]]]:
    part: list[tuple[int, int, int]] = []
    for one in images:
        part.append(one)
        if len(part) == _IDS_AT_A_TIME:
            yield part
            part = []
    yield part


def _note_gone(connection: sa.Connection, images: list[tuple[int, int, int]]) -> None:
    marks = ",".join("?" * len(images))
    there = f"SELECT id FROM decision_records WHERE id IN ({marks})"
    known = set(connection.exec_driver_sql(there, tuple(one[0] for one in images)).scalars()) if images else set()
    names = ", ".join(COLUMNS)
    insert = f"INSERT INTO rollup_reviews (decision_id, {names}) VALUES ({','.join('?' * 14)})"
    for number, moment_ms, key in images:
        if number not in known:
            *where, scorer = connection.exec_driver_sql(_KEY, (key,)).one()
            row = (number, "archived", _timestamp(moment_ms), *where, "", "", scorer, "{}")
            connection.exec_driver_sql(insert, row)


def _timestamp(moment_ms: int) -> str:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=moment_ms)
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
