"""Indexes for rejected images in the order of their score, of all, of one reason, of one class."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Create them; accepted images are in none."""
    for name, columns in (
        ("ix_quarantined_score", ["score"]),
        ("ix_quarantined_reason_score", ["reason", "score"]),
        ("ix_quarantined_class_score", ["class", "score"]),
    ):
        op.create_index(name, "decision_records", columns, sqlite_where=sa.text("verdict = 'quarantined'"))
