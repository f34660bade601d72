"""The logs of a fleet: their records by one number each, their chains, and what reports need."""

from alembic import op

revision = "0001"
down_revision = None

TABLES = """
CREATE TABLE logs (
    number integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY CHECK (number BETWEEN 1 AND 8388607),
    uuid text COLLATE "C" NOT NULL UNIQUE,
    host text COLLATE "C" NOT NULL,
    root text COLLATE "C" NOT NULL,
    parent integer REFERENCES logs (number),
    fork_sequence bigint NOT NULL,
    fork_ids json NOT NULL,
    registered_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE chain (
    log integer NOT NULL REFERENCES logs (number),
    sequence bigint NOT NULL,
    record_table text COLLATE "C" NOT NULL,
    record_id bigint NOT NULL,
    hash bytea NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (log, sequence)
);
CREATE TABLE gaps (
    log integer NOT NULL REFERENCES logs (number),
    after_sequence bigint NOT NULL,
    next_sequence bigint NOT NULL,
    noted_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (log, after_sequence)
);
CREATE TABLE odd_records (
    log integer NOT NULL REFERENCES logs (number),
    sequence bigint NOT NULL,
    record_table text COLLATE "C" NOT NULL,
    record_id bigint NOT NULL,
    why text COLLATE "C" NOT NULL,
    content bytea,
    PRIMARY KEY (log, sequence)
);
CREATE TABLE decision_records (
    id bigint PRIMARY KEY,
    decided_at text COLLATE "C" NOT NULL,
    host text COLLATE "C" NOT NULL,
    source text COLLATE "C" NOT NULL,
    class text COLLATE "C" NOT NULL,
    relative_path text COLLATE "C" NOT NULL,
    sha256 text COLLATE "C" NOT NULL,
    size_bytes bigint NOT NULL,
    verdict text COLLATE "C" NOT NULL,
    reason text COLLATE "C" NOT NULL,
    issues json NOT NULL,
    detail text COLLATE "C" NOT NULL,
    score double precision NOT NULL,
    blur_score double precision,
    resolution_score double precision,
    noise_score double precision,
    exposure_score double precision,
    compression_score double precision,
    pixelation_score double precision,
    measures json NOT NULL,
    preset text COLLATE "C" NOT NULL,
    profile json NOT NULL,
    scorer_version text COLLATE "C" NOT NULL,
    image_format text COLLATE "C" NOT NULL,
    camera text COLLATE "C" NOT NULL,
    duplicate_of bigint,
    duration_ms double precision NOT NULL
);
CREATE TABLE intents (
    id bigint PRIMARY KEY,
    decision_id bigint NOT NULL,
    role text COLLATE "C" NOT NULL,
    source_path bytea NOT NULL,
    destination_path bytea NOT NULL,
    destination text COLLATE "C" NOT NULL,
    sha256 text COLLATE "C" NOT NULL,
    device bigint NOT NULL,
    inode bigint NOT NULL,
    size_bytes bigint NOT NULL,
    mtime_ns bigint NOT NULL,
    ctime_ns bigint NOT NULL,
    intended_at text COLLATE "C" NOT NULL,
    review_id bigint,
    previous_id bigint
);
CREATE TABLE outcomes (
    id bigint PRIMARY KEY,
    intent_id bigint NOT NULL UNIQUE,
    outcome text COLLATE "C" NOT NULL,
    detail text COLLATE "C" NOT NULL,
    recorded_at text COLLATE "C" NOT NULL
);
CREATE TABLE relocations (
    id bigint PRIMARY KEY,
    intent_id bigint NOT NULL,
    path bytea NOT NULL,
    place text COLLATE "C" NOT NULL,
    sha256 text COLLATE "C" NOT NULL,
    size_bytes bigint NOT NULL,
    recorded_at text COLLATE "C" NOT NULL
);
CREATE TABLE review_records (
    id bigint PRIMARY KEY,
    decision_id bigint NOT NULL,
    reviewed_at text COLLATE "C" NOT NULL,
    host text COLLATE "C" NOT NULL,
    action text COLLATE "C" NOT NULL,
    who text COLLATE "C" NOT NULL,
    why text COLLATE "C" NOT NULL,
    undoes bigint,
    profile json
);
CREATE TABLE alert_records (
    id bigint PRIMARY KEY,
    found_at text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    subject text COLLATE "C" NOT NULL,
    message text COLLATE "C" NOT NULL,
    evidence json NOT NULL,
    channel text COLLATE "C" NOT NULL
);
CREATE TABLE alert_attempts (
    id bigint PRIMARY KEY,
    alert_id bigint NOT NULL,
    attempted_at text COLLATE "C" NOT NULL,
    succeeded bigint NOT NULL,
    detail text COLLATE "C" NOT NULL
);
CREATE TABLE archives (
    id bigint PRIMARY KEY,
    archived_at text COLLATE "C" NOT NULL,
    host text COLLATE "C" NOT NULL,
    who text COLLATE "C" NOT NULL,
    folder text COLLATE "C" NOT NULL,
    manifest_sha256 text COLLATE "C" NOT NULL,
    last_sequence bigint NOT NULL,
    last_hash bytea NOT NULL,
    last_ids json NOT NULL,
    counts json NOT NULL,
    files_digest bytea NOT NULL
);
CREATE TABLE rollup_keys (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    host text COLLATE "C" NOT NULL,
    source text COLLATE "C" NOT NULL,
    class text COLLATE "C" NOT NULL,
    camera text COLLATE "C" NOT NULL,
    preset text COLLATE "C" NOT NULL,
    profile text COLLATE "C" NOT NULL,
    verdict text COLLATE "C" NOT NULL,
    reason text COLLATE "C" NOT NULL,
    scorer_version text COLLATE "C" NOT NULL
);
CREATE TABLE rollup_images (
    decision_id bigint PRIMARY KEY,
    moment_ms bigint NOT NULL,
    key_id integer NOT NULL,
    flags smallint NOT NULL,
    blur_score double precision,
    resolution_score double precision,
    noise_score double precision,
    exposure_score double precision,
    compression_score double precision,
    pixelation_score double precision
);
"""

# Names can be longer than what a B-tree takes: hashes of them are looked up instead.
INDEXES = """
CREATE INDEX ix_decision_records_decided_at ON decision_records USING btree (decided_at);
CREATE INDEX ix_decision_records_sha256 ON decision_records USING hash (sha256);
CREATE INDEX ix_decision_records_relative_path ON decision_records USING hash (relative_path);
CREATE INDEX ix_quarantined_id ON decision_records USING btree (id) WHERE verdict = 'quarantined';
CREATE INDEX ix_intents_decision_id ON intents USING btree (decision_id);
CREATE INDEX ix_intents_destination_path ON intents USING hash (destination_path);
CREATE INDEX ix_intents_review_id ON intents USING btree (review_id) WHERE review_id IS NOT NULL;
CREATE INDEX ix_intents_previous_id ON intents USING btree (previous_id) WHERE previous_id IS NOT NULL;
CREATE INDEX ix_relocations_intent_id ON relocations USING btree (intent_id);
CREATE INDEX ix_review_records_decision_id ON review_records USING btree (decision_id);
CREATE INDEX ix_alert_records_found_at ON alert_records USING btree (found_at);
CREATE INDEX ix_alert_attempts_alert_id ON alert_attempts USING btree (alert_id);
CREATE INDEX ix_rollup_images_moment_ms ON rollup_images USING btree (moment_ms);
"""

KEYS = ("host", "source", "class", "camera", "preset", "profile", "verdict", "reason", "scorer_version")
SCORES = ("blur", "resolution", "noise", "exposure", "compression", "pixelation")

VIEWS = """
CREATE VIEW decisions AS
SELECT r.id, r.decided_at, l.host, r.source, r.class, r.relative_path, i.destination, r.sha256, r.size_bytes,
       r.verdict, r.reason, r.issues, r.score, r.blur_score, r.resolution_score, r.noise_score, r.exposure_score,
       r.compression_score, r.pixelation_score, r.measures, r.preset, r.profile, r.scorer_version,
       r.camera, r.duplicate_of, r.duration_ms, r.detail, r.image_format
FROM decision_records AS r
JOIN logs AS l ON l.number = (r.id >> 40)::integer
JOIN intents AS i ON i.decision_id = r.id AND i.role = 'image' AND i.review_id IS NULL
JOIN outcomes AS o ON o.intent_id = i.id AND o.outcome = 'moved';
CREATE VIEW reviews AS
SELECT v.id, v.reviewed_at, l.host, v.decision_id, v.action, v.who, v.why, coalesce(i.destination, '') AS destination,
       v.undoes, v.profile
FROM review_records AS v
JOIN logs AS l ON l.number = (v.id >> 40)::integer
LEFT JOIN intents AS i ON i.review_id = v.id AND i.role = 'image'
LEFT JOIN outcomes AS o ON o.intent_id = i.id
WHERE i.id IS NULL OR o.outcome IN ('moved', 'purged');
CREATE VIEW received AS
SELECT l.number AS log, l.host, l.root, l.uuid, l.parent, l.fork_sequence, l.registered_at,
       c.sequence AS last_sequence, c.received_at AS last_received_at
FROM logs AS l
LEFT JOIN LATERAL (SELECT sequence, received_at FROM chain WHERE log = l.number ORDER BY sequence DESC LIMIT 1) AS c
ON true;
"""


def _key_hash(alias: str) -> str:
    """Give the key in sixteen bytes; each part goes with its length, so that no two keys have the same text."""
    parts = (f"length({alias}.{name})::text || ':' || {alias}.{name}" for name in KEYS)
    return f"md5({' || '.join(parts)})"


def _rollup_function(schema: str) -> str:
    """Give the function that takes in images when the outcomes of their moves come; it runs with its owner's rights."""
    keys, scores = ", ".join(KEYS), ", ".join(f"{name}_score" for name in SCORES)
    moved = """
        FROM fresh AS o
        JOIN intents AS i ON i.id = o.intent_id AND i.role = 'image' AND i.review_id IS NULL
        JOIN decision_records AS d ON d.id = i.decision_id
        JOIN logs AS l ON l.number = (d.id >> 40)::integer
        WHERE o.outcome = 'moved'"""
    record = f"""
        SELECT d.id, l.host, d.source, d.class, d.camera, d.preset, d.profile::text AS profile, d.verdict, d.reason,
               d.scorer_version, d.decided_at, d.measures, d.duplicate_of,
               {", ".join(f"d.{name}_score" for name in SCORES)} {moved}"""
    number = "CASE WHEN json_typeof(r.measures -> '{0}') = 'number' THEN (r.measures ->> '{0}')::double precision END"
    over, under = number.format("overexposure"), number.format("underexposure")
    dark = f"r.exposure_score < 100 AND coalesce({over}, 0) < least(1.0, {under}) AND ({under}) IS NOT NULL"
    return f"""
CREATE FUNCTION take_in_moved() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = "{schema}", pg_temp AS $body$
BEGIN
    INSERT INTO rollup_keys ({keys})
    SELECT DISTINCT {keys} FROM ({record}) AS r
    WHERE NOT EXISTS (SELECT FROM rollup_keys AS k WHERE {_key_hash("k")} = {_key_hash("r")})
    ORDER BY {keys}
    ON CONFLICT DO NOTHING;
    INSERT INTO rollup_images (decision_id, moment_ms, key_id, flags, {scores})
    SELECT r.id,
           CASE WHEN r.decided_at ~ '^\\d{{4}}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{{3}}Z$'
                THEN (extract(epoch FROM r.decided_at::timestamptz) * 1000)::bigint ELSE 0 END,
           k.id,
           (coalesce({dark}, false))::integer + 2 * (r.duplicate_of IS NOT NULL)::integer,
           {", ".join(f"r.{name}_score" for name in SCORES)}
    FROM ({record}) AS r JOIN rollup_keys AS k ON {_key_hash("k")} = {_key_hash("r")}
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END $body$"""


def upgrade() -> None:
    """Create everything."""
    for statement in (*TABLES.split(";\n"), *INDEXES.split(";\n"), *VIEWS.split(";\n")):
        if statement.strip():
            op.get_bind().exec_driver_sql(statement.replace("%", "%%"))
    hashed = _key_hash("rollup_keys").replace("rollup_keys.", "")
    op.get_bind().exec_driver_sql(f"CREATE UNIQUE INDEX ix_rollup_keys_all ON rollup_keys ({hashed})")
    schema = op.get_bind().exec_driver_sql("SELECT current_schema()").scalar_one()
    op.get_bind().exec_driver_sql(_rollup_function(str(schema).replace('"', '""')).replace("%", "%%"))
    op.get_bind().exec_driver_sql("REVOKE ALL ON FUNCTION take_in_moved() FROM PUBLIC")
    op.get_bind().exec_driver_sql(
        "CREATE TRIGGER outcomes_take_in_moved AFTER INSERT ON outcomes REFERENCING NEW TABLE AS fresh "
        "FOR EACH STATEMENT EXECUTE FUNCTION take_in_moved()"
    )
