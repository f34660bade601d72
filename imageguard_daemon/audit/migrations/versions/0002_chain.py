"""A hash chain over all rows, files found elsewhere, and an index to ask which record a file has."""

import sqlalchemy as sa
from alembic import op

from imageguard_daemon.audit import chain  # its form never changes, or no log made before could be checked

revision = "0002"
down_revision = "0001"

EARLIER = ("decision_records", "intents", "outcomes")


def _create_chain() -> None:
    op.create_table(
        "chain",
        sa.Column("sequence", sa.Integer, primary_key=True),
        sa.Column("record_table", sa.Text, nullable=False),
        sa.Column("record_id", sa.Integer, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sqlite_autoincrement=True,
    )


def _create_relocations() -> None:
    op.create_table(
        "relocations",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("intent_id", sa.Integer, sa.ForeignKey("intents.id"), nullable=False),
        sa.Column("path", sa.LargeBinary, nullable=False),
        sa.Column("place", sa.Text, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("size_bytes", sa.Integer, nullable=False),
        sa.Column("recorded_at", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_relocations_intent_id", "relocations", ["intent_id"])
    op.create_index("ix_relocations_path", "relocations", ["path"])


def upgrade() -> None:
    """Create the tables and chain what is there: table by table, in the order of ids."""
    _create_chain()
    _create_relocations()
    op.create_index("ix_intents_destination_path", "intents", ["destination_path"])
    chain.extend(op.get_bind(), dict.fromkeys(EARLIER, 0))
    for table, key in (("chain", "sequence"), ("relocations", "id")):
        _refuse(table, "update", "UPDATE")
        _refuse(table, "delete", "DELETE")
        same = f"WHEN EXISTS (SELECT 1 FROM {table} WHERE {key} = NEW.{key})"
        _refuse(table, "replace", "INSERT", same)


def _refuse(table: str, name: str, verb: str, condition: str = "") -> None:
    op.execute(
        f"CREATE TRIGGER {table}_no_{name} BEFORE {verb} ON {table} {condition} "
        f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
    )
