"""Files of others, opened for reading without falling into a trap, and what is asked of them: their state, their hash.

Whoever may write into a folder may put anything under a name: a link to somewhere else, a pipe that keeps whoever opens
it waiting, a folder. Only what has been opened is looked at: what a name leads to may be another file a moment later.
"""

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from imageguard_daemon.core.model import FileIdentity

READ_ONLY_NO_TRAPS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""Opens neither the target of a link nor waits for the other end of a pipe."""
_CHUNK_BYTES = 1 << 20


class NotRegularError(OSError):
    """What was opened is a folder, a pipe or a device."""


@dataclass(frozen=True, slots=True)
class RegularFile:
    """A file that is open; `status` is that of the moment when it was opened."""

    descriptor: int
    status: os.stat_result

    @property
    def identity(self) -> FileIdentity:
        """Which file this is, and in which state it was opened."""
        return FileIdentity.from_stat(self.status)

    def read(self, most_bytes: int) -> bytes:
        """Read to the end, up to a maximum of bytes."""
        with open(self.descriptor, "rb", closefd=False) as file:
            return file.read(most_bytes)

    def sha256(self) -> str:
        """Hash all that it has."""
        return sha256_of(self.descriptor)


@contextmanager
def opened(path: str | os.PathLike[str], folder: int | None = None) -> Iterator[int]:
    """Open whatever is at a path, in an open `folder` if one is given, for as long as the context lasts.

    Raises:
        OSError: it cannot be opened; ELOOP says that it is a link, ENXIO that it is a socket.
    """
    descriptor = os.open(path, READ_ONLY_NO_TRAPS, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def regular_file(path: str | os.PathLike[str], folder: int | None = None) -> Iterator[RegularFile]:
    """Open the regular file at a path; see `opened`.

    Raises:
        NotRegularError: something else is there.
        OSError: it cannot be opened.
    """
    with opened(path, folder) as descriptor:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise NotRegularError(errno.EINVAL, "not a regular file", os.fspath(path))
        yield RegularFile(descriptor, status)


def sha256_of(descriptor: int) -> str:
    """Hash all that an open file has, wherever it is read at the moment."""
    digest = hashlib.sha256()
    offset = 0
    while chunk := os.pread(descriptor, _CHUNK_BYTES, offset):
        digest.update(chunk)
        offset += len(chunk)
    return digest.hexdigest()


def regular_file_at(path: str) -> FileIdentity | None:
    """Give the state of the regular file at a path without opening it; None when there is none, or nobody can tell."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return FileIdentity.from_stat(status) if stat.S_ISREG(status.st_mode) else None
