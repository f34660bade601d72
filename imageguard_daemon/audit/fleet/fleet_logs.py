"""Which logs the fleet's database has."""

from dataclasses import dataclass

from imageguard_daemon.audit.fleet.database import FleetAddress
from imageguard_daemon.audit.fleet.store import FleetStore
from imageguard_daemon.core.timestamps import seconds_timestamp

_QUERY = """
SELECT r.log, r.host, r.root, r.last_sequence, r.last_received_at, r.parent, r.fork_sequence,
       (SELECT count(*) FROM chain WHERE log = r.log) AS records,
       (SELECT count(*) FROM odd_records WHERE log = r.log) AS odd,
       (SELECT coalesce(sum(next_sequence - after_sequence - 1), 0) FROM gaps WHERE log = r.log) AS missed
FROM received AS r ORDER BY r.host, r.log"""


@dataclass(frozen=True, slots=True)
class ReceivedLog:
    """One log: how many records of it are there, and when the last came, by the database's clock (ISO 8601, UTC)."""

    log: int
    host: str
    root: str
    records: int
    last_received_at: str
    parent: int | None
    fork_sequence: int
    odd: int
    missed: int


def received_logs(address: FleetAddress) -> list[ReceivedLog]:
    """Give all logs, by host.

    Raises:
        PermissionDeniedError, UnavailableError, StalledError: the database cannot be read; the message says why.
    """
    with FleetStore(address, address.timeout_seconds) as fleet, fleet.reading() as connection:
        rows = connection.exec_driver_sql(_QUERY).all()
    return [
        ReceivedLog(
            row.log,
            row.host,
            row.root,
            row.records,
            seconds_timestamp(row.last_received_at) if row.last_received_at else "",
            row.parent,
            row.fork_sequence,
            row.odd,
            int(row.missed),
        )
        for row in rows
    ]
