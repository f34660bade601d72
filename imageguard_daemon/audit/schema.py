"""The tables of the audit log. Rows are only ever added: what is true now follows from the latest ones.

`decision_records` has one row for each judgement, `intents` one for each file about to move because of it,
`outcomes` what became of each intent, `relocations` where a filed file was found after others had moved it.
`review_records` has one row for each review of an image; an intent that comes from one names it (`review_id`), and
the move that had brought its file to where it is taken from (`previous_id`). `alert_records` has the alerts sent
of findings, `alert_attempts` each try to do so. `archives` says which beginning of the log was taken out and where to,
`archived_files` which of its files should still be where. `chain` has one row for each row of all these but the last,
in the one order of the log; `chain.py` says how it is made. The views `decisions` (one row per file judged and moved)
and `reviews` (one row per review that took effect) are the public face; the tables may change with a migration.
The `rollup_...` tables repeat what reports need (`rollups.py`), `rollup_reviews` of reviewed images that were archived
(`archived_files.py`). `forwarding` has one row and is not a record: which
log this is, and up to which link a fleet's database has confirmed it (`forwarded_log.py`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    text,
)

from imageguard_daemon.audit.rollups import KEY_COLUMNS, PACKED
from imageguard_daemon.audit.rules import Kind
from imageguard_daemon.core.model import SCORE_NAMES

metadata = MetaData()

_KINDS: Mapping[type, Kind] = {
    Integer: Kind.integer,
    Float: Kind.number,
    Text: Kind.text,
    JSON: Kind.json,
    LargeBinary: Kind.blob,
}

WholeNumber = BigInteger().with_variant(Integer(), "sqlite")
"""SQLite has one kind of integers; numbers of a fleet's records need 64 bits elsewhere, too."""

decision_records = Table(
    "decision_records",
    metadata,
    Column("id", WholeNumber, primary_key=True),
    Column("decided_at", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("class", Text, nullable=False),
    Column("relative_path", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("size_bytes", WholeNumber, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("issues", JSON, nullable=False),
    Column("detail", Text, nullable=False),
    Column("score", Float, nullable=False),
    *(Column(name, Float) for name in SCORE_NAMES),  # NULL where nothing could be measured
    Column("measures", JSON, nullable=False),
    Column("preset", Text, nullable=False),
    Column("profile", JSON, nullable=False),
    Column("scorer_version", Text, nullable=False),
    Column("image_format", Text, nullable=False),
    Column("camera", Text, nullable=False),
    Column("duplicate_of", WholeNumber, ForeignKey("decision_records.id")),
    Column("duration_ms", Float, nullable=False),
    Column("borderline", WholeNumber),  # 0 or 1; NULL in rows of before there was one
    Column("code", Text),  # NULL in rows of before there was one, and where it is not known
    Index("ix_decision_records_decided_at", "decided_at"),
    Index("ix_decision_records_sha256", "sha256"),
    Index("ix_decision_records_relative_path", "relative_path"),
    Index("ix_quarantined_class", "class", sqlite_where=text("verdict = 'quarantined'")),
    Index("ix_quarantined_camera", "camera", sqlite_where=text("verdict = 'quarantined'")),
    Index("ix_quarantined_reason", "reason", sqlite_where=text("verdict = 'quarantined'")),
    Index("ix_quarantined_score", "score", sqlite_where=text("verdict = 'quarantined'")),
    Index("ix_quarantined_reason_score", "reason", "score", sqlite_where=text("verdict = 'quarantined'")),
    Index("ix_quarantined_class_score", "class", "score", sqlite_where=text("verdict = 'quarantined'")),
    Index("ix_accepted_borderline", "score", sqlite_where=text("verdict = 'accepted' AND borderline = 1")),
    sqlite_autoincrement=True,  # an id is never used twice, so that a copy of the log can be told apart by it
)

intents = Table(
    "intents",
    metadata,
    Column("id", WholeNumber, primary_key=True),
    Column("decision_id", WholeNumber, ForeignKey("decision_records.id"), nullable=False, index=True),
    Column("role", Text, nullable=False),
    Column("source_path", LargeBinary, nullable=False),  # bytes: names need not be valid UTF-8
    Column("destination_path", LargeBinary, nullable=False, index=True),
    Column("destination", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("device", WholeNumber, nullable=False),
    Column("inode", WholeNumber, nullable=False),
    Column("size_bytes", WholeNumber, nullable=False),
    Column("mtime_ns", WholeNumber, nullable=False),
    Column("ctime_ns", WholeNumber, nullable=False),
    Column("intended_at", Text, nullable=False),
    Column("review_id", WholeNumber, ForeignKey("review_records.id")),
    Column("previous_id", WholeNumber, ForeignKey("intents.id")),
    Index("ix_intents_review_id", "review_id", sqlite_where=text("review_id IS NOT NULL")),
    Index("ix_intents_previous_id", "previous_id", sqlite_where=text("previous_id IS NOT NULL")),
    sqlite_autoincrement=True,
)

outcomes = Table(
    "outcomes",
    metadata,
    Column("id", WholeNumber, primary_key=True),
    Column("intent_id", WholeNumber, ForeignKey("intents.id"), nullable=False, unique=True),
    Column("outcome", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("recorded_at", Text, nullable=False),
    sqlite_autoincrement=True,
)

relocations = Table(
    "relocations",
    metadata,
    Column("id", WholeNumber, primary_key=True),
    Column("intent_id", WholeNumber, nullable=False, index=True),  # may be that of an archived file
    Column("path", LargeBinary, nullable=False, index=True),
    Column("place", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("size_bytes", WholeNumber, nullable=False),
    Column("recorded_at", Text, nullable=False),
    sqlite_autoincrement=True,
)

review_records = Table(
    "review_records",
    metadata,
    Column("id", WholeNumber, primary_key=True),
    Column("decision_id", WholeNumber, ForeignKey("decision_records.id"), nullable=False, index=True),
    Column("reviewed_at", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("undoes", WholeNumber, ForeignKey("review_records.id")),
    Column("profile", JSON(none_as_null=True)),
    sqlite_autoincrement=True,
)

alert_records = Table(
    "alert_records",
    metadata,
    Column("id", WholeNumber, primary_key=True),
    Column("found_at", Text, nullable=False, index=True),
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("evidence", JSON, nullable=False),
    Column("channel", Text, nullable=False),
    sqlite_autoincrement=True,
)

alert_attempts = Table(
    "alert_attempts",
    metadata,
    Column("id", WholeNumber, primary_key=True),
    Column("alert_id", WholeNumber, ForeignKey("alert_records.id"), nullable=False, index=True),
    Column("attempted_at", Text, nullable=False),
    Column("succeeded", WholeNumber, nullable=False),
    Column("detail", Text, nullable=False),
    sqlite_autoincrement=True,
)

archives = Table(
    "archives",
    metadata,
    Column("id", WholeNumber, primary_key=True),
    *(Column(name, Text, nullable=False) for name in ("archived_at", "host", "who", "folder")),
    Column("manifest_sha256", Text, nullable=False),
    Column("last_sequence", WholeNumber, nullable=False),
    Column("last_hash", LargeBinary, nullable=False),
    Column("last_ids", JSON, nullable=False),
    Column("counts", JSON, nullable=False),
    Column("files_digest", LargeBinary, nullable=False),
    sqlite_autoincrement=True,
)

archived_files = Table(
    "archived_files",
    metadata,
    Column("intent_id", WholeNumber, primary_key=True),
    Column("archive_id", WholeNumber, nullable=False),
    Column("path", LargeBinary, nullable=False, index=True),
    Column("sha256", Text, nullable=False),
    Column("size_bytes", WholeNumber, nullable=False),
)

chain = Table(
    "chain",
    metadata,
    Column("sequence", WholeNumber, primary_key=True),
    Column("record_table", Text, nullable=False),
    Column("record_id", WholeNumber, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    sqlite_autoincrement=True,  # remembers how long it was, should its end be cut off
)

rollup_keys = Table(
    "rollup_keys",
    metadata,
    Column("id", WholeNumber, primary_key=True),
    *(Column(name, Text, nullable=False) for name in KEY_COLUMNS),
    Index("ix_rollup_keys_all", *KEY_COLUMNS, unique=True),
)

rollup_recent = Table(
    "rollup_recent",
    metadata,
    Column("position", WholeNumber, primary_key=True),
    *(Column(name, WholeNumber, nullable=False) for name in ("decision_id", "key_id", "moment_ms", "flags")),
    *(Column(name, Float) for name in SCORE_NAMES),
)

rollup_hours = Table(
    "rollup_hours",
    metadata,
    Column("id", WholeNumber, primary_key=True),
    *(Column(name, WholeNumber, nullable=False) for name in ("hour", "images", "rejected")),
    *(Column(name, LargeBinary, nullable=False) for name in PACKED),
    Index("ix_rollup_hours_hour", "hour"),
)

rollup_reviews = Table(
    "rollup_reviews",
    metadata,
    Column("decision_id", WholeNumber, primary_key=True),
    *(Column(name, Text, nullable=False) for name in ("action", "decided_at", "host", "source", "class", "camera")),
    *(Column(name, Text, nullable=False) for name in ("preset", "verdict", "reason", "relative_path", "sha256")),
    *(Column(name, Text, nullable=False) for name in ("scorer_version", "measures")),
)

forwarding = Table(
    "forwarding",
    metadata,
    Column("id", WholeNumber, primary_key=True),
    Column("log_uuid", Text, nullable=False),
    Column("parent_uuid", Text),
    Column("fork_sequence", WholeNumber),
    Column("fork_ids", JSON(none_as_null=True)),
    Column("sequence", WholeNumber, nullable=False),
    Column("confirmed_at", Text),
)


LAST_SEEN = """coalesce((SELECT r.path FROM relocations r WHERE r.intent_id = i.id ORDER BY r.id DESC LIMIT 1),
                     i.destination_path)"""
"""The path at which the file of an intent `i` is: where it was found after others had moved it, or where it was put."""
IS_GOING_ON = """EXISTS (SELECT 1 FROM intents n LEFT JOIN outcomes p ON p.intent_id = n.id
        WHERE n.previous_id = i.id AND (p.id IS NULL OR p.outcome IN ('moved', 'purged')))"""
"""A review has moved on what an intent `i` had moved, or is doing so."""


def _kind_of(column: Column[Any]) -> Kind:
    return next(kind for type_, kind in _KINDS.items() if isinstance(column.type, type_))


def _references_of(table: Table) -> dict[str, str]:
    references = {column.name: key.column.table.name for column in table.columns for key in column.foreign_keys}
    # The file found again may be an archived one, so there is no foreign key.
    return references | ({"intent_id": "intents"} if table.name == "relocations" else {})


CHAINED = (
    *("decision_records", "review_records", "intents", "outcomes", "relocations"),
    *("alert_records", "alert_attempts", "archives"),
)
"""The tables whose rows have links; a transaction's links are in this order."""

KINDS: Mapping[str, Mapping[str, Kind]] = {
    name: {column.name: _kind_of(column) for column in metadata.tables[name].columns} for name in CHAINED
}
"""What the columns of each table of records can hold: their types elsewhere follow from it."""

LINK_KINDS: Mapping[str, Kind] = {column.name: _kind_of(column) for column in chain.columns}
"""The same of the chain's own."""

REFERENCES: Mapping[str, Mapping[str, str]] = {name: _references_of(metadata.tables[name]) for name in CHAINED}
"""Which columns of each table are ids of records, and of which table."""

MOMENTS: Mapping[str, str] = {
    name: next(column for column in KINDS[name] if column.endswith("_at")) for name in CHAINED
}
"""The column of each table that says when a record was made."""

NEWEST_REVISION = "0013"
"""What the last of the migrations makes of a log."""

VIEW_COLUMNS = (
    *("id", "decided_at", "host", "source", "class", "relative_path", "destination", "sha256", "size_bytes"),
    *("verdict", "reason", "issues", "score", *SCORE_NAMES, "measures", "preset", "profile", "scorer_version"),
    *("camera", "duplicate_of", "duration_ms", "detail", "image_format", "borderline", "code"),
)
"""The columns of the view `decisions`, in its order; new ones are only ever added at the end."""

REVIEW_COLUMNS = (
    *("id", "reviewed_at", "host", "decision_id", "action", "who", "why", "destination", "undoes", "profile"),
)
"""The columns of the view `reviews`, in its order; new ones are only ever added at the end."""


def _view(name: str, columns: Sequence[str], records: Table) -> Table:
    """Describe a view of records, each with the place of its file."""
    types = {"destination": Text()} | {column.name: column.type for column in records.columns}
    described = (Column(column, types[column], primary_key=column == "id") for column in columns)
    return Table(name, MetaData(), *described)  # metadata of its own: views are not created with the tables


decisions = _view("decisions", VIEW_COLUMNS, decision_records)
reviews = _view("reviews", REVIEW_COLUMNS, review_records)
