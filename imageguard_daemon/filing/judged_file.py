"""Whether a file is the one that was judged, and what is done with that file alone: a proved copy, and deleting it.

A file is known by its inode number, or by its bytes where that may be another each time: programs behind FUSE number
files by their names (mergerfs with `inodecalc=path-hash`), or again when they have forgotten them (sshfs).
"""

import hashlib
import os
import stat
from collections.abc import Generator
from contextlib import suppress

from imageguard_daemon.core.errors import NO_ROOM, ChangedError, StorageError, retryable
from imageguard_daemon.core.file_systems import file_system_of
from imageguard_daemon.core.model import FileIdentity, Intent, RecordedIntent
from imageguard_daemon.core.names import aside_name, printable
from imageguard_daemon.core.regular_files import Writers, opened, read_lease, sha256_of
from imageguard_daemon.filing import renaming
from imageguard_daemon.filing.folders import Folders, sync
from imageguard_daemon.filing.renaming import Name, put_back

_CHUNK_BYTES = 1 << 20


def is_judged(file: int, intent: Intent) -> bool:
    """Tell whether an open file is the one that was judged, with the bytes that it had."""
    current = FileIdentity.from_stat(os.fstat(file))
    return current.same_content_as(intent.identity) or (
        _may_be(current, intent, file) and sha256_of(file) == intent.sha256
    )


def is_as_it_was(file: int, intent: Intent) -> bool:
    """Tell whether no byte and no name of an open file has changed since it was judged.

    Behind FUSE the time of an earlier change of name may be told late (bindfs): there its bytes say so.
    """
    current = FileIdentity.from_stat(os.fstat(file))
    return current == intent.identity or (_may_be(current, intent, file) and sha256_of(file) == intent.sha256)


def bears_judged(name: Name, status: os.stat_result, intent: Intent) -> bool:
    """Tell whether what bears a name, with this status, is what was judged; OSError when that cannot be looked at."""
    current = FileIdentity.from_stat(status)
    if current.same_content_as(intent.identity):
        return True
    if not _may_be(current, intent, name.folder):
        return False
    with opened(name.called, name.folder) as descriptor:
        identity = FileIdentity.from_stat(os.fstat(descriptor))
        return identity.looks_like(current) and sha256_of(descriptor) == intent.sha256


def is_copied_or_numbered_anew(name: Name, status: os.stat_result, intent: Intent) -> bool:
    """Tell whether what bears a name has the judged bytes, on a file system where its number says nothing of that.

    Raises OSError when that cannot be looked at.
    """
    if status.st_size != intent.identity.size_bytes or file_system_of(name.folder).keeps_numbers:
        return False
    with opened(name.called, name.folder) as descriptor:
        return sha256_of(descriptor) == intent.sha256


def compare_bytes(path: str, intent: Intent) -> Generator[None, None, bool]:
    """Find out, a piece at each step, whether a file has the judged bytes, as after `cp -p` or `touch`.

    Raises OSError when it cannot be read.
    """
    with opened(path) as descriptor:
        digest, left = hashlib.sha256(), intent.identity.size_bytes
        while data := os.read(descriptor, _CHUNK_BYTES):
            digest.update(data)
            left -= len(data)
            if left < 0:
                return False
            yield
        return digest.hexdigest() == intent.sha256


def _may_be(current: FileIdentity, intent: Intent, on: int) -> bool:
    return current.looks_like(intent.identity) and not file_system_of(on).keeps_numbers


# --- a proved copy


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


# --- deleting it, and no other that came to bear its name


def remove(recorded: RecordedIntent, folders: Folders) -> None:
    """Take the file's name away, look at what bore it, and only then delete it; sync the folders afterwards.

    Raises:
        ChangedError: the file is gone, is open for writing, or another one bears its name; it is left as it is.
        RetryableError: the file system refused for a reason that may pass.
        StorageError: another file cannot get its name back; it is in the same folder, hidden.
    """
    intent = recorded.intent
    try:
        at = folders.name_of(intent.source_path)
        aside = Name(at.folder, aside_name(recorded.intent_id))
        renaming.set_aside(*at, aside.called)
    except FileNotFoundError as error:
        raise ChangedError("vanished before it could be deleted") from error
    except OSError as error:
        raise retryable(error, f"cannot delete {printable(intent.source_path)}") from error
    try:
        _delete_if_meant(aside, intent)
    except (OSError, ChangedError) as error:
        _give_back(aside, at, intent)
        if isinstance(error, OSError):
            raise retryable(error, f"cannot delete {printable(intent.source_path)}") from error
        raise


def _delete_if_meant(aside: Name, intent: Intent) -> None:
    status = os.stat(aside.called, dir_fd=aside.folder, follow_symlinks=False)
    if not stat.S_ISREG(status.st_mode) or not bears_judged(aside, status, intent):
        raise ChangedError("changed after it was looked at")
    if _is_open_for_writing(aside):
        raise ChangedError("is open for writing")
    os.unlink(aside.called, dir_fd=aside.folder)


def _is_open_for_writing(name: Name) -> bool:
    """Tell whether somebody surely writes to a file; one that may not be read can be deleted all the same."""
    try:
        with opened(name.called, name.folder) as descriptor, read_lease(descriptor) as writers:
            return writers is Writers.some
    except PermissionError:
        return False


def _give_back(aside: Name, at: Name, intent: Intent) -> None:
    try:
        put_back(aside, at, intent.sha256)
    except FileNotFoundError:
        return
    except OSError as error:
        path = printable(intent.source_path)
        message = f"{path} cannot get its name back, it is called {aside.called} now: {error.strerror}"
        raise StorageError(message) from error
