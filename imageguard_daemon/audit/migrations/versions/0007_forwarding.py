"""Which log this is, and how far it was forwarded to a fleet's database."""

import uuid

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Create the table with its one row; the name is by chance, so that no two logs have the same."""
    op.create_table(
        "forwarding",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("log_uuid", sa.Text, nullable=False),
        sa.Column("parent_uuid", sa.Text),
        sa.Column("fork_sequence", sa.Integer),
        sa.Column("fork_ids", sa.JSON),
        sa.Column("sequence", sa.Integer, nullable=False),
        sa.Column("confirmed_at", sa.Text),
    )
    op.execute(f"INSERT INTO forwarding (id, log_uuid, sequence) VALUES (1, '{uuid.uuid4()}', 0)")
