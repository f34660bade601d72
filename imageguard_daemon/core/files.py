"""Files of our own: written whole, under another name first and only then under their own, and locked.

Killed at any instruction, what had the name before still has it, or the new file has it complete.

`NewFile` is for results, which people name and which take hours: it keeps a second writer away, follows links, and is
always durable. `atomic_write` is for small files of the program's own, each of which has one writer.

Locks are flock(2)'s: one process at a time, let go of by the kernel with the process that holds them. File systems
differ in how they say no. SMB calls a lock that somebody has a lack of permission; NFS without a lock manager, and some
programs behind FUSE, have none to give. Only here is told which answer means what.
"""

import errno
import fcntl
import hashlib
import math
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import BinaryIO, Self

from imageguard_daemon.core.errors import AlreadyRunningError, hindrance
from imageguard_daemon.core.names import printable

_HELD = frozenset({errno.EAGAIN, errno.EACCES})
_LOOK_AGAIN_SECONDS = 0.05
_LOCK_FILE = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
PARTIAL_SUFFIX = ".partial"
"""What ends the name of a result that is not whole."""
_HIDDEN = ".imageguard-"
_MAX_NAME_BYTES = 255
_IN_THE_WAY = "under which the file is written first"
_NEW_FILE_MODE = 0o666
_MAX_TRIES = 100
"""Far more than runs that end just then can take from one that begins."""
_BESIDE = ".new"
_EXCLUSIVELY = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_ANEW = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


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


class NewFile:
    """A file that is being written: `stream` takes bytes, then one of `keep`, `set_aside` and `discard` ends it.

    One process at a time writes a file; what a killed one left under the hidden name is written over by the next.
    A link is followed to the file it leads to. A pipe or a device is written as it is: nothing there is replaced.
    With `replaces` false, what has got the name meanwhile keeps it, and `keep` raises FileExistsError.

    Raises:
        AlreadyRunningError: another process is writing it.
        OSError: it cannot be written there.
    """

    def __init__(self, path: str | os.PathLike[str], *, replaces: bool = True) -> None:
        self._path = os.path.realpath(path)
        self._name = os.replace if replaces else _name_if_free
        self._temporary = ""
        if _is_no_file(self._path):
            self.stream: BinaryIO = open(self._path, "wb")  # noqa: SIM115 - closed at the end
            return
        descriptor, self._temporary = _opened_alone(self._path)
        self.stream = open(descriptor, "wb")  # noqa: SIM115 - closed at the end

    def keep(self) -> None:
        """Make it durable and give it its name, in place of whatever had that."""
        self._end(self._path, self._name)

    def set_aside(self) -> str:
        """Keep what is there by now under a name that says that it is not whole; gives that name."""
        self._end(partial := f"{self._path}{PARTIAL_SUFFIX}", os.replace)
        return partial if self._temporary else ""

    def discard(self) -> None:
        """Leave nothing of it."""
        with suppress(OSError):  # a full disk is perhaps what brought us here
            self.stream.close()
        if self._temporary:
            with suppress(OSError):
                os.unlink(self._temporary)

    def _end(self, path: str, name: Callable[[str, str], None]) -> None:
        try:
            self.stream.flush()
            if self._temporary:
                fsync(self.stream.fileno())
                name(self._temporary, path)  # before the lock goes with the descriptor
            self.stream.close()
        except BaseException:
            self.discard()
            raise
        if self._temporary:
            sync_folder(os.path.dirname(path))


@contextmanager
def written_whole(path: str | os.PathLike[str], *, replaces: bool = True) -> Iterator[BinaryIO]:
    """Give a stream whose bytes get the name `path` at the end, or never, should anything go wrong; see NewFile."""
    new = NewFile(path, replaces=replaces)
    try:
        yield new.stream
    except BaseException:
        new.discard()
        raise
    new.keep()


def atomic_write(
    path: str | os.PathLike[str], data: bytes, *, durable: bool = False, mode: int = _NEW_FILE_MODE
) -> None:
    """Give a small file new content in one step; `durable` makes it outlast a power cut, which takes a disk its time.

    Raises:
        OSError: it cannot be written; what was there stays.
    """
    temporary = f"{os.fspath(path)}{_BESIDE}"
    with suppress(FileNotFoundError):
        os.unlink(temporary)  # a killed process left it
    try:
        with open(os.open(temporary, _EXCLUSIVELY, mode), "wb") as file:
            file.write(data)
            file.flush()
            if durable:
                fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    if durable:
        sync_folder(os.path.dirname(os.path.abspath(path)))


def remove_partial(path: str | os.PathLike[str]) -> None:
    """Take away what an earlier, interrupted run has set aside, now that there is the whole."""
    with suppress(OSError):
        os.unlink(f"{os.path.realpath(path)}{PARTIAL_SUFFIX}")


def _name_if_free(temporary: str, path: str) -> None:
    """Give a file a name that nothing has; between two who do so, only a file system without links cannot decide."""
    try:
        os.link(temporary, path)
    except OSError:
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, "something has got that name meanwhile", path) from None
        os.replace(temporary, path)
    else:
        os.unlink(temporary)


def _is_no_file(path: str) -> bool:
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return False
    return not stat.S_ISREG(mode)  # of a folder, opening it says what is wrong


def _opened_alone(path: str) -> tuple[int, str]:
    """Open the hidden name that belongs to a path, for this process alone, empty."""
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, _hidden(name))
    for _ in range(_MAX_TRIES):
        descriptor, is_new = _opened(temporary)
        try:
            if not _is_locked(descriptor, path):  # no locks on this file system: a name that nobody else can have
                _remove(temporary)
                temporary = os.path.join(folder, _hidden(f"{name}.{os.getpid()}"))
                other, is_new = _opened(temporary)
                descriptor = _exchanged(descriptor, other)
            if _is_ours(descriptor, temporary, is_new=is_new):
                os.ftruncate(descriptor, 0)
                _take_mode(descriptor, path)
                return descriptor, temporary
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
    raise FileExistsError(errno.EEXIST, f"what has the name {_IN_THE_WAY} comes back whenever it is removed", temporary)


def _opened(temporary: str) -> tuple[int, bool]:
    """Open a file under the hidden name; tell whether this call has made it."""
    try:
        return os.open(temporary, _ANEW | os.O_EXCL, _NEW_FILE_MODE), True
    except FileExistsError:
        pass
    try:
        return os.open(temporary, _ANEW, _NEW_FILE_MODE), False
    except PermissionError as error:
        raise _not_permitted(error, "opened", temporary) from error


def _remove(temporary: str) -> None:
    try:
        os.unlink(temporary)
    except FileNotFoundError:  # another run has
        pass
    except PermissionError as error:
        raise _not_permitted(error, "removed", temporary) from error


def _not_permitted(error: PermissionError, what: str, temporary: str) -> PermissionError:
    message = f"{error.strerror}: what has the name {_IN_THE_WAY} cannot be {what}"
    return PermissionError(error.errno, message, temporary)


def _exchanged(old: int, new: int) -> int:
    os.close(old)
    return new


def is_partial(path: str | os.PathLike[str]) -> bool:
    """Tell by its name whether a result is not whole: one set aside, or one that is or was being written."""
    name = os.path.basename(os.fspath(path))
    return name.endswith(PARTIAL_SUFFIX) or is_hidden(name)


def is_hidden(name: str) -> bool:
    """Tell whether a name is one under which a file is written before it is whole; a killed run may leave it."""
    return name.startswith(_HIDDEN) and name.endswith(".part")


def _hidden(name: str) -> str:
    hidden = f"{_HIDDEN}{name}.part"
    if len(os.fsencode(hidden)) <= _MAX_NAME_BYTES:
        return hidden
    return f"{_HIDDEN}{hashlib.sha256(os.fsencode(name)).hexdigest()[:32]}.part"


def _is_locked(descriptor: int, path: str) -> bool:
    """Lock it; tell whether this file system has locks at all."""
    try:
        is_ours = lock_if_free(descriptor)
    except OSError:
        return False
    if not is_ours:
        raise AlreadyRunningError(f"another process is writing {printable(path)}")
    return True


def _is_ours(descriptor: int, temporary: str, *, is_new: bool) -> bool:
    """Tell whether what is open still has that name, and is a plain file of this account alone.

    What this process has just made is its own whoever seems to own it: some mounts give all files one owner.

    Another run may have finished, and given its file its own name, between opening and locking. What is none of a run,
    a link to another file for instance, loses this name.
    """
    here = os.fstat(descriptor)
    try:
        there = os.stat(temporary, follow_symlinks=False)
    except FileNotFoundError:
        return False
    if (here.st_dev, here.st_ino) != (there.st_dev, there.st_ino):
        return False
    is_plain = stat.S_ISREG(here.st_mode) and here.st_nlink == 1
    if is_plain and (is_new or here.st_uid == os.geteuid()):
        return True
    _remove(temporary)
    return False


def _take_mode(descriptor: int, path: str) -> None:
    """Give the new file the permissions of the one it takes the place of, if there is one."""
    with suppress(OSError):
        os.fchmod(descriptor, stat.S_IMODE(os.stat(path).st_mode))


def fsync(descriptor: int) -> None:
    """Make durable what an open file or folder has, where its file system knows of such a thing."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # this kind of file system has no such thing, on FUSE for instance
            raise


def sync_folder(folder: str) -> None:
    """Make the names in a folder durable."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:  # it may be written, not read: the name is there all the same
        return
    try:
        fsync(descriptor)
    finally:
        os.close(descriptor)
