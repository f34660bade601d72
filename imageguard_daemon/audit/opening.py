"""Opening a log: the one place that knows where logs are kept, and who else may be at work with them."""

import os
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from imageguard_daemon.audit.database import SqliteStore
from imageguard_daemon.audit.fleet.database import FleetAddress, is_fleet_url
from imageguard_daemon.audit.store import Store
from imageguard_daemon.config import Settings
from imageguard_daemon.core.errors import AlreadyRunningError, UsageError

if TYPE_CHECKING:
    from imageguard_daemon.audit.log_writer import LogWriter

LogPlace = Path | str
"""Where a log is: a file, or the address of a fleet's PostgreSQL."""
Writer = TypeVar("Writer", bound="LogWriter")


def open_log(place: LogPlace, *, complete: bool = False) -> Store:
    """Open an existing log for questions; give it to `with`, which closes it however that ends.

    `complete` is for questions about reviews: it refuses a log of before there were any, which others still answer.

    Raises:
        NoInputError: there is none.
        PermissionDeniedError: this account may not read it.
        UnavailableError, StalledError: it cannot be read; the message says why.
        UsageError: the address of a fleet's database makes no sense, or stands where only a file can.
    """
    if is_fleet_url(place):
        from imageguard_daemon.audit.fleet.store import FleetStore  # noqa: PLC0415 - numpy, slow to import

        return FleetStore(FleetAddress(str(place)))
    return _complete(SqliteStore(_file(place))) if complete else SqliteStore(_file(place))


def open_log_for_checking(path: Path) -> Store:
    """Open a log for those who hold it against its hash chain: every text as it is, were it no UTF-8.

    Raises:
        NoInputError, PermissionDeniedError, UsageError: as for `open_log`.
        UnavailableError: it is from before there was a chain, or is not an audit log.
    """
    return _complete(SqliteStore(_file(path), any_text=True))


def require_log_of_own(settings: Settings) -> None:
    """See that a root has a log and is this account's, before a command writes to it: no log is begun by mistake.

    Raises:
        NoInputError: there is no log.
        PermissionDeniedError: the log cannot be read, or the root belongs to another account.
    """
    from imageguard_daemon.core.locks import require_own  # noqa: PLC0415 - slow to import, and only writers lock

    open_log(settings.audit.database).close()
    require_own(settings.state_folder, settings.root)
    settings.state_folder.mkdir(exist_ok=True)


def writing_beside_daemon(settings: Settings, kind: type[Writer]) -> AbstractContextManager[Writer]:
    """Lend a writer of this kind, and bring the log up to date first unless a daemon is at work with it.

    Raises:
        StalledError: it is locked.
        UnavailableError: it is damaged, or of another version and a daemon is running.
    """
    return closing(_writer(settings, kind))


def which_file(place: LogPlace) -> tuple[int, int] | None:
    """Tell files of the same name apart; None where there is none."""
    try:
        status = os.stat(place)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _writer(settings: Settings, kind: type[Writer]) -> Writer:
    from imageguard_daemon.core.locks import RootLock  # noqa: PLC0415 - slow to import, and only writers lock

    try:
        lock = RootLock(settings.state_folder)
    except AlreadyRunningError:  # a daemon's tables are not changed under it
        return kind(settings.audit.database, settings.root, upgrade=False)
    try:
        # Under the lock, so that no daemon starts while the tables are changed.
        return kind(settings.audit.database, settings.root)
    finally:
        lock.release()


def _complete(store: SqliteStore) -> SqliteStore:
    try:
        store.require_complete()
    except BaseException:
        store.close()
        raise
    return store


def _file(place: LogPlace) -> Path:
    path = Path(place)
    if path.parts[:1] in {("postgresql:",), ("postgres:",)}:
        raise UsageError("this command needs the log on the server that wrote it, not a fleet's database")
    return path
