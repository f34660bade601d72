"""The kernel's own word on whether anybody has a file open for writing.

A read lease (fcntl(2), F_SETLEASE) is refused while any process holds the file open for writing, also through a
shared writable mapping whose descriptor is closed. Works on local file systems for files of the own user or with
CAP_LEASE; elsewhere the answer is "not known" and only stillness in time counts.

On network file systems no lease is asked for: NFSv4 and SMB refuse it for lack of a delegation, not because somebody
writes, and where they grant it, the own rename waits for the own lease. Over FUSE a refusal is the truth, since this
kernel knows its own writers; a lease that is granted keeps these off, but says nothing of those behind the mount.
"""

import errno
import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum

from imageguard_daemon.core.file_systems import FileSystem, Reach, file_system_of
from imageguard_daemon.core.regular_files import opened

_F_SETSIG = 10


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
