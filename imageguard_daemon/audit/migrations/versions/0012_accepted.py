"""An index for borderline accepted images in the order of their score."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Create it; other accepted images are not in it."""
    borderline = sa.text("verdict = 'accepted' AND borderline = 1")
    op.create_index("ix_accepted_borderline", "decision_records", ["score"], sqlite_where=borderline)
