"""Which folder or file it is that the operating system does not let us move things out of, or into.

rename(2) says "permission denied" for either end. Asked afterwards, what forbids it tells whose fault it is; asked
before, what surely forbids it saves an attempt.
"""

import errno
import fcntl
import os
import stat
import sys
from contextlib import suppress
from dataclasses import dataclass

from imageguard_daemon.core.errors import RefusedError, RetryableError, StalledError
from imageguard_daemon.core.model import Intent
from imageguard_daemon.core.names import printable
from imageguard_daemon.core.regular_files import READ_ONLY_NO_TRAPS

REFUSALS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_GET_FLAGS = 0x80086601  # FS_IOC_GETFLAGS
_IMMUTABLE, _APPEND_ONLY = 0x10, 0x20
_CAP_FOWNER = 1 << 3


@dataclass(frozen=True, slots=True)
class Refusal:
    """A folder, or a single file, that does not let itself be emptied or moved, with the reason."""

    place: str
    why: str
    is_certain: bool = True
    """False where the answer of access(2) may be that of a C library which knows no ACLs."""


def of_source(path: str) -> Refusal | None:
    """Say what keeps the file at `path` where it is; None when nothing is known to."""
    folder = os.path.dirname(path)
    return of_source_folder(folder) or of_file(path, in_sticky_folder=is_sticky(folder))


def of_source_folder(folder: str) -> Refusal | None:
    """Say what keeps all files of a folder where they are."""
    return _of_folder(folder, "files cannot be moved out of")


def of_file(path: str, *, in_sticky_folder: bool) -> Refusal | None:
    """Say what keeps a single file where it is, in a folder that files may be moved out of."""
    if in_sticky_folder and _is_stuck(path):
        folder = printable(os.path.dirname(path))
        return Refusal(path, f"files of other accounts cannot be moved out of {folder}: it has the sticky bit")
    if _flags(path, READ_ONLY_NO_TRAPS) & (_IMMUTABLE | _APPEND_ONLY):
        return Refusal(path, f"{printable(path)} cannot be moved: it is immutable or append-only (chattr -ia)")
    return None


def of_destination(path: str, root: str) -> Refusal | None:
    """Say what keeps files out of a folder, or of the nearest one that is there; the root, if it refuses as well."""
    while not os.path.isdir(path) and len(path) > len(root):
        path = os.path.dirname(path)
    refusal = _of_folder(path, "files cannot be moved into")
    return refusal and (_of_folder(root, "files cannot be moved into") or refusal)


def _of_folder(path: str, what: str) -> Refusal | None:
    message = f"{what} {printable(path)}"
    with suppress(OSError):
        if os.statvfs(path).f_flag & os.ST_RDONLY:
            return Refusal(path, f"{message}: it is on a read-only file system")
    if _flags(path, _FOLDER) & (_IMMUTABLE | _APPEND_ONLY):
        return Refusal(path, f"{message}: it is immutable or append-only (chattr -ia)")
    if os.path.isdir(path) and not os.access(path, os.W_OK | os.X_OK, effective_ids=True):
        return Refusal(path, f"{message}: this account has no write permission there", is_certain=False)
    return None


def is_sticky(folder: str) -> bool:
    """Tell whether a folder lets everybody move their own files alone, and is not this account's."""
    with suppress(OSError):
        status = os.stat(folder)
        return bool(status.st_mode & stat.S_ISVTX) and os.geteuid() != status.st_uid
    return False


def _is_stuck(path: str) -> bool:
    """Tell whether a file in a sticky folder is another account's."""
    with suppress(OSError):
        return os.lstat(path).st_uid != os.geteuid() and not _may_pass_for_owner()
    return False


def of_move(error: OSError, intent: Intent, root: str, message: str) -> RetryableError:
    """Say which end of a move refuses: one folder must not hold up the others, but a whole destination does."""
    source, folder = intent.source_path, os.path.dirname(intent.destination_path)
    if refusal := of_source(source):
        return RefusedError(refusal.place, refusal.why)
    refusal = of_destination(folder, root)
    if error.errno == errno.EROFS or (refusal and refusal.place == root):
        return StalledError(f"{message}: {error.strerror}")
    if refusal:
        return RefusedError(refusal.place, refusal.why)
    return RefusedError(source, f"cannot be moved from {printable(os.path.dirname(source))}: {error.strerror}")


def _flags(path: str, how: int) -> int:
    """Give the attributes of chattr(1); 0 where there are none or they cannot be known."""
    try:
        descriptor = os.open(path, how)
    except OSError:
        return 0
    try:
        return int.from_bytes(fcntl.ioctl(descriptor, _GET_FLAGS, bytes(8)), sys.byteorder)
    except OSError:
        return 0
    finally:
        os.close(descriptor)


def _may_pass_for_owner() -> bool:
    """Tell whether this process may do what only owners may (CAP_FOWNER)."""
    with suppress(OSError, ValueError), open("/proc/thread-self/status", "rb") as status:
        effective = next(line for line in status if line.startswith(b"CapEff:"))
        return bool(int(effective.split()[1], 16) & _CAP_FOWNER)
    return True
