"""What a fleet's database must hold, told from the logs alone."""

import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg

from imageguard_daemon.audit.fleet.database import FleetAddress
from imageguard_daemon.audit.fleet.forwarding import Forwarder, Sender, Sent

NUMBERED = {
    "decision_records": ("id", "duplicate_of"),
    "review_records": ("id", "decision_id", "undoes"),
    "intents": ("id", "decision_id", "review_id", "previous_id"),
    "outcomes": ("id", "intent_id"),
    "relocations": ("id", "intent_id"),
    "alert_records": ("id",),
    "alert_attempts": ("id", "alert_id"),
    "archives": ("id",),
}
"""Tables of records, and the columns that say which record."""


JSON = {"issues", "measures", "profile", "evidence", "last_ids", "counts"}


def forward(database: Path, url: str, host: str = "one", **options: int) -> list[Sent]:
    """Send all that there is; give what each step did."""
    forwarder = Forwarder(database, FleetAddress(url), Sender(host, database.parent, **options))
    try:
        steps = [forwarder.step()]
        while steps[-1].behind or steps[-1].sent:
            steps.append(forwarder.step())
        return steps
    finally:
        forwarder.close()


def asked(url: str, query: str) -> list[tuple[Any, ...]]:
    """Ask the database."""
    with psycopg.connect(url) as connection:
        return connection.execute(query).fetchall()


def logs_there(url: str) -> dict[str, int]:
    """Give the numbers of logs by host; the latest of a host."""
    return dict(asked(url, "SELECT host, number FROM logs ORDER BY number"))


def differences(database: Path, url: str, log: int) -> list[str]:
    """Compare a log on disk with what is there under a number: every record, every column, every link, each once."""
    local = sqlite3.connect(database)
    local.row_factory = sqlite3.Row
    try:
        with psycopg.connect(url) as there:
            found = [one for table in NUMBERED for one in _in_one_table(local, there, table, log)]
            links = "SELECT sequence, record_table, record_id, hash FROM chain"
            here = [tuple(row) for row in local.execute(f"{links} ORDER BY sequence")]
            if here != there.execute(f"{links} WHERE log = %s ORDER BY sequence", (log,)).fetchall():
                found.append("the chains differ")
            moved = tuple(local.execute("SELECT count(*) FROM decisions").fetchone())
            rolled_up = "SELECT count(*) FROM rollup_images WHERE decision_id >> 40 = %s"
            if there.execute(rolled_up, (log,)).fetchone() != moved:
                found.append("the roll-ups are not of the images that moved")
    finally:
        local.close()
    return found


def _in_one_table(
    local: sqlite3.Connection, there: "psycopg.Connection[tuple[Any, ...]]", table: str, log: int
) -> list[str]:
    rows = [_numbered(dict(row), NUMBERED[table], log) for row in local.execute(f"SELECT * FROM {table}")]
    ours = {row["id"]: row for row in rows}
    names = list(rows[0]) if rows else ["id"]
    query = f"SELECT {', '.join(names)} FROM {table} WHERE id >> 40 = %s"
    theirs = [dict(zip(names, row, strict=True)) for row in there.execute(query, (log,))]
    found = [f"{table} {row['id']}: {ours.get(row['id'])} is {row}" for row in theirs if row != ours.get(row["id"])]
    return found if len(theirs) == len(ours) else [*found, f"{table}: {len(ours)} here, {len(theirs)} there"]


def _numbered(row: Mapping[str, Any], numbered: tuple[str, ...], log: int) -> dict[str, Any]:
    parsed = {name: json.loads(value) if name in JSON and value else value for name, value in row.items()}
    return parsed | {name: (log << 40) + row[name] for name in numbered if row[name] is not None}
