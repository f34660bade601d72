"""Opening the fleet's PostgreSQL: by address, within time limits, at the right version. Needs the extra `fleet`.

What goes wrong with it is told in our words: what passes, what a person must change, which row is at fault.
"""

import os
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from imageguard_daemon.core.errors import (
    ImageguardError,
    PermissionDeniedError,
    RetryableError,
    StalledError,
    UnavailableError,
    UsageError,
)

SCHEMES = ("postgresql://", "postgres://")
LOCK_SPACE = 0x1346
"""Of our advisory locks: with 0 the one for migrations, with a log's number the one for adding to it."""
_QUIET = {"connect_timeout": 10, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
"""Unless the address says otherwise: nobody waits for long for a server that is not there."""
_NOT_ALLOWED = {"28000", "28P01", "42501"}
_NOT_THERE = {"3D000", "3F000", "42P01", "42703", "42883"}
_OF_ONE_ROW = ("22", "23", "54")
"""Classes of SQLSTATE: a value does not fit, a constraint refuses it, it is too long for an index."""
# A connection that is refused comes without a SQLSTATE; servers that speak another language fall through.
_AT_CONNECTING = (
    (
        re.compile(r"authentication failed|no password supplied|pg_hba\.conf|role .* does not exist"),
        PermissionDeniedError,
    ),
    (re.compile(r"permission denied for database"), PermissionDeniedError),
    (re.compile(r"database .* does not exist"), UnavailableError),
    (re.compile(r"certificate verify failed|server does not support SSL|root certificate file"), UnavailableError),
)


@dataclass(frozen=True, slots=True)
class FleetAddress:
    """Where the database is: an address as libpq takes it, with all its options, and a password kept out of it."""

    url: str
    password: str = field(default="", repr=False)
    timeout_seconds: float = 30.0

    def __str__(self) -> str:
        """Name the database without its password."""
        parts = self.parameters()
        host = parts.get("host") or parts.get("hostaddr") or "localhost"
        return f"{host}/{parts.get('dbname', parts.get('user', ''))}"

    def parameters(self) -> dict[str, Any]:
        """Give what libpq is told.

        Raises:
            UnavailableError: psycopg is not installed.
            UsageError: the address makes no sense.
        """
        psycopg = _psycopg()
        try:
            from_address = psycopg.conninfo.conninfo_to_dict(self.url)
        except psycopg.Error as error:
            secret = self.password or self.url.rpartition("@")[0].rpartition(":")[2] or "\0"
            raise UsageError(f"the address of the database is invalid: {str(error).replace(secret, '***')}") from None
        given = {"connect_timeout": max(2, round(min(self.timeout_seconds, _QUIET["connect_timeout"])))}
        password = {"password": self.password} if self.password else {}
        ours = {"application_name": "imageguard-daemon", "client_encoding": "UTF8"}
        return {**_QUIET, **given, **ours, **from_address, **password}


class OddRowError(RetryableError):
    """PostgreSQL refuses a row for what is in it."""


def is_fleet_url(text: object) -> bool:
    """Tell whether a text is the address of a PostgreSQL and not the name of a file."""
    return isinstance(text, str) and text.startswith(SCHEMES)


def open_fleet(address: FleetAddress, *, read_only: bool) -> sa.Engine:
    """Open the database with one connection, made when it is first used.

    Raises:
        UnavailableError: psycopg is not installed.
        UsageError: the address makes no sense.
    """
    psycopg, parameters = _psycopg(), address.parameters()

    opening: list[_CutOff] = []

    def connect() -> Any:
        # Statements are not prepared, so that a pooler between us and the server may share connections.
        connection = psycopg.connect(**parameters, prepare_threshold=None)
        opening.append(_CutOff(connection, address.timeout_seconds))  # SQLAlchemy asks questions of its own
        return connection

    name = sa.URL.create("postgresql+psycopg", database=str(address))  # what it is called in messages
    engine = sa.create_engine(name, creator=connect, poolclass=sa.StaticPool)
    sa.event.listen(engine, "connect", lambda *_told: opening.pop().cancel())  # after those questions
    if read_only:
        engine = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    return engine


@contextmanager
def fleet_connection(engine: sa.Engine, where: str, seconds: float) -> Iterator[sa.Connection]:
    """Give a connection with a transaction around it, which is cut off when it takes longer than so many seconds.

    A server that has stopped, or a network that swallows everything, answers nothing, not even an error.

    Raises:
        PermissionDeniedError, UnavailableError: a person has to look.
        StalledError: the server is away, full, read-only, or does not answer.
        OddRowError: a row cannot be stored.
    """
    with (
        _translated_errors(where),
        engine.connect() as connection,
        _cut_off_after(connection, seconds),
        connection.begin(),
    ):
        yield connection


def prepare(engine: sa.Engine, address: FleetAddress) -> str:
    """Create the tables or bring them up to date, whoever else is doing so; give the version before, empty for none.

    Raises:
        PermissionDeniedError: this role may not.
        UnavailableError: a newer version has made them.
    """
    with fleet_connection(engine, str(address), max(address.timeout_seconds, 600)) as connection:
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s, 0)", (LOCK_SPACE,))
        version = version_of(connection)
        require_known(version, address)
        if version != newest_version():
            _require_unicode(connection, address)
            _upgrade(connection)
        return version


def prepare_fleet(address: FleetAddress) -> str:
    """Do as `prepare`, with a connection of its own."""
    engine = open_fleet(address, read_only=False)
    try:
        return prepare(engine, address)
    finally:
        engine.dispose()


def _require_unicode(connection: sa.Connection, address: FleetAddress) -> None:
    encoding = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
    if encoding != "UTF8":
        raise UnavailableError(f"database {address} has the encoding {encoding}; names of files need one with UTF8")


def require_version(connection: sa.Connection, address: FleetAddress) -> None:
    """See that the tables are those of this version.

    Raises:
        UnavailableError: they are not; the message says what to do.
    """
    version = version_of(connection)
    require_known(version, address)
    if version != newest_version():
        what = f"is of an older version ({version})" if version else "is not prepared yet"
        raise UnavailableError(f"database {address} {what}: its owner runs `imageguard-daemon fleet prepare`")


def require_known(version: str, address: FleetAddress) -> None:
    """See that no newer version of this package has made the tables."""
    if version > newest_version():
        raise UnavailableError(
            f"database {address} was made by a newer version of imageguard-daemon (revision {version}); update this one"
        )


def may_prepare(connection: sa.Connection) -> bool:
    """Tell whether this role may create tables here."""
    query = "SELECT coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)"
    return bool(connection.exec_driver_sql(query).scalar_one())


def version_of(connection: sa.Connection) -> str:
    """Give the version of the tables; empty where there are none.

    Raises:
        PermissionDeniedError: this role may not even read that.
    """
    if connection.exec_driver_sql("SELECT to_regclass('fleet_version')").scalar() is None:
        return ""
    if not connection.exec_driver_sql("SELECT has_table_privilege('fleet_version', 'SELECT')").scalar():
        raise PermissionDeniedError("this role may not read the table fleet_version; docs/fleet.md has the grants")
    return str(connection.exec_driver_sql("SELECT max(version_num) FROM fleet_version").scalar() or "")


def newest_version() -> str:
    """Give the version that this package makes."""
    steps = resources.files("imageguard_daemon.audit.fleet.migrations.versions").iterdir()
    return max(step.name[:4] for step in steps if step.name[:4].isdigit())


def _upgrade(connection: sa.Connection) -> None:
    from alembic import command  # noqa: PLC0415 - slow to import, and only whoever prepares needs it
    from alembic.config import Config  # noqa: PLC0415

    config: Config = Config()
    config.set_main_option("script_location", "imageguard_daemon.audit.fleet:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


@contextmanager
def _cut_off_after(connection: sa.Connection, seconds: float) -> Iterator[None]:
    cut_off = _CutOff(connection.connection.driver_connection, seconds)
    try:
        yield
    finally:
        cut_off.cancel()


class _CutOff:
    """Shuts a connection's socket down when time is up; whoever waits for it is told that the connection is lost."""

    def __init__(self, connection: Any, seconds: float) -> None:
        self._line = socket.socket(fileno=os.dup(connection.fileno()))
        self._timer = threading.Timer(seconds, self._shut_down)
        self._timer.daemon = True
        self._timer.start()

    def cancel(self) -> None:
        """Let the connection live."""
        self._timer.cancel()
        self._timer.join()
        self._line.close()

    def _shut_down(self) -> None:
        with suppress(OSError), self._line:  # closed in this moment
            self._line.shutdown(socket.SHUT_RDWR)


@contextmanager
def _translated_errors(where: str) -> Iterator[None]:
    """Turn errors of PostgreSQL into ours; `where` names the database and never has a password."""
    try:
        yield
    except DBAPIError as error:
        raise translated(error, where) from error


def translated(error: DBAPIError, where: str) -> ImageguardError:
    """Give our error for one of PostgreSQL."""
    state = getattr(error.orig, "sqlstate", None) or ""
    message = f"database {where}: {one_line(str(error.orig))}"
    if state[:2] in _OF_ONE_ROW:
        return OddRowError(message)
    if state in _NOT_ALLOWED:
        return PermissionDeniedError(message)
    if state == "42P01":
        return UnavailableError(f"database {where}: holds no logs of imageguard-daemon; see `fleet prepare`")
    if state in _NOT_THERE:
        return UnavailableError(message)
    if not state:
        kinds = (kind for pattern, kind in _AT_CONNECTING if pattern.search(str(error.orig)))
        return next(kinds, StalledError)(message)
    return StalledError(message)


def one_line(text: str) -> str:
    """Give the first words of a message of several lines."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return "; ".join(dict.fromkeys(lines))[:500]


def _psycopg() -> Any:
    try:
        import psycopg  # noqa: PLC0415 - an extra
        import psycopg.conninfo  # noqa: PLC0415
    except ImportError as error:
        raise UnavailableError("PostgreSQL needs one more package: pip install 'imageguard-daemon[fleet]'") from error
    return psycopg
