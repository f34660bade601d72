"""Which code took the features of an image, in records and in the view."""

from alembic import op

revision = "0003"
down_revision = "0002"

DECISIONS = """
CREATE OR REPLACE VIEW decisions AS
SELECT r.id, r.decided_at, l.host, r.source, r.class, r.relative_path, i.destination, r.sha256, r.size_bytes,
       r.verdict, r.reason, r.issues, r.score, r.blur_score, r.resolution_score, r.noise_score, r.exposure_score,
       r.compression_score, r.pixelation_score, r.measures, r.preset, r.profile, r.scorer_version,
       r.camera, r.duplicate_of, r.duration_ms, r.detail, r.image_format, r.borderline, r.code
FROM decision_records AS r
JOIN logs AS l ON l.number = (r.id >> 40)::integer
JOIN intents AS i ON i.decision_id = r.id AND i.role = 'image' AND i.review_id IS NULL
JOIN outcomes AS o ON o.intent_id = i.id AND o.outcome = 'moved'
"""


def upgrade() -> None:
    """Add the column, NULL in what older versions have sent, and show it in the view."""
    run = op.get_bind().exec_driver_sql
    run("ALTER TABLE decision_records ADD COLUMN code text")
    run(DECISIONS)
