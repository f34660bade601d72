"""What keeps SQLite from writing: it says "disk I/O error" where the system would have said which file, and why."""

import errno
import os
from contextlib import ExitStack, suppress
from pathlib import Path

from imageguard_daemon.core.errors import NO_ROOM

_ROOM_BYTES = 1 << 18
"""As much as opening a log may need: its shared memory takes 32 kB, a page of its WAL 4."""
_DESCRIPTORS = 4
"""So many at once SQLite has for a log: of its file, its WAL, its shared memory, and its folder while it syncs that."""


def hindrance(database: Path) -> OSError | None:
    """Look for what hinders writing to a log, without opening its files: closing one would drop SQLite's locks."""
    folder = database.parent
    if not folder.is_dir():
        return OSError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder))
    return refusal(database) or _want_of_descriptors(folder) or _want_of_room(folder)


def refusal(database: Path) -> OSError | None:
    """Look for a file of a log, or its folder, that this account may not write to."""
    for path in (database, *(database.with_name(f"{database.name}-{part}") for part in ("wal", "shm"))):
        if os.path.lexists(path) and not os.access(path, os.R_OK | os.W_OK, effective_ids=True):
            return _refusal(path)
    if not os.access(database.parent, os.W_OK | os.X_OK, effective_ids=True):
        return _refusal(database.parent)
    return None


def _refusal(path: Path) -> OSError:
    number = errno.EACCES
    with suppress(OSError):
        number = errno.EROFS if os.statvfs(path).f_flag & os.ST_RDONLY else errno.EACCES
    return OSError(number, os.strerror(number), str(path))


def _want_of_descriptors(folder: Path) -> OSError | None:
    with ExitStack() as held:
        try:
            for _ in range(_DESCRIPTORS):
                held.callback(os.close, os.open(folder, os.O_DIRECTORY | os.O_CLOEXEC))
        except OSError as error:
            return error if error.errno in {errno.EMFILE, errno.ENFILE} else None
    return None


def _want_of_room(folder: Path) -> OSError | None:
    try:
        # A file without a name: whatever ends this process, nothing is left behind.
        descriptor = os.open(folder, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except OSError as error:
        return error if error.errno in NO_ROOM | {errno.EROFS} else None
    try:
        os.write(descriptor, bytes(_ROOM_BYTES))
        os.fsync(descriptor)
    except OSError as error:
        return OSError(error.errno, error.strerror, str(folder))
    finally:
        os.close(descriptor)
    return None
