"""A log in a file of SQLite, opened read-only: the daemon may be writing to it at the same time."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from imageguard_daemon.audit.database import BUSY_TIMEOUT_MS, translated_errors
from imageguard_daemon.audit.rollups import HOUR_MS
from imageguard_daemon.audit.schema import CHAINED, NEWEST_REVISION
from imageguard_daemon.audit.store import PackedHour, Store, UnpackedImage
from imageguard_daemon.core.errors import NoInputError, PermissionDeniedError, UnavailableError
from imageguard_daemon.core.model import SCORE_NAMES

_HOURS_AT_A_TIME = 24
_PACKED = [name for name in PackedHour._fields if name != "scores"]


class SqliteStore(Store):
    """The `Store` of one file. With `any_text`, text that is not UTF-8 is read, not an error: `verify` must see it.

    Raises:
        NoInputError: there is none.
        PermissionDeniedError: this account may not read it.
    """

    def __init__(self, path: Path, *, any_text: bool = False) -> None:
        if _is_closed_to_us(path):
            raise PermissionDeniedError(f"no permission to read the audit database {path}")
        if not _is_readable_file(path):
            raise NoInputError(
                f"no audit database at {path} that can be read; name a ROOT, --config or --db FILE that has one"
            )
        self._path = path
        self._any_text = any_text
        self._engine = sa.create_engine("sqlite://", creator=self._connect, poolclass=sa.StaticPool)

    def _connect(self) -> sqlite3.Connection:
        # By URI, as only there it can be told to make no file; query_only guards against our own mistakes.
        connection = sqlite3.connect(f"{self._path.resolve().as_uri()}?mode=ro", uri=True, check_same_thread=False)
        connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        connection.execute("PRAGMA query_only=ON")
        if self._any_text:
            connection.text_factory = lambda content: content.decode("utf-8", "surrogateescape")
        return connection

    def close(self) -> None:
        """Let go of the file; the next question opens it again."""
        self._engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Read from one moment of the log."""
        with translated_errors(self._path), self._engine.connect() as connection:
            # Without this, sqlite3 reads outside a transaction and every statement sees a newer log.
            connection.exec_driver_sql("BEGIN")
            yield connection

    def require_complete(self) -> None:
        """See that the log has all tables of records.

        Raises:
            UnavailableError: it is from before there were reviews, or is not an audit log.
        """
        with self.reading() as connection:
            tables = _tables(connection)
        if tables.issuperset(CHAINED):
            return
        raise UnavailableError(
            f"the audit database {self._path} was made by an older version; start the daemon once, or use --repair: "
            "both bring it up to date"
            if "intents" in tables
            else f"audit database {self._path}: holds no decisions of imageguard-daemon"
        )

    def require_rollups(self, connection: sa.Connection) -> None:
        """See that there are roll-ups that this version can read."""
        tables = _tables(connection)
        if "rollup_hours" not in tables:
            raise UnavailableError(
                "the audit database was made by an older version; start the daemon once: it brings it up to date"
                if "intents" in tables
                else "the audit database holds no decisions of imageguard-daemon"
            )
        version = connection.exec_driver_sql("SELECT max(version_num) FROM alembic_version").scalar()
        if str(version) > NEWEST_REVISION:
            raise UnavailableError(
                f"the audit database was made by a newer version of imageguard-daemon (revision {version}); "
                "update this one"
            )

    def span_ms(self, connection: sa.Connection) -> tuple[int, int]:
        """Give the first and the last moment, that of packed images to the hour."""
        query = (
            f"SELECT min(begin), max(until) FROM (SELECT min(hour) * {HOUR_MS} AS begin, "
            f"(max(hour) + 1) * {HOUR_MS} AS until FROM rollup_hours "
            "UNION ALL SELECT min(moment_ms), max(moment_ms) FROM rollup_recent)"
        )
        first, last = connection.exec_driver_sql(query).one()
        return first or 0, last or 0

    def hours(
        self, connection: sa.Connection, span_ms: tuple[int, int], *, scores: bool, newest_first: bool
    ) -> Iterator[PackedHour]:
        """Yield the hours as they are stored, a day of them in memory at a time."""
        names, order = ", ".join(PackedHour._fields if scores else _PACKED), "DESC" if newest_first else "ASC"
        query = f"SELECT {names} FROM rollup_hours WHERE hour >= ? AND hour <= ? ORDER BY hour {order}"
        streaming = connection.execution_options(yield_per=_HOURS_AT_A_TIME)
        yield from (PackedHour(*row) for row in streaming.exec_driver_sql(query, _hours_of(span_ms)))

    def unpacked(self, connection: sa.Connection) -> list[UnpackedImage]:
        """Give the images that the writer has not packed yet."""
        names = ", ".join(("moment_ms", "key_id", "flags", "decision_id", *SCORE_NAMES))
        return [tuple(row) for row in connection.exec_driver_sql(f"SELECT {names} FROM rollup_recent")]

    def sampled_keys(
        self, connection: sa.Connection, span_ms: tuple[int, int], one_hour_of: int
    ) -> Iterator[bytes] | None:
        """Yield the keys of some hours; their column alone is read."""
        query = f"SELECT keys FROM rollup_hours WHERE hour >= ? AND hour <= ? AND hour % {one_hour_of} = 0"
        return iter(connection.exec_driver_sql(query, _hours_of(span_ms)).scalars())


def _hours_of(span_ms: tuple[int, int]) -> tuple[int, int]:
    return span_ms[0] // HOUR_MS, span_ms[1] // HOUR_MS


def _tables(connection: sa.Connection) -> set[str]:
    return set(connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'").scalars())


def _is_closed_to_us(path: Path) -> bool:
    try:
        return path.is_file() and not os.access(path, os.R_OK, effective_ids=True)
    except PermissionError:
        return True
    except OSError:
        return False


def _is_readable_file(path: Path) -> bool:
    try:
        return path.is_file() and os.access(path, os.R_OK)
    except OSError:
        return False
