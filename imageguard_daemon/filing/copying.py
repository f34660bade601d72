"""Copies that are proved: hashed while they are made, and durable before anybody relies on them."""

import hashlib
import os
from contextlib import suppress

from imageguard_daemon.core.errors import NO_ROOM, ChangedError, StorageError
from imageguard_daemon.core.model import Intent
from imageguard_daemon.filing.syncing import sync

_CHUNK_BYTES = 1 << 20


def copy_proved(source: int, copy: int, intent: Intent) -> None:
    """Copy one open file into another, with all that its name promises, and make that durable.

    Raises:
        ChangedError: what was copied is not what was judged.
        OSError: there was no room for it, which NFS says only when it is synced.
        StorageError: the disk did not keep it.
    """
    if _copy_hashing(source, copy) != intent.sha256:
        raise ChangedError("changed while it was being copied")
    _copy_attributes(source, copy)
    try:
        sync(copy, intent.destination_path)
    except StorageError as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno in NO_ROOM:
            raise error.__cause__ from error  # nothing relies on it yet, and it is not synced again
        raise


def _copy_hashing(source: int, target: int) -> str:
    """Copy all bytes between two open files; give the SHA-256 of what was copied."""
    digest = hashlib.sha256()
    offset = 0
    while chunk := os.pread(source, _CHUNK_BYTES, offset):
        digest.update(chunk)
        offset += len(chunk)
        view = memoryview(chunk)
        while view:
            view = view[os.write(target, view) :]
    return digest.hexdigest()


def _copy_attributes(source: int, target: int) -> None:
    """Keep times, permissions, owner and extended attributes, as far as the other file system lets us."""
    status = os.fstat(source)
    with suppress(OSError):
        os.fchown(target, status.st_uid, status.st_gid)
    with suppress(OSError):
        os.fchmod(target, status.st_mode & 0o777)  # a set-user-ID bit would now lend another user's rights
    with suppress(OSError):
        for name in os.listxattr(source):
            with suppress(OSError):
                os.setxattr(target, name, os.getxattr(source, name))
    with suppress(OSError):
        os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
