"""The audit database, one file of SQLite: opened to write, opened to read, and what its errors mean to the caller.

Whoever writes takes SQLite's write lock as a transaction begins. Any number read meanwhile, each from one moment of the
log, and neither waits for the other: that is what its WAL is for.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, OperationalError

from imageguard_daemon.audit.rollups import HOUR_MS
from imageguard_daemon.audit.schema import CHAINED, NEWEST_REVISION
from imageguard_daemon.audit.store import PackedHour, Store, UnpackedImage
from imageguard_daemon.audit.write_obstacles import hindrance, refusal
from imageguard_daemon.core.errors import (
    NoInputError,
    PermissionDeniedError,
    StalledError,
    StorageError,
    UnavailableError,
    retryable,
)
from imageguard_daemon.core.model import SCORE_NAMES

if TYPE_CHECKING:
    from alembic.config import Config

BUSY_TIMEOUT_MS = 5_000
_NOT_KEPT = {
    *(sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC),
    *(sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_TRUNCATE),
}
"""After one of these a later success proves nothing: what should have been written may be gone for good."""
_OPERATIONS_BETWEEN_NEWS = 10_000
_MESSAGES = {
    "no such table": "holds no decisions of imageguard-daemon",
    "no such column": "was made by an older version; start the daemon once: it brings it up to date",
}
_VAGUE = ("disk I/O error", "is full", "readonly", "unable to open", "access permission")
_FOR_GOOD = ("malformed", "not a database", *_MESSAGES)
_HOURS_AT_A_TIME = 24
_PACKED = [name for name in PackedHour._fields if name != "scores"]


def open_for_writing(path: Path, on_progress: Callable[[], None] = lambda: None, *, upgrade: bool = True) -> sa.Engine:
    """Open or create the database at `path` and bring its schema up to date.

    That takes minutes for millions of records; `on_progress` is called many times a second meanwhile. The journal is a
    WAL with `synchronous=FULL`: a commit that returned survives a power cut. Without `upgrade` the database must be up
    to date: the tables of a running daemon are not changed under it.

    Raises:
        StalledError: it is locked or its disk is full or read-only.
        PermissionDeniedError: this account may not write to it, or beside it.
        StorageError: its disk did not keep what was written.
        UnavailableError: it is damaged, was made by a newer version of this package, or must not be upgraded now.
    """
    require_permission(path)
    engine = sa.create_engine(sa.URL.create("sqlite", database=str(path)), poolclass=sa.StaticPool)
    sa.event.listen(engine, "connect", _prepare_writer)
    sa.event.listen(engine, "begin", _begin_immediately)
    try:
        with translated_errors(path):
            _bring_up_to_date(engine, path, on_progress, upgrade=upgrade)
    except BaseException:
        engine.dispose()
        raise
    return engine


def require_permission(path: Path) -> None:
    """Look whether this account may write to a log, its other files and its folder, before SQLite puts it vaguely.

    Raises:
        PermissionDeniedError: naming the one that it may not write to.
    """
    if path.parent.is_dir() and isinstance(refused := refusal(path), PermissionError):
        raise PermissionDeniedError(f"audit database: no permission to write {refused.filename}")


def _prepare_writer(connection: sqlite3.Connection, _record: object) -> None:
    # The sqlite3 module would begin late and leave CREATE TABLE outside: a crash could leave half a schema.
    connection.isolation_level = None
    # With a WAL, SQLite syncs at each commit only when told FULL; foreign keys are off unless asked for, every time.
    for pragma in (
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_immediately(connection: sa.Connection) -> None:
    # A transaction that reads first and then wants to write is refused at once, without waiting, when another has
    # written meanwhile; and what it had read, the head of the chain, would be old.
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _bring_up_to_date(engine: sa.Engine, path: Path, on_progress: Callable[[], None], *, upgrade: bool) -> None:
    with engine.begin() as connection:
        if _is_up_to_date(connection):
            return
    from alembic.config import Config  # noqa: PLC0415 - slow to import, and hardly ever needed
    from alembic.util import CommandError  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", "imageguard_daemon.audit:migrations")
    try:
        with engine.begin() as connection:
            if upgrade:
                _upgrade(connection, config, on_progress)
            else:
                _require_up_to_date(connection, config, path)
    except CommandError as error:
        raise UnavailableError(
            f"the audit database {path} was made by a newer version of imageguard-daemon ({error})"
        ) from error
    except OSError as error:  # of reading the migrations; what the database itself meets is not an OSError
        raise retryable(error, f"cannot bring the audit database {path} up to date") from error


def _is_up_to_date(connection: sa.Connection) -> bool:
    if not sa.inspect(connection).has_table("alembic_version"):
        return False
    return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalars().all() == [NEWEST_REVISION]


def _upgrade(connection: sa.Connection, config: "Config", on_progress: Callable[[], None]) -> None:
    from alembic import command  # noqa: PLC0415

    config.attributes["connection"] = connection
    with _progress_reported(connection, on_progress):
        command.upgrade(config, "head")


def _require_up_to_date(connection: sa.Connection, config: "Config", path: Path) -> None:
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    revision = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    ScriptDirectory.from_config(config).get_revision(str(revision))  # CommandError for one we do not know
    raise UnavailableError(
        f"the daemon on {path.parent} is of an older version than this command; restart it, then try again"
    )


@contextmanager
def _progress_reported(connection: sa.Connection, on_progress: Callable[[], None]) -> Iterator[None]:
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)  # noqa: S101 - for the type checker
    driver.set_progress_handler(on_progress, _OPERATIONS_BETWEEN_NEWS)
    try:
        yield
    finally:
        driver.set_progress_handler(None, 0)


@contextmanager
def translated_errors(what: object = "") -> Iterator[None]:
    """Turn database errors into ours: what passes, what stays, and what says that the disk cannot be trusted."""
    try:
        yield
    except DBAPIError as error:
        message = next((words for mark, words in _MESSAGES.items() if mark in str(error.orig)), str(error.orig))
        is_vague = any(mark in message for mark in _VAGUE)
        if isinstance(what, Path) and is_vague and (obstacle := hindrance(what)):
            message = f"{(obstacle.strerror or message).lower()} ({obstacle.filename or what.parent})"
        raise _kind_of(error)(f"audit database {what}: {message}".replace(" :", ":")) from error


def _kind_of(error: DBAPIError) -> type[StalledError | StorageError | UnavailableError]:
    if getattr(error.orig, "sqlite_errorcode", None) in _NOT_KEPT:
        return StorageError
    passing = isinstance(error, OperationalError) and not any(word in str(error.orig) for word in _FOR_GOOD)
    return StalledError if passing else UnavailableError


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
        names = ", ".join(PackedHour._fields if scores else _PACKED)
        order = "DESC" if newest_first else "ASC"
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
        return path.is_file() and os.access(path, os.R_OK, effective_ids=True)
    except OSError:
        return False
