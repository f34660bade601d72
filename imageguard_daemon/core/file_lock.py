"""Locks on files (flock(2)): one process at a time, let go of by the kernel with the process that holds them.

File systems differ in how they say no. SMB calls a lock that somebody has a lack of permission; NFS without a lock
manager, and some programs behind FUSE, have none to give. Only here is told which answer means what.
"""

import errno
import fcntl
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Self

from imageguard_daemon.core.errors import AlreadyRunningError, hindrance

_HELD = frozenset({errno.EAGAIN, errno.EACCES})
_LOOK_AGAIN_SECONDS = 0.05
_LOCK_FILE = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


def lock_if_free(descriptor: int, how: int = fcntl.LOCK_EX) -> bool:
    """Lock an open file or folder; False when somebody else has it.

    Raises:
        OSError: whether somebody has it is not known: the file system has no locks, or cannot answer.
    """
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD:
            return False
        raise
    return True


def lock_within(descriptor: int, timeout_seconds: float) -> bool:
    """Lock an open file or folder as soon as it is free, if that is soon enough; for errors see `lock_if_free`."""
    if math.isinf(timeout_seconds):
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # the kernel wakes us; no need to look again
        return True
    deadline = time.monotonic() + timeout_seconds
    while not lock_if_free(descriptor):
        if time.monotonic() >= deadline:
            return False
        time.sleep(_LOOK_AGAIN_SECONDS)
    return True


class FileLock:
    """A file that is there to be locked; made where it is missing, and never removed: others may wait for it.

    Where the file system has no locks, one that is required cannot be had; any other is had by all who ask.

    Raises:
        OSError: when made: the file cannot be opened or made.
    """

    def __init__(self, path: str | os.PathLike[str], *, mode: int = 0o644, is_required: bool = True) -> None:
        self.path = path
        self.descriptor = os.open(path, _LOCK_FILE, mode)
        self._is_required = is_required

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

    def acquire(self, timeout_seconds: float = 0.0) -> bool:
        """Lock it within so many seconds; False when somebody else has it all the while.

        Raises:
            ImageguardError: it is required, and its file system has no locks or cannot answer.
        """
        try:
            return lock_within(self.descriptor, timeout_seconds)
        except OSError as error:
            if self._is_required:
                raise hindrance(error, f"cannot lock {os.fspath(self.path)}") from error
            return True

    def release(self) -> None:
        """Let others have it."""
        unlock(self.descriptor)


def unlock(descriptor: int) -> None:
    """Close a file that may be locked; a child process that has inherited the descriptor does not go on holding it."""
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


@contextmanager
def alone(path: str | os.PathLike[str], message: str) -> Iterator[None]:
    """Hold a lock file for one process at a time; on a file system without locks, nothing keeps a second one away.

    Raises:
        AlreadyRunningError: another process holds it; `message` says what that does.
        OSError: it cannot be made there.
    """
    with FileLock(path, is_required=False) as lock:
        if not lock.acquire():
            raise AlreadyRunningError(message)
        yield
