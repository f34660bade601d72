"""Roll-ups, from which reports are made; `audit/rollups.py` says what is in them."""

import sqlalchemy as sa
from alembic import op

from imageguard_daemon.audit import rollups  # derived from the records: whoever changes its form makes them again

revision = "0003"
down_revision = "0002"

KEYS = ("host", "source", "class", "camera", "preset", "profile", "verdict", "reason", "scorer_version")
SCORES = ("blur", "resolution", "noise", "exposure", "compression", "pixelation")


def _integer(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=False)


def upgrade() -> None:
    """Create the tables and fill them from what was recorded so far."""
    op.create_table(
        "rollup_keys",
        sa.Column("id", sa.Integer, primary_key=True),
        *(sa.Column(name, sa.Text, nullable=False) for name in KEYS),
    )
    op.create_index("ix_rollup_keys_all", "rollup_keys", list(KEYS), unique=True)
    op.create_table(
        "rollup_recent",
        sa.Column("position", sa.Integer, primary_key=True),
        *map(_integer, ("decision_id", "key_id", "moment_ms", "flags")),
        *(sa.Column(f"{signal}_score", sa.Float) for signal in SCORES),
    )
    op.create_table(
        "rollup_hours",
        sa.Column("id", sa.Integer, primary_key=True),
        *map(_integer, ("hour", "images", "rejected")),
        *(sa.Column(name, sa.LargeBinary, nullable=False) for name in ("moments", "keys", "flags", "ids", "scores")),
    )
    op.create_index("ix_rollup_hours_hour", "rollup_hours", ["hour"])
    rollups.rebuild(op.get_bind())
