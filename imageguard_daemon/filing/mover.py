"""Moves one judged file, crash-safe and never overwriting.

On one file system a rename that refuses to replace. Across file systems a copy beside the destination that is
proved and made durable before the source goes. Either way the file that moves is the file that was judged, and
nobody writes to it meanwhile: both are checked on an open descriptor under a read lease.
"""

import ctypes
import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from imageguard_daemon.errors import ChangedError, DataError, StorageError, retryable
from imageguard_daemon.filing.folders import Folders, sync
from imageguard_daemon.leases import READ_ONLY_NO_TRAPS, Writers, read_lease, writer_waits
from imageguard_daemon.model import FileIdentity, Intent, RecordedIntent
from imageguard_daemon.names import printable

_RENAME_NOREPLACE = 1
_CANNOT_RENAME_SAFELY = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP}
_COPY_CHUNK_BYTES = 1 << 20
_libc = ctypes.CDLL(None, use_errno=True)


class NameTakenError(ChangedError):
    """Something came to lie at the destination since it was chosen."""


def temporary_name(intent_id: int) -> str:
    """Name the hidden file a copy is made in; recovery finds it by the intent's number."""
    return f".imageguard-{intent_id}.part"


def move(recorded: RecordedIntent, folders: Folders) -> None:
    """Carry out a recorded intent; afterwards `folders.sync()` makes it durable.

    Raises:
        ChangedError: the file vanished, changed or is being written since it was judged, or the name was taken.
            Nothing has moved.
        RetryableError: the file system refused for a reason that may pass. Nothing has moved.
        DataError: another file than the judged one has moved and could not be put back.
        StorageError: an fsync failed.
    """
    intent = recorded.intent
    try:
        source_folder = folders.descriptor(os.path.dirname(intent.source_path))
        with _held_still(intent, source_folder) as (file, writers):
            target_folder = folders.descriptor(os.path.dirname(intent.destination_path), make=True)
            sync(file, intent.source_path)
            transfer = _Transfer(recorded, source_folder, target_folder, file)
            transfer.carry_out(leased=writers is Writers.none)
    except FileNotFoundError as error:
        raise ChangedError("vanished before it could be moved") from error
    except FileExistsError as error:
        raise NameTakenError("the name at the destination was taken meanwhile") from error
    except OSError as error:
        raise retryable(error, f"cannot move to {printable(os.path.dirname(intent.destination_path))}") from error


@contextmanager
def _held_still(intent: Intent, folder: int) -> Iterator[tuple[int, Writers]]:
    """Open the judged file and keep writers out while it moves, where the file system can."""
    descriptor = os.open(os.path.basename(intent.source_path), READ_ONLY_NO_TRAPS, dir_fd=folder)
    try:
        with read_lease(descriptor) as writers:
            if writers is Writers.some:
                raise ChangedError("is being written again")
            if FileIdentity.from_stat(os.fstat(descriptor)) != intent.identity:
                raise ChangedError("changed after it was judged")
            yield descriptor, writers
    finally:
        os.close(descriptor)


class _Transfer:
    """One move between two open folders."""

    def __init__(self, recorded: RecordedIntent, source_folder: int, target_folder: int, file: int) -> None:
        self._intent = recorded.intent
        self._source_folder = source_folder
        self._target_folder = target_folder
        self._file = file
        self._source_name = os.path.basename(recorded.intent.source_path)
        self._target_name = os.path.basename(recorded.intent.destination_path)
        self._temporary = temporary_name(recorded.intent_id)
        self._leased = False

    def carry_out(self, *, leased: bool) -> None:
        self._leased = leased
        try:
            _rename(self._source_folder, self._source_name, self._target_folder, self._target_name)
        except OSError as error:
            if error.errno == errno.EXDEV:
                self._copy_over()
            elif error.errno in _CANNOT_RENAME_SAFELY:
                self._link_over()
            else:
                raise
        else:
            self._check_moved()

    def _check_moved(self) -> None:
        """Put back another file that got the name between our look and our rename, and one that is to be rewritten."""
        try:
            if self._is_judged_file(self._target_name, self._target_folder) and not self._writer_waits():
                return
        except FileNotFoundError:
            return  # whoever waits for files at the destination has taken it on already
        try:
            _rename(self._target_folder, self._target_name, self._source_folder, self._source_name)
        except OSError as error:
            raise DataError(
                f"{printable(self._intent.destination_path)} is not the file that was judged, and cannot be put back"
            ) from error
        raise ChangedError("was replaced or rewritten while it was being moved")

    def _writer_waits(self) -> bool:
        """An uploader that opened the old name before it went would write into what was judged."""
        return self._leased and writer_waits(self._file)

    def _link_over(self) -> None:
        """Publish a second name, which never replaces, and only when it is durable drop the first."""
        os.link(
            self._source_name,
            self._target_name,
            src_dir_fd=self._source_folder,
            dst_dir_fd=self._target_folder,
            follow_symlinks=False,
        )
        if not self._is_judged_file(self._target_name, self._target_folder):
            os.unlink(self._target_name, dir_fd=self._target_folder)
            raise ChangedError("was replaced while it was being moved")
        sync(self._target_folder, "a new name")
        self._remove_source()

    def _copy_over(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        copy = os.open(self._temporary, flags, 0o600, dir_fd=self._target_folder)
        try:
            self._fill(copy)
            _publish(self._target_folder, self._temporary, self._target_name)
        except BaseException:
            with suppress(OSError):
                os.unlink(self._temporary, dir_fd=self._target_folder)
            raise
        sync(self._target_folder, "a copied file's name")
        self._remove_source()

    def _remove_source(self) -> None:
        """Drop the old name, but never a new upload that has come to bear it."""
        if self._writer_waits():
            self._withdraw()
            raise ChangedError("was opened for writing while it was being moved")
        try:
            if self._is_judged_file(self._source_name, self._source_folder):
                os.unlink(self._source_name, dir_fd=self._source_folder)
        except FileNotFoundError:
            pass  # somebody else dropped it: what counts is at the destination
        except OSError:  # it cannot leave the inbox: then nothing has moved, and no attempt leaves a copy behind
            self._withdraw()
            raise

    def _withdraw(self) -> None:
        """Take back what was published; when even that is refused, the intent stays open for recovery to complete."""
        try:
            os.unlink(self._target_name, dir_fd=self._target_folder)
        except OSError as error:
            raise StorageError(
                f"{printable(self._intent.destination_path)} cannot be taken back: {error.strerror}"
            ) from error

    def _is_judged_file(self, name: str, folder: int) -> bool:
        found = FileIdentity.from_stat(os.stat(name, dir_fd=folder, follow_symlinks=False))
        return found.same_content_as(self._intent.identity)

    def _fill(self, copy: int) -> None:
        try:
            if _copy_hashing(self._file, copy) != self._intent.sha256:
                raise ChangedError("changed while it was being copied")
            _copy_attributes(self._file, copy)
            sync(copy, self._intent.destination_path)
        finally:
            os.close(copy)


def _rename(source_folder: int, source_name: str, target_folder: int, target_name: str) -> None:
    """Rename, refusing to replace (renameat2(2) with RENAME_NOREPLACE)."""
    result = _libc.renameat2(
        source_folder, os.fsencode(source_name), target_folder, os.fsencode(target_name), _RENAME_NOREPLACE
    )
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), target_name)


def _publish(folder: int, temporary: str, name: str) -> None:
    try:
        _rename(folder, temporary, folder, name)
    except OSError as error:
        if error.errno not in _CANNOT_RENAME_SAFELY:
            raise
        os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
        with suppress(OSError):
            os.unlink(temporary, dir_fd=folder)


def _copy_hashing(source: int, target: int) -> str:
    digest = hashlib.sha256()
    offset = 0
    while chunk := os.pread(source, _COPY_CHUNK_BYTES, offset):
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
