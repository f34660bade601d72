"""Which decisions a person should look at first, in their records, in the view, and in what reports need."""

from alembic import op

revision = "0002"
down_revision = "0001"

DECISIONS = """
CREATE OR REPLACE VIEW decisions AS
SELECT r.id, r.decided_at, l.host, r.source, r.class, r.relative_path, i.destination, r.sha256, r.size_bytes,
       r.verdict, r.reason, r.issues, r.score, r.blur_score, r.resolution_score, r.noise_score, r.exposure_score,
       r.compression_score, r.pixelation_score, r.measures, r.preset, r.profile, r.scorer_version,
       r.camera, r.duplicate_of, r.duration_ms, r.detail, r.image_format, r.borderline
FROM decision_records AS r
JOIN logs AS l ON l.number = (r.id >> 40)::integer
JOIN intents AS i ON i.decision_id = r.id AND i.role = 'image' AND i.review_id IS NULL
JOIN outcomes AS o ON o.intent_id = i.id AND o.outcome = 'moved'
"""
BORDERLINE = """
CREATE FUNCTION take_in_borderline() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = "{schema}", pg_temp AS $body$
BEGIN
    NEW.flags := NEW.flags + 8 * (EXISTS (
        SELECT FROM decision_records AS d WHERE d.id = NEW.decision_id AND d.borderline = 1))::integer;
    RETURN NEW;
END $body$
"""


def upgrade() -> None:
    """Add the column, NULL in what older versions have sent, and its flag to each image that is taken in."""
    run = op.get_bind().exec_driver_sql
    run("ALTER TABLE decision_records ADD COLUMN borderline bigint")
    run(DECISIONS)
    schema = str(run("SELECT current_schema()").scalar_one()).replace('"', '""')
    run(BORDERLINE.replace("{schema}", schema).replace("%", "%%"))
    run("REVOKE ALL ON FUNCTION take_in_borderline() FROM PUBLIC")
    run(
        "CREATE TRIGGER rollup_images_take_in_borderline BEFORE INSERT ON rollup_images "
        "FOR EACH ROW EXECUTE FUNCTION take_in_borderline()"
    )
