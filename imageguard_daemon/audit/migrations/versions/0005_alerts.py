"""The alerts sent, and each attempt to send one."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def _text(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, nullable=False) for name in names]


def upgrade() -> None:
    """Create the two tables, append-only like the others."""
    op.create_table(
        "alert_records",
        sa.Column("id", sa.Integer, primary_key=True),
        *_text("found_at", "kind", "subject", "message"),
        sa.Column("evidence", sa.JSON, nullable=False),
        *_text("channel"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_alert_records_found_at", "alert_records", ["found_at"])
    op.create_table(
        "alert_attempts",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("alert_id", sa.Integer, sa.ForeignKey("alert_records.id"), nullable=False),
        *_text("attempted_at"),
        sa.Column("succeeded", sa.Integer, nullable=False),
        *_text("detail"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_alert_attempts_alert_id", "alert_attempts", ["alert_id"])
    for table in ("alert_records", "alert_attempts"):
        _refuse(table, "update", "UPDATE")
        _refuse(table, "delete", "DELETE")
        same = f"WHEN EXISTS (SELECT 1 FROM {table} WHERE id = NEW.id)"
        _refuse(table, "replace", "INSERT", same)


def _refuse(table: str, name: str, event: str, condition: str = "") -> None:
    op.execute(
        f"CREATE TRIGGER {table}_no_{name} BEFORE {event} ON {table} {condition} "
        f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
    )
