"""An index for the rejected images of one camera."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Create it; accepted images are not in it."""
    rejected = sa.text("verdict = 'quarantined'")
    op.create_index("ix_quarantined_camera", "decision_records", ["camera"], sqlite_where=rejected)
