"""What the fleet's database has besides the tables of a log (`migrations/` makes them all).

`logs` has one row for each log, `chain` the links of all of them with the time at which each was received, `gaps` the
parts that had left a log for an archive before they could be sent, `odd_records` the rows that PostgreSQL cannot hold
as they are, with their exact bytes. The tables of records are those of a log, with numbers in place of ids
(`rules.py`). `rollup_images` and `rollup_keys` are kept by a trigger, in the transaction that adds the outcomes.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from imageguard_daemon.audit.rules import Kind
from imageguard_daemon.audit.schema import KINDS, chain

fleet_metadata = sa.MetaData()

logs = sa.Table(
    "logs",
    fleet_metadata,
    sa.Column("number", sa.Integer, sa.Identity(always=True), primary_key=True),
    *(sa.Column(name, sa.Text, nullable=False) for name in ("uuid", "host", "root")),
    sa.Column("parent", sa.Integer),
    sa.Column("fork_sequence", sa.BigInteger, nullable=False),
    sa.Column("fork_ids", sa.JSON, nullable=False),
    sa.Column("registered_at", sa.DateTime(timezone=True), nullable=False),
)

fleet_chain = sa.Table(
    "chain",
    fleet_metadata,
    sa.Column("log", sa.Integer, primary_key=True),
    *(sa.Column(column.name, column.type, primary_key=column.primary_key) for column in chain.columns),
    sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
)

TYPES: Mapping[Kind, str] = {
    Kind.integer: "bigint",
    Kind.number: "double precision",
    Kind.text: "text",
    Kind.json: "text",
    Kind.blob: "bytea",
}


LINK_KINDS = {"log": Kind.integer, **KINDS["chain"]}
"""What the columns of a link can hold."""


def insertion(table: str, kinds: Mapping[str, Kind]) -> str:
    """Give the statement that adds rows handed over as one JSON array (`as_json`); rows that are there stay."""
    types = ", ".join(f"{name} {TYPES[kind]}" for name, kind in kinds.items())
    values = ", ".join(f"{name}::json" if kind is Kind.json else name for name, kind in kinds.items())
    return (
        f"INSERT INTO {table} ({', '.join(kinds)}) SELECT {values} "
        f"FROM json_to_recordset(%s::json) AS given ({types}) ON CONFLICT DO NOTHING"
    )


def as_json(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write rows for `insertion`; bytes as PostgreSQL reads them. Arrays of each column take several times as long."""
    return json.dumps(rows, default=lambda value: f"\\x{value.hex()}")
