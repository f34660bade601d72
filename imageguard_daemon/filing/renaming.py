"""New names for files, none of which ever replaces another file.

Where a file system cannot rename without replacing (NFS, some FUSE), a second name is made, which never replaces
either, and the first one is dropped.
"""

import ctypes
import errno
import os
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from imageguard_daemon.core.errors import NO_ROOM, StalledError
from imageguard_daemon.core.names import printable
from imageguard_daemon.core.regular_files import opened
from imageguard_daemon.filing.rules.destinations import alternatives

_RENAME_NOREPLACE = 1
CANNOT_RENAME_SAFELY = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP})
_CANNOT_LINK = frozenset({errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EMLINK})
ODD_ANSWERS_TO_LINK = frozenset({errno.EIO, errno.EINVAL})
"""What programs behind FUSE say of links that they do not know."""
_REFUSALS = (
    CANNOT_RENAME_SAFELY
    | NO_ROOM
    | {
        *(errno.ENOENT, errno.EEXIST, errno.EXDEV, errno.EACCES, errno.EPERM, errno.EBUSY),
        *(errno.EMLINK, errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.ELOOP),
    }
)
"""What a file system answers before it begins. Others, such as EIO, may come after the change reached the journal."""
_PLACEHOLDER = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
PROBE_NAME = ".imageguard-probe"
PROBE_RENAMED = ".imageguard-probe-renamed"
_libc = ctypes.CDLL(None, use_errno=True)


class UnsafeNamesError(StalledError):
    """No name can be given here without the risk of replacing, or this one is refused: a harmless one tells which."""


class Name(NamedTuple):
    """What a file is called in a folder that is held open: whoever exchanges folders of the path changes nothing."""

    folder: int
    called: str


Inode = tuple[int, int]
"""Device and inode: which file it is, whatever its names."""


def inode_of(descriptor: int) -> Inode:
    """Say which file is open."""
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def changed_nothing(error: OSError, is_borne_by: Callable[[Name], bool], source: Name, target: Name) -> bool:
    """Tell whether giving a file the name `target` instead of `source`, answered with `error`, surely did not happen.

    `is_borne_by` tells whether the file bears a name, whatever number it has by that. Looking alone proves nothing: a
    disk that has just failed answers from memory. But it does not sync any more.
    """
    try:
        if error.errno in _REFUSALS:
            return not is_borne_by(target)  # a link made before the old name could not be dropped
        if not is_borne_by(source) or _is_taken(target):
            return False
        _sync_everywhere(source, target)
    except OSError:
        return error.errno in _REFUSALS
    return True


def _is_taken(name: Name) -> bool:
    try:
        os.stat(name.called, dir_fd=name.folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _sync_everywhere(source: Name, target: Name) -> None:
    """Sync the file, too: some file systems answer for a folder even when they have been shut down."""
    with opened(source.called, source.folder) as file:
        for descriptor in (file, source.folder, target.folder):
            os.fsync(descriptor)


def rename(source_folder: int, source_name: str, target_folder: int, target_name: str) -> None:
    """Rename, refusing to replace (renameat2(2) with RENAME_NOREPLACE)."""
    result = _libc.renameat2(
        source_folder, os.fsencode(source_name), target_folder, os.fsencode(target_name), _RENAME_NOREPLACE
    )
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), target_name)


def link(source_folder: int, source_name: str, target_folder: int, target_name: str) -> None:
    """Give a file a second name, refusing to replace.

    Raises:
        UnsafeNamesError: this file system has no second names, and nothing else here is safe: a rename that may
            replace, or a copy under the final name, would overwrite or leave half a file.
    """
    try:
        os.link(source_name, target_name, src_dir_fd=source_folder, dst_dir_fd=target_folder, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _CANNOT_LINK:
            raise
        raise UnsafeNamesError(unsafe_names_message(target_name, error)) from error


def unsafe_names_message(name: str, error: OSError) -> str:
    """Say what is wrong with a file system on which no name can be given safely."""
    return (
        f"cannot give {printable(name)} its name: this file system can neither rename without replacing nor make hard "
        f"links ({error.strerror}); put the folder on one that can"
    )


def move_name(source_folder: int, source_name: str, target_folder: int, target_name: str) -> None:
    """Rename on one file system in the safest way it has; FileExistsError when the name is taken.

    An OSError other than that may leave the file with both names.
    """
    if not renamed(source_folder, source_name, target_folder, target_name):
        link(source_folder, source_name, target_folder, target_name)
        with suppress(FileNotFoundError):  # somebody else dropped it
            os.unlink(source_name, dir_fd=source_folder)


def give_back(source_folder: int, source_name: str, target_folder: int, target_name: str) -> None:
    """Give a file of ours a name in the inbox; FileExistsError when it is taken, and wherever that can be refused.

    Where a file system can neither rename safely nor link (exfat, rclone), the plain rename replaces an empty file of
    our own: no other place is left for the file, and nobody should have to look for it under a hidden name.
    """
    names = (source_folder, source_name, target_folder, target_name)
    if renamed(*names):
        return
    try:
        link(*names)
    except UnsafeNamesError:
        pass
    except OSError as error:
        if error.errno not in ODD_ANSWERS_TO_LINK:
            raise
    else:
        with suppress(FileNotFoundError):
            os.unlink(source_name, dir_fd=source_folder)
        return
    _rename_over_own(Name(source_folder, source_name), Name(target_folder, target_name))


def set_aside(folder: int, name: str, aside: str) -> None:
    """Take a name away in one step, whatever file bears it by now; `aside` must be free.

    Where the file system cannot refuse to replace, the plain rename replaces an empty file of our own.
    """
    if not renamed(folder, name, folder, aside):
        _rename_over_own(Name(folder, name), Name(folder, aside))


def renamed(source_folder: int, source_name: str, target_folder: int, target_name: str) -> bool:
    """Rename, refusing to replace; False when the file system has no such thing."""
    try:
        rename(source_folder, source_name, target_folder, target_name)
    except OSError as error:
        if error.errno not in CANNOT_RENAME_SAFELY:
            raise
        return False
    return True


def _rename_over_own(source: Name, target: Name) -> None:
    """Rename over an empty file that is made for it, so that nothing of others is replaced."""
    os.close(os.open(target.called, _PLACEHOLDER, 0o600, dir_fd=target.folder))
    try:
        os.rename(source.called, target.called, src_dir_fd=source.folder, dst_dir_fd=target.folder)
    except OSError as error:
        if error.errno in _REFUSALS:  # otherwise it may be the file by now
            with suppress(OSError):
                os.unlink(target.called, dir_fd=target.folder)
        raise


def put_back(at: Name, to: Name, sha256: str) -> None:
    """Give a file its old name again, or one that tells it apart when a new upload has taken that."""
    for name in alternatives(to.called, (), sha256):
        try:
            give_back(*at, to.folder, name)
        except FileExistsError:
            continue
        return


def require_names(folder: int) -> None:
    """Give a file of our own a name in an open folder, in the way in which judged files get theirs, and remove it.

    Raises:
        UnsafeNamesError: the file system can neither rename without replacing nor make hard links.
        OSError: there is another obstacle: no space, no permission, a failing disk.
    """
    _clear(folder)
    os.close(os.open(PROBE_NAME, _PLACEHOLDER, 0o600, dir_fd=folder))
    try:
        with suppress(FileExistsError, FileNotFoundError):  # another daemon's probe of the same folder
            _give_name(folder)
    finally:
        _clear(folder)


def _give_name(folder: int) -> None:
    names = (folder, PROBE_NAME, folder, PROBE_RENAMED)
    if renamed(*names):
        return
    try:
        link(*names)
    except OSError as error:
        if error.errno not in ODD_ANSWERS_TO_LINK:
            raise
        raise UnsafeNamesError(unsafe_names_message(PROBE_RENAMED, error)) from error


def _clear(folder: int) -> None:
    for name in (PROBE_NAME, PROBE_RENAMED):
        with suppress(OSError):
            os.unlink(name, dir_fd=folder)
