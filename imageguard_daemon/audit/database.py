"""The audit database as its writer opens it: pragmas, migrations, and what SQLite's errors mean to the caller."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, OperationalError

from imageguard_daemon.audit.schema import NEWEST_REVISION
from imageguard_daemon.audit.write_obstacles import hindrance, refusal
from imageguard_daemon.core.errors import (
    PermissionDeniedError,
    StalledError,
    StorageError,
    UnavailableError,
    retryable,
)

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
    for pragma in (
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_immediately(connection: sa.Connection) -> None:
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
        if isinstance(what, Path) and any(mark in message for mark in _VAGUE) and (obstacle := hindrance(what)):
            message = f"{(obstacle.strerror or message).lower()} ({obstacle.filename or what.parent})"
        raise _kind_of(error)(f"audit database {what}: {message}".replace(" :", ":")) from error


def _kind_of(error: DBAPIError) -> type[StalledError | StorageError | UnavailableError]:
    if getattr(error.orig, "sqlite_errorcode", None) in _NOT_KEPT:
        return StorageError
    passing = isinstance(error, OperationalError) and not any(word in str(error.orig) for word in _FOR_GOOD)
    return StalledError if passing else UnavailableError
