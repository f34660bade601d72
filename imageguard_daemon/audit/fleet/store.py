"""The logs of a fleet in PostgreSQL, opened for questions; their roll-ups are packed by the server, hour by hour."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa

from imageguard_daemon.audit.fleet.database import FleetAddress, fleet_connection, open_fleet, require_version
from imageguard_daemon.audit.rollups import HOUR_MS
from imageguard_daemon.audit.store import PackedHour, Store, UnpackedImage
from imageguard_daemon.core.model import MAX_INT64, MIN_INT64, SCORE_NAMES
from imageguard_daemon.core.timestamps import seconds_timestamp

READING_SECONDS = 600.0
"""No question takes longer, however large the fleet."""
_DAY_MS = 24 * HOUR_MS
# What int8send and its like give: big-endian, one image after the other.
_PLAIN = [("moments", ">i8"), ("ids", ">i8"), ("keys", ">u4"), ("flags", ">i2")]
_WITH_SCORES = [*_PLAIN, ("scores", ">f8", (len(SCORE_NAMES),))]
_SENT = "int8send(moment_ms) || int8send(decision_id) || int4send(key_id) || int2send(flags)"
_SCORES = " || ".join(f"float8send(coalesce({name}, 'NaN'))" for name in SCORE_NAMES)
_NEXT = "SELECT min(moment_ms) FROM rollup_images WHERE moment_ms >= %s"
_LAST = "SELECT max(moment_ms) FROM rollup_images WHERE moment_ms < %s"
_RECEIVED = """
SELECT r.log, r.host, r.root, r.last_sequence, r.last_received_at, r.parent, r.fork_sequence,
       (SELECT count(*) FROM chain WHERE log = r.log) AS records,
       (SELECT count(*) FROM odd_records WHERE log = r.log) AS odd,
       (SELECT coalesce(sum(next_sequence - after_sequence - 1), 0) FROM gaps WHERE log = r.log) AS missed
FROM received AS r ORDER BY r.host, r.log"""


class FleetStore(Store):
    """The `Store` of a fleet's database, cut off when a question takes longer than so many seconds.

    Raises:
        PermissionDeniedError, UnavailableError, UsageError, StalledError: it cannot be read; the message says why.
    """

    def __init__(self, address: FleetAddress, seconds: float = READING_SECONDS) -> None:
        self._address = address
        self._seconds = seconds
        self._engine = open_fleet(address, read_only=True)
        try:
            with self.reading() as connection:
                require_version(connection, address)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the connection; the next question makes another."""
        self._engine.dispose()

    def reading(self) -> AbstractContextManager[sa.Connection]:
        """Read from one moment of the database, for a bounded time."""
        return fleet_connection(self._engine, str(self._address), self._seconds)

    def require_rollups(self, connection: sa.Connection) -> None:
        """Ask nothing: a database of another version was refused when it was opened."""

    def span_ms(self, connection: sa.Connection) -> tuple[int, int]:
        """Give the first and the last moment."""
        first, last = connection.exec_driver_sql("SELECT min(moment_ms), max(moment_ms) FROM rollup_images").one()
        return first or 0, last or 0

    def hours(
        self, connection: sa.Connection, span_ms: tuple[int, int], *, scores: bool, newest_first: bool
    ) -> Iterator[PackedHour]:
        """Yield the hours from one moment to another; a day is asked for at a time."""
        order = "DESC" if newest_first else "ASC"
        sent = f"{_SENT} || {_SCORES}" if scores else _SENT
        query = (
            f"SELECT hour, count(*), string_agg({sent}, ''::bytea) FROM "
            f"(SELECT *, floor(moment_ms / {HOUR_MS}.0)::bigint AS hour FROM rollup_images "
            f"WHERE moment_ms >= %s AND moment_ms < %s) AS of_day GROUP BY hour ORDER BY hour {order}"
        )
        for day in _days(connection, span_ms, newest_first=newest_first):
            begin = max(day * _DAY_MS, span_ms[0])
            end = min((day + 1) * _DAY_MS, span_ms[1])
            for hour, images, packed in connection.exec_driver_sql(query, (begin, end)):
                yield _packed_hour(hour, images, packed, scores=scores)

    def unpacked(self, connection: sa.Connection) -> list[UnpackedImage]:  # noqa: ARG002 - the protocol's
        """Give none: the server packs whatever it has when it is asked."""
        return []

    def sampled_keys(
        self,
        connection: sa.Connection,  # noqa: ARG002 - the protocol's
        span_ms: tuple[int, int],  # noqa: ARG002
        one_hour_of: int,  # noqa: ARG002
    ) -> Iterator[bytes] | None:
        """Give none: the server would go through the rows of all hours to leave some out."""
        return None


def _days(connection: sa.Connection, span_ms: tuple[int, int], *, newest_first: bool) -> Iterator[int]:
    """Yield the days that have images; a clock that was years off costs no walk over the years between."""
    first, last = (max(MIN_INT64, min(moment, MAX_INT64)) for moment in span_ms)
    while True:
        query, bound = (_LAST, last) if newest_first else (_NEXT, first)
        moment = connection.exec_driver_sql(query, (bound,)).scalar()
        if moment is None or not span_ms[0] <= moment < span_ms[1]:
            return
        day = int(moment) // _DAY_MS
        yield day
        first, last = (day + 1) * _DAY_MS, day * _DAY_MS


def _packed_hour(hour: int, images: int, packed: Any, *, scores: bool) -> PackedHour:
    columns = np.frombuffer(bytes(packed), np.dtype(_WITH_SCORES if scores else _PLAIN))
    return PackedHour(
        hour,
        images,
        columns["moments"].astype("<i8").tobytes(),
        columns["keys"].astype("<u4").tobytes(),
        columns["flags"].astype("u1").tobytes(),
        columns["ids"].astype("<i8").tobytes(),
        columns["scores"].astype("<f8").tobytes() if scores else b"",
    )


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
        rows = connection.exec_driver_sql(_RECEIVED).all()
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
