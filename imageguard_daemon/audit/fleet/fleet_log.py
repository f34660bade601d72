"""One log in the fleet's database: which it is, how far it is there, and how more of it gets in.

`logs` has one row for each log, `chain` the links of all of them with the time at which each was received, `gaps` the
parts that had left a log for an archive before they could be sent, `odd_records` the rows that PostgreSQL cannot hold
as they are, with their exact bytes. The tables of records are those of a log, with numbers in place of ids
(`rules.py`). `rollup_images` and `rollup_keys` are kept by a trigger, in the transaction that adds the outcomes.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from imageguard_daemon.audit.chain import ORIGIN, Head, Linked, encoded
from imageguard_daemon.audit.fleet.database import LOCK_SPACE
from imageguard_daemon.audit.fleet.errors import OddRowError, one_line, translated
from imageguard_daemon.audit.fleet.forwarded_log import LogIdentity, as_hash
from imageguard_daemon.audit.rules import Branch, Kind, MisfitError, fitted
from imageguard_daemon.audit.schema import CHAINED, KINDS, LINK_KINDS, REFERENCES, chain
from imageguard_daemon.core.names import printable

_metadata = sa.MetaData()

logs = sa.Table(
    "logs",
    _metadata,
    sa.Column("number", sa.Integer, sa.Identity(always=True), primary_key=True),
    *(sa.Column(name, sa.Text, nullable=False) for name in ("uuid", "host", "root")),
    sa.Column("parent", sa.Integer),
    sa.Column("fork_sequence", sa.BigInteger, nullable=False),
    sa.Column("fork_ids", sa.JSON, nullable=False),
    sa.Column("registered_at", sa.DateTime(timezone=True), nullable=False),
)

fleet_chain = sa.Table(
    "chain",
    _metadata,
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


_LINK_KINDS = {"log": Kind.integer, **LINK_KINDS}
_ODD = (
    "INSERT INTO odd_records (log, sequence, record_table, record_id, why, content) "
    "VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING"
)
_GAP = "INSERT INTO gaps (log, after_sequence, next_sequence) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"


def branch_of(connection: sa.Connection, identity: LogIdentity, host: str, root: str) -> Branch:
    """Find a log by its name, or register it."""
    number = _number_of(connection, identity.uuid)
    if number is None:
        _register(connection, identity, host, root)
        number = _number_of(connection, identity.uuid)
    return _branch(connection, number or 0)


def _number_of(connection: sa.Connection, uuid: str) -> int | None:
    return connection.scalar(sa.select(logs.c.number).where(logs.c.uuid == uuid))


def _register(connection: sa.Connection, identity: LogIdentity, host: str, root: str) -> None:
    """Make a log known. A branch whose parent this database has never seen is sent as a whole: it has all of it."""
    parent = _number_of(connection, identity.parent_uuid) if identity.parent_uuid else None
    connection.execute(
        sa.text(
            "INSERT INTO logs (uuid, host, root, parent, fork_sequence, fork_ids) "
            "VALUES (:uuid, :host, :root, :parent, :fork_sequence, CAST(:fork_ids AS json)) ON CONFLICT DO NOTHING"
        ),
        {
            "uuid": identity.uuid,
            "host": host,
            "root": root,
            "parent": parent,
            "fork_sequence": identity.fork_sequence if parent else 0,
            "fork_ids": json.dumps(dict(identity.fork_ids) if parent else {}),
        },
    )


def _branch(connection: sa.Connection, number: int) -> Branch:
    row = connection.execute(sa.select(logs).where(logs.c.number == number)).one()
    parent = _branch(connection, row.parent) if row.parent is not None else None
    return Branch(number, parent, row.fork_sequence, row.fork_ids)


def head_of(connection: sa.Connection, branch: Branch) -> Head:
    """Give the last link that is there; for a branch that has none yet, the one it shares with its parent."""
    query = sa.select(fleet_chain.c.sequence, fleet_chain.c.hash).where(fleet_chain.c.log == branch.number)
    row = connection.execute(query.order_by(fleet_chain.c.sequence.desc()).limit(1)).first()
    if row is not None:
        return Head(row.sequence, bytes(row.hash))
    if branch.parent is None:
        return Head()
    return Head(branch.fork_sequence, hash_at(connection, branch, branch.fork_sequence) or ORIGIN)


def hash_at(connection: sa.Connection, branch: Branch, sequence: int) -> bytes | None:
    """Give the hash of a link of the log or of what it goes on from; None for one that is not there."""
    if sequence == 0:
        return ORIGIN
    where = (fleet_chain.c.log == branch.of_link(sequence).number, fleet_chain.c.sequence == sequence)
    link_hash = connection.scalar(sa.select(fleet_chain.c.hash).where(*where))
    return None if link_hash is None else bytes(link_hash)


def lock(connection: sa.Connection, branch: Branch) -> None:
    """Have the log for ourselves until the transaction ends: two copies of one host must not both add to it."""
    connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s, %s)", (LOCK_SPACE, branch.number))


def note_gap(connection: sa.Connection, branch: Branch, after: int, following: int) -> None:
    """Note that links between these two had left the log before they could be sent."""
    connection.exec_driver_sql(_GAP, (branch.number, after, following))


def add(connection: sa.Connection, branch: Branch, linked: Sequence[Linked]) -> int:
    """Add links with their rows, in the transaction that is open; give how many rows could not be kept as they are.

    Those are set aside with their bytes; what PostgreSQL refuses is found by halves, so that the others get in.
    """
    batch = _Batch(connection, branch)
    for link, row in linked:
        batch.take(link, row)
    # Records before links, in the order of CHAINED: outcomes come after the intents that their trigger looks up.
    for table in CHAINED:
        batch.insert(table, batch.waiting[table])
    links = [(branch.number, link["sequence"], *_names(link), as_hash(link["hash"])) for link, _ in linked]
    given = _as_json([dict(zip(_LINK_KINDS, link, strict=True)) for link in links])
    connection.exec_driver_sql(_insertion("chain", _LINK_KINDS), (given,))
    return batch.odd


def _names(link: Mapping[str, Any]) -> tuple[str, int]:
    """Say which record a link names; one that somebody has tampered with may name anything."""
    number = link["record_id"]
    return printable(str(link["record_table"])), number if isinstance(number, int) else -1


def _insertion(table: str, kinds: Mapping[str, Kind]) -> str:
    """Give the statement that adds rows handed over as one JSON array (`_as_json`); rows that are there stay."""
    types = ", ".join(f"{name} {TYPES[kind]}" for name, kind in kinds.items())
    values = ", ".join(f"{name}::json" if kind is Kind.json else name for name, kind in kinds.items())
    return (
        f"INSERT INTO {table} ({', '.join(kinds)}) SELECT {values} "
        f"FROM json_to_recordset(%s::json) AS given ({types}) ON CONFLICT DO NOTHING"
    )


def _as_json(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write rows for `_insertion`; bytes as PostgreSQL reads them. Arrays of each column take several times as long."""
    return json.dumps(rows, default=lambda value: f"\\x{value.hex()}")


class _Batch:
    """Rows on their way into the tables."""

    def __init__(self, connection: sa.Connection, branch: Branch) -> None:
        self._connection = connection
        self._branch = branch
        self.waiting: dict[str, list[tuple[Linked, dict[str, Any]]]] = {table: [] for table in CHAINED}
        self.odd = 0

    def take(self, link: dict[str, Any], row: dict[str, Any] | None) -> None:
        table = link["record_table"]
        if row is None or table not in KINDS:
            self._set_aside((link, row), "the log has no such record")
            return
        try:
            values = fitted(row, KINDS[table])
            numbered = {"id": table, **REFERENCES[table]}
            numbers = {
                name: self._branch.number_of(of, values[name])
                for name, of in numbered.items()
                if values[name] is not None
            }
        except (MisfitError, ValueError) as error:
            self._set_aside((link, row), str(error))
            return
        if any(values[name] != row.get(name) for name in values):
            self._set_aside((link, row), "a text was escaped")
        self.waiting[table].append(((link, row), values | numbers))

    def insert(self, table: str, rows: list[tuple[Linked, dict[str, Any]]]) -> None:
        if not rows:
            return
        kinds = KINDS[table]
        given = _as_json([values for _, values in rows])
        try:
            with self._connection.begin_nested():
                self._connection.exec_driver_sql(_insertion(table, kinds), (given,))
        except DBAPIError as error:
            if not isinstance(translated(error, ""), OddRowError):
                raise
            if len(rows) == 1:
                self._set_aside(rows[0][0], one_line(str(error.orig)))
                return
            middle = len(rows) // 2
            self.insert(table, rows[:middle])
            self.insert(table, rows[middle:])

    def _set_aside(self, linked: Linked, why: str) -> None:
        link, row = linked
        self.odd += 1
        content = None if row is None else encoded(row)
        place = (self._branch.number, link["sequence"], *_names(link))
        self._connection.exec_driver_sql(_ODD, (*place, printable(why), content))
