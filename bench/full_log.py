"""A log of millions of records, made by SQL in minutes: real tables, indexes, triggers and sizes of rows.

What each row says is that of one real image, with its own name, time and random content hash. The links of the hash
chain are random, too: `verify` would find fault with them, but a writer has as much to do beside them as ever.
"""

import sqlite3
from pathlib import Path

from imageguard_daemon.audit.writer import AuditWriter
from imageguard_daemon.core.model import Candidate, FileIdentity, Intent, JudgedFile, Measurement, Outcome
from imageguard_daemon.quality.policy import PRESETS, decide
from tests.helpers.pipeline_bench import GOOD

RECORDS_OF_AN_IMAGE = 3
"""One in `decision_records`, one in `intents`, one in `outcomes`; and as many links in `chain`, not counted here."""
_OF_ITS_OWN = {
    "decision_records": {
        "id": "n",
        "decided_at": "strftime('%Y-%m-%dT%H:%M:%S.000Z', 1600000000 + n * 5, 'unixepoch')",
        "relative_path": "printf('old%04d/%07d.jpg', n / 1000, n)",
        "sha256": "lower(hex(randomblob(32)))",
    },
    "intents": {
        "id": "n",
        "decision_id": "n",
        "source_path": "CAST(printf('/srv/ingest/inbox/old%04d/%07d.jpg', n / 1000, n) AS BLOB)",
        "destination_path": "CAST(printf('/srv/ingest/accepted/old%04d/%07d.jpg', n / 1000, n) AS BLOB)",
        "destination": "printf('accepted/old%04d/%07d.jpg', n / 1000, n)",
    },
    "outcomes": {"id": "n", "intent_id": "n"},
}
_FIRST = "(SELECT * FROM {} WHERE id = 1) JOIN numbers"
_LINKS = """
    INSERT INTO chain (sequence, record_table, record_id, hash) SELECT n, 'outcomes', n / 3, randomblob(32) FROM numbers
"""
_NUMBERS = "WITH RECURSIVE numbers(n) AS (SELECT {} UNION ALL SELECT n + 1 FROM numbers WHERE n < {})"


def fill_log(database: Path, root: Path, records: int) -> int:
    """Make a log of so many records below `root`; give the number of images they are about."""
    _record_one(database, root)
    images = records // RECORDS_OF_AN_IMAGE
    connection = sqlite3.connect(database, isolation_level=None)
    connection.executescript("PRAGMA journal_mode=MEMORY; PRAGMA synchronous=OFF; PRAGMA cache_size=-500000")
    made = connection.execute(
        "SELECT type, name, sql FROM sqlite_master WHERE type IN ('index', 'trigger') AND sql IS NOT NULL"
    ).fetchall()
    connection.execute("BEGIN")
    for kind, name, _ in made:  # rows go in faster without, and an index is sorted at once at the end
        connection.execute(f"DROP {kind} {name}")
    for table, own in _OF_ITS_OWN.items():
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        values = ", ".join(own.get(column, column) for column in columns)
        numbers = _NUMBERS.format(2, images)
        connection.execute(f"{numbers} INSERT INTO {table} SELECT {values} FROM {_FIRST.format(table)}")
    numbers = _NUMBERS.format(RECORDS_OF_AN_IMAGE + 1, images * RECORDS_OF_AN_IMAGE)
    connection.execute(f"{numbers} {_LINKS}")
    for *_, sql in made:
        connection.execute(sql)
    connection.execute("COMMIT")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
    return images


def _record_one(database: Path, root: Path) -> None:
    writer = AuditWriter(database, root)
    measurement = Measurement("0" * 64, GOOD, image_format="JPEG", identity=FileIdentity(1, 2, 50_000, 10**18, 10**18))
    intent = Intent("image", f"{root}/inbox/a.jpg", f"{root}/accepted/a.jpg", "0" * 64, FileIdentity(1, 2, 3, 4, 5))
    decision = decide(measurement, "general", PRESETS["general"])
    [(recorded,)] = writer.record_intents(
        [JudgedFile(Candidate("default", "old/a.jpg"), "old", measurement, decision, (intent,))]
    )
    writer.record_outcomes([Outcome(recorded.intent_id, "moved")])
    writer.close()
