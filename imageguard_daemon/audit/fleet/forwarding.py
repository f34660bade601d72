"""Forwards a log to the fleet's PostgreSQL, link by link, each exactly once.

The truth about how far a log is there is the fleet's database itself: links and their rows are added in one
transaction, which first sees that the last link there is the one that these follow. So a batch of which nobody knows
whether it got in is not a problem, nor is a database that was put back to an earlier state. The log on disk is the
queue; nothing else is kept. A log that does not go on from what is there was itself put back from a backup and
written on: it becomes a branch of its own, and both histories stay (docs/decisions/0011-fleet.md).

In the database, `logs` has one row for each log, `chain` the links of all of them with the time at which each was
received, `gaps` the parts that had left a log for an archive before they could be sent, `odd_records` the rows that
PostgreSQL cannot hold as they are, with their exact bytes. The tables of records are those of a log, with numbers in
place of ids (`rules.py`). `rollup_images` and `rollup_keys` are kept by a trigger, in the transaction that adds the
outcomes.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from imageguard_daemon.audit.chain import ORIGIN, Head, Linked, encoded
from imageguard_daemon.audit.fleet.database import (
    LOCK_SPACE,
    FleetAddress,
    OddRowError,
    fleet_connection,
    may_prepare,
    one_line,
    open_fleet,
    prepare,
    require_version,
    translated,
    version_of,
)
from imageguard_daemon.audit.fleet.forwarded_log import ForwardedLog, LogExtent, LogIdentity, as_hash
from imageguard_daemon.audit.rules import Branch, Kind, MisfitError, fitted
from imageguard_daemon.audit.schema import CHAINED, KINDS, LINK_KINDS, REFERENCES, chain
from imageguard_daemon.core.errors import ImageguardError, StalledError
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


@dataclass(frozen=True, slots=True)
class Sender:
    """How a log is called in the fleet, and how it is sent."""

    host: str
    root: Path
    batch_records: int = 1_000


@dataclass(frozen=True, slots=True)
class Sent:
    """What a step has done: links sent, rows among them that are kept in another form, links that are still to send.

    `oldest` is when the first of those was recorded, by the host's clock. `missed` links had left the log for an
    archive before. `forked_at` is the last link in common, where the log has just become a branch.
    """

    sent: int = 0
    odd: int = 0
    behind: int = 0
    oldest: datetime | None = None
    missed: int = 0
    forked_at: int | None = None
    ahead: int = 0
    """So many links the fleet has beyond this log, which was put back from a backup and not written on since."""


class Forwarder:
    """Sends one log. One thread only; every step either did what it says, or raised and changed nothing.

    Raises:
        NoInputError, UnavailableError, UsageError: when made: no log, no psycopg, an address that makes no sense.
    """

    def __init__(self, database: Path, address: FleetAddress, sender: Sender) -> None:
        self._sender = sender
        self._address = address
        self._fleet = open_fleet(address, read_only=False)
        self._log = ForwardedLog(database)
        self._at: tuple[Branch, Head] | None = None
        self._confirmed = -1

    def close(self) -> None:
        """Let go of both databases."""
        self._fleet.dispose()
        self._log.close()

    def step(self) -> Sent:
        """Send one batch.

        Raises:
            StalledError: one of the databases is away, full, locked or read-only; try again later.
            PermissionDeniedError, UnavailableError: a person has to look; nothing is lost meanwhile.
        """
        try:
            return self._step()
        except ImageguardError:
            self._at = None  # whether the last batch got in is asked again
            self._fleet.dispose()
            raise

    def _step(self) -> Sent:
        if self._log.was_replaced():
            self._at = None
        extent = self._log.extent()
        forked_at = None
        if self._at is None or not self._goes_on_from(self._at[1], extent):
            forked_at = self._find_place(extent)
        branch, head = self._place
        if not self._goes_on_from(head, extent):  # put back from a backup, and nothing was recorded since
            return Sent(ahead=head.sequence - extent.sequence)
        linked = self._log.links_after(head.sequence, self._sender.batch_records)
        missed, odd = self._send(branch, head, linked) if linked else (0, 0)
        _, head = self._place
        # After the commit there: this note lets an archive take rows out of the log, and must not be ahead.
        self._confirm(head.sequence)
        behind = extent.sequence - head.sequence
        oldest = self._log.recorded_at(head.sequence + 1) if behind > 0 else None
        return Sent(len(linked), odd, max(behind, 0), oldest, missed, forked_at)

    @property
    def _place(self) -> tuple[Branch, Head]:
        assert self._at is not None  # noqa: S101 - for the type checker
        return self._at

    def _goes_on_from(self, head: Head, extent: LogExtent) -> bool:
        """Tell whether the log has the fleet's last link; one that was archived here meanwhile, it had."""
        return head.sequence < extent.anchor.sequence or self._hash_at(head.sequence, extent) == head.hash

    def _send(self, branch: Branch, head: Head, linked: list[Linked]) -> tuple[int, int]:
        first, last = linked[0][0]["sequence"], linked[-1][0]
        with self._connection() as connection:
            # The lock before the look: of two copies of one host, the second sees what the first has added.
            lock_log(connection, branch)
            if head_of(connection, branch) != head:
                raise StalledError("another process has forwarded the same log meanwhile")
            if first > head.sequence + 1:
                note_gap(connection, branch, head.sequence, first)
            odd = add_links(connection, branch, linked)
        self._at = branch, Head(last["sequence"], as_hash(last["hash"]))
        return first - head.sequence - 1, odd

    def _find_place(self, extent: LogExtent) -> int | None:
        """Ask how far the log is there; give the last link in common where it has just become a branch."""
        self._require_tables()
        with self._connection() as connection:
            branch = self._branch(connection)
            head = head_of(connection, branch)
            common = self._last_common(connection, branch, head, extent)
        if common is None:
            self._at = branch, head
            return None
        self._log.fork(common)
        with self._connection() as connection:
            branch = self._branch(connection)
            self._at = branch, head_of(connection, branch)
        return common

    def _branch(self, connection: sa.Connection) -> Branch:
        root = printable(str(self._sender.root))
        return branch_of(connection, self._log.identity(), self._sender.host, root)

    def _last_common(self, connection: sa.Connection, branch: Branch, head: Head, extent: LogExtent) -> int | None:
        """Give the last link that log and database have in common; None where one goes on from the other."""
        last = min(head.sequence, extent.sequence)
        if last < extent.anchor.sequence or self._agrees(connection, branch, last, extent):
            return None
        low, high = extent.anchor.sequence, last
        if not self._agrees(connection, branch, low, extent):
            return 0
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._agrees(connection, branch, middle, extent) else (low, middle)
        return low

    def _agrees(self, connection: sa.Connection, branch: Branch, sequence: int, extent: LogExtent) -> bool:
        return hash_at(connection, branch, sequence) == self._hash_at(sequence, extent)

    def _hash_at(self, sequence: int, extent: LogExtent) -> bytes | None:
        return extent.anchor.hash if sequence == extent.anchor.sequence else self._log.hash_at(sequence)

    def _require_tables(self) -> None:
        """See that the tables are there; make them where this role may."""
        with self._connection() as connection:
            older = not version_of(connection) and may_prepare(connection)
            if not older:
                require_version(connection, self._address)
        if older:
            prepare(self._fleet, self._address)

    def _confirm(self, sequence: int) -> None:
        if sequence != self._confirmed:
            self._log.confirm(sequence)
            self._confirmed = sequence

    def _connection(self) -> AbstractContextManager[sa.Connection]:
        return fleet_connection(self._fleet, str(self._address), self._address.timeout_seconds)


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


def lock_log(connection: sa.Connection, branch: Branch) -> None:
    """Have the log for ourselves until the transaction ends: two copies of one host must not both add to it."""
    connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s, %s)", (LOCK_SPACE, branch.number))


def note_gap(connection: sa.Connection, branch: Branch, after: int, following: int) -> None:
    """Note that links between these two had left the log before they could be sent."""
    connection.exec_driver_sql(_GAP, (branch.number, after, following))


def add_links(connection: sa.Connection, branch: Branch, linked: Sequence[Linked]) -> int:
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
            # A savepoint: without one, PostgreSQL would refuse the rest of the transaction after the first odd row.
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
