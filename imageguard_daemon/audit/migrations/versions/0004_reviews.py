"""Reviews of rejections, and the moves and removals they call for."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

DECISIONS = """
CREATE VIEW decisions AS
SELECT r.id, r.decided_at, r.host, r.source, r.class, r.relative_path, i.destination, r.sha256, r.size_bytes,
       r.verdict, r.reason, r.issues, r.score, r.blur_score, r.resolution_score, r.noise_score, r.exposure_score,
       r.compression_score, r.pixelation_score, r.measures, r.preset, r.profile, r.scorer_version,
       r.camera, r.duplicate_of, r.duration_ms, r.detail, r.image_format
FROM decision_records AS r
JOIN intents AS i ON i.decision_id = r.id AND i.role = 'image' AND i.review_id IS NULL
JOIN outcomes AS o ON o.intent_id = i.id AND o.outcome = 'moved'
"""
REVIEWS = """
CREATE VIEW reviews AS
SELECT v.id, v.reviewed_at, v.host, v.decision_id, v.action, v.who, v.why, coalesce(i.destination, '') AS destination,
       v.undoes, v.profile
FROM review_records AS v
LEFT JOIN intents AS i ON i.review_id = v.id AND i.role = 'image'
LEFT JOIN outcomes AS o ON o.intent_id = i.id
WHERE i.id IS NULL OR o.outcome IN ('moved', 'purged')
"""


def upgrade() -> None:
    """Create the table and the view, and let intents say which review asks for them and which move they follow."""
    op.create_table(
        "review_records",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("decision_id", sa.Integer, sa.ForeignKey("decision_records.id"), nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("reviewed_at", "host", "action", "who", "why")),
        sa.Column("undoes", sa.Integer, sa.ForeignKey("review_records.id")),
        sa.Column("profile", sa.JSON),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_review_records_decision_id", "review_records", ["decision_id"])
    op.execute("ALTER TABLE intents ADD COLUMN review_id INTEGER REFERENCES review_records (id)")
    op.execute("ALTER TABLE intents ADD COLUMN previous_id INTEGER REFERENCES intents (id)")
    for column in ("review_id", "previous_id"):
        op.create_index(f"ix_intents_{column}", "intents", [column], sqlite_where=sa.text(f"{column} IS NOT NULL"))
    for column in ("class", "reason"):
        quarantined = sa.text("verdict = 'quarantined'")
        op.create_index(f"ix_quarantined_{column}", "decision_records", [column], sqlite_where=quarantined)
    op.execute("DROP VIEW decisions")
    op.execute(DECISIONS)
    op.execute(REVIEWS)
    same = "WHEN EXISTS (SELECT 1 FROM review_records WHERE id = NEW.id)"
    for name, event in (("update", "UPDATE"), ("delete", "DELETE"), ("replace", "INSERT")):
        condition = same if name == "replace" else ""
        op.execute(
            f"CREATE TRIGGER review_records_no_{name} BEFORE {event} ON review_records {condition} "
            "BEGIN SELECT RAISE(ABORT, 'review_records is append-only'); END"
        )
