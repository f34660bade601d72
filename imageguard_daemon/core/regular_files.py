"""Files of others: opened without falling into a trap, and what is asked of them: state, hash, and who writes to them.

Whoever may write into a folder may put anything under a name: a link to somewhere else, a pipe that keeps whoever opens
it waiting, a folder. Only what has been opened is looked at: what a name leads to may be another file a moment later.

Whether anybody has a file open for writing, the kernel says. A read lease (fcntl(2), F_SETLEASE) is refused while any
process does, also through a shared writable mapping whose descriptor is closed. That works on local file systems for
files of the own user or with CAP_LEASE; elsewhere the answer is "not known" and only stillness in time counts.

On network file systems no lease is asked for: NFSv4 and SMB refuse it for lack of a delegation, not because somebody
writes, and where they grant it, the own rename waits for the own lease. Over FUSE a refusal is the truth, since this
kernel knows its own writers; a lease that is granted keeps these off, but says nothing of those behind the mount.
"""

import errno
import fcntl
import hashlib
import os
import signal
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum

from imageguard_daemon.core.file_systems import FileSystem, Reach, file_system_of
from imageguard_daemon.core.model import FileIdentity

READ_ONLY_NO_TRAPS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""Opens neither the target of a link nor waits for the other end of a pipe."""
_CHUNK_BYTES = 1 << 20
_F_SETSIG = 10


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


def is_there(path: str) -> bool:
    """Tell whether a name leads to something, for names that nearly never do: an error of open(2) costs far more.

    It goes by the rights that opening would go by; access(2) forgets capabilities such as CAP_DAC_READ_SEARCH.
    """
    return os.access(path, os.F_OK, effective_ids=True)


class Writers(Enum):
    """Whether a file is open for writing."""

    none = "none"
    some = "some"
    unknown = "unknown"


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known of the writers of one file, and what that rests on."""

    writers: Writers
    file_system: FileSystem
    owner_id: int


NOT_ASKED = Answer(Writers.none, FileSystem("", Reach.unknown), -1)
"""Of a file that is gone, or that this account may not read, there is nothing to wait for."""
NOT_ANSWERED = Answer(Writers.unknown, FileSystem("", Reach.unknown), -1)
"""A disk or a network that fails just now has not said that nobody writes."""


@contextmanager
def read_lease(descriptor: int) -> Iterator[Writers]:
    """Hold a read lease on an open file where possible; whoever opens it for writing waits until it is let go."""
    reach = file_system_of(descriptor).reach
    if reach not in {Reach.local, Reach.relayed}:
        yield Writers.unknown
        return
    try:
        # A broken lease is announced by SIGIO, which kills; SIGURG is ignored unless somebody asks for it.
        fcntl.fcntl(descriptor, _F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        yield Writers.some if error.errno in {errno.EAGAIN, errno.EBUSY} else Writers.unknown
        return
    try:
        yield Writers.none if reach is Reach.local else Writers.unknown
    finally:
        with suppress(OSError):  # the kernel took it back, as it does when a writer had to wait too long
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)


def writer_waits(descriptor: int) -> bool:
    """Tell whether somebody opened the file for writing and waits for our read lease, or waited too long for it."""
    return fcntl.fcntl(descriptor, fcntl.F_GETLEASE) != fcntl.F_RDLCK


def ask(path: str) -> Answer:
    """Ask about the file at `path`; OSError when it cannot be opened for reading."""
    with opened(path) as descriptor, read_lease(descriptor) as writers:
        return Answer(writers, file_system_of(descriptor), os.fstat(descriptor).st_uid)
