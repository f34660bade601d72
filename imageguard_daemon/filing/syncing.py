"""Makes files and folders durable, several at a time: disks keep much at once as quickly as little.

One after another, sixty small files take as long as sixty turns of the disk, each behind whatever else it has to do;
asked for at once, they share them. The threads do nothing but wait in fsync(2).
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from imageguard_daemon.core.errors import StorageError
from imageguard_daemon.core.files import fsync
from imageguard_daemon.core.names import printable

_AT_A_TIME = 8
_FEW = 8
"""So many are done before threads would be awake."""


def sync(descriptor: int, what: str) -> None:
    """Fsync, and treat a refusal as final: a second fsync may succeed without having written anything.

    Raises:
        StorageError: the disk refused; what it holds is uncertain from now on.
    """
    try:
        fsync(descriptor)
    except OSError as error:
        raise StorageError(
            f"the disk did not keep {printable(what)}: {error.strerror}; nothing more is moved"
        ) from error


def sync_all(files: Sequence[tuple[int, str]]) -> None:
    """Fsync open files and folders, each with what it is called; when this returns, all of them are durable.

    Raises:
        StorageError: the disk refused one of them.
    """
    if len(files) <= _FEW:
        for descriptor, what in files:
            sync(descriptor, what)
        return
    waits = [_threads().submit(sync, descriptor, what) for descriptor, what in files]
    errors = [error for wait in waits if (error := wait.exception()) is not None]  # none is still at it afterwards
    if errors:
        raise errors[0]


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_AT_A_TIME, thread_name_prefix="sync")
