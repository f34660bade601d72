"""Opening a log for writing from a process that is not the daemon."""

from typing import TypeVar

from imageguard_daemon.audit.writer import AuditWriter
from imageguard_daemon.config import Settings
from imageguard_daemon.core.errors import AlreadyRunningError
from imageguard_daemon.core.locks import RootLock

Writer = TypeVar("Writer", bound=AuditWriter)


def open_beside_daemon(settings: Settings, kind: type[Writer]) -> Writer:
    """Bring the log up to date unless a daemon is at work with it, and open it with a writer of this kind.

    Raises:
        StalledError: it is locked.
        UnavailableError: it is damaged, or of another version and a daemon is running.
    """
    try:
        lock = RootLock(settings.state_folder)
    except AlreadyRunningError:
        return kind(settings.audit.database, settings.root, upgrade=False)
    try:
        return kind(settings.audit.database, settings.root)
    finally:
        lock.release()
