"""Decisions, intents, outcomes, the view over them, and the triggers that make them append-only.

The tables are written out here, not taken from `audit.schema`: a migration must keep doing what it did.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

SCORES = ("blur", "resolution", "noise", "exposure", "compression", "pixelation")
APPEND_ONLY = ("decision_records", "intents", "outcomes")
VIEW = """
CREATE VIEW decisions AS
SELECT r.id, r.decided_at, r.host, r.source, r.class, r.relative_path, i.destination, r.sha256, r.size_bytes,
       r.verdict, r.reason, r.issues, r.score, r.blur_score, r.resolution_score, r.noise_score, r.exposure_score,
       r.compression_score, r.pixelation_score, r.measures, r.preset, r.profile, r.scorer_version,
       r.camera, r.duplicate_of, r.duration_ms, r.detail, r.image_format
FROM decision_records AS r
JOIN intents AS i ON i.decision_id = r.id AND i.role = 'image'
JOIN outcomes AS o ON o.intent_id = i.id AND o.outcome = 'moved'
"""


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)


def _integer(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=False)


def _create_decision_records() -> None:
    op.create_table(
        "decision_records",
        sa.Column("id", sa.Integer, primary_key=True),
        *map(_text, ("decided_at", "host", "source", "class", "relative_path", "sha256")),
        _integer("size_bytes"),
        *map(_text, ("verdict", "reason")),
        sa.Column("issues", sa.JSON, nullable=False),
        _text("detail"),
        sa.Column("score", sa.Float, nullable=False),
        *(sa.Column(f"{signal}_score", sa.Float) for signal in SCORES),
        sa.Column("measures", sa.JSON, nullable=False),
        _text("preset"),
        sa.Column("profile", sa.JSON, nullable=False),
        *map(_text, ("scorer_version", "image_format", "camera")),
        sa.Column("duplicate_of", sa.Integer, sa.ForeignKey("decision_records.id")),
        sa.Column("duration_ms", sa.Float, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_decision_records_decided_at", "decision_records", ["decided_at"])
    op.create_index("ix_decision_records_sha256", "decision_records", ["sha256"])
    op.create_index("ix_decision_records_relative_path", "decision_records", ["relative_path"])


def _create_intents() -> None:
    op.create_table(
        "intents",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("decision_id", sa.Integer, sa.ForeignKey("decision_records.id"), nullable=False),
        _text("role"),
        sa.Column("source_path", sa.LargeBinary, nullable=False),
        sa.Column("destination_path", sa.LargeBinary, nullable=False),
        *map(_text, ("destination", "sha256")),
        *map(_integer, ("device", "inode", "size_bytes", "mtime_ns", "ctime_ns")),
        _text("intended_at"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_intents_decision_id", "intents", ["decision_id"])


def _create_outcomes() -> None:
    op.create_table(
        "outcomes",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("intent_id", sa.Integer, sa.ForeignKey("intents.id"), nullable=False, unique=True),
        *map(_text, ("outcome", "detail", "recorded_at")),
        sqlite_autoincrement=True,
    )


def upgrade() -> None:
    """Create the first version of the log."""
    _create_decision_records()
    _create_intents()
    _create_outcomes()
    op.execute(VIEW)
    for table in APPEND_ONLY:
        _refuse(table, "update", "UPDATE")
        _refuse(table, "delete", "DELETE")
        # INSERT OR REPLACE deletes a row without asking the trigger for deletions.
        same = "id = NEW.id OR intent_id = NEW.intent_id" if table == "outcomes" else "id = NEW.id"
        _refuse(table, "replace", "INSERT", condition=f"WHEN EXISTS (SELECT 1 FROM {table} WHERE {same})")


def _refuse(table: str, name: str, verb: str, condition: str = "") -> None:
    op.execute(
        f"CREATE TRIGGER {table}_no_{name} BEFORE {verb} ON {table} {condition} "
        f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
    )
