"""Forwards a log to the fleet's PostgreSQL, link by link, each exactly once.

The truth about how far a log is there is the fleet's database itself: links and their rows are added in one
transaction, which first sees that the last link there is the one that these follow. So a batch of which nobody knows
whether it got in is not a problem, nor is a database that was put back to an earlier state. The log on disk is the
queue; nothing else is kept. A log that does not go on from what is there was itself put back from a backup and
written on: it becomes a branch of its own, and both histories stay (docs/decisions/0011-fleet.md).
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa

from imageguard_daemon.audit.chain import Head, Linked
from imageguard_daemon.audit.fleet import fleet_log
from imageguard_daemon.audit.fleet.database import (
    FleetAddress,
    fleet_connection,
    may_prepare,
    open_fleet,
    prepare,
    require_version,
    version_of,
)
from imageguard_daemon.audit.fleet.forwarded_log import ForwardedLog, LogExtent, as_hash
from imageguard_daemon.audit.rules import Branch
from imageguard_daemon.core.errors import ImageguardError, StalledError
from imageguard_daemon.core.names import printable


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
            fleet_log.lock(connection, branch)
            if fleet_log.head_of(connection, branch) != head:
                raise StalledError("another process has forwarded the same log meanwhile")
            if first > head.sequence + 1:
                fleet_log.note_gap(connection, branch, head.sequence, first)
            odd = fleet_log.add(connection, branch, linked)
        self._at = branch, Head(last["sequence"], as_hash(last["hash"]))
        return first - head.sequence - 1, odd

    def _find_place(self, extent: LogExtent) -> int | None:
        """Ask how far the log is there; give the last link in common where it has just become a branch."""
        self._require_tables()
        with self._connection() as connection:
            branch = self._branch(connection)
            head = fleet_log.head_of(connection, branch)
            common = self._last_common(connection, branch, head, extent)
        if common is None:
            self._at = branch, head
            return None
        self._log.fork(common)
        with self._connection() as connection:
            branch = self._branch(connection)
            self._at = branch, fleet_log.head_of(connection, branch)
        return common

    def _branch(self, connection: sa.Connection) -> Branch:
        root = printable(str(self._sender.root))
        return fleet_log.branch_of(connection, self._log.identity(), self._sender.host, root)

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
        return fleet_log.hash_at(connection, branch, sequence) == self._hash_at(sequence, extent)

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
