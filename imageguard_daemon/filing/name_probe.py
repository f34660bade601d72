"""Whether files can be given names in a folder at all, tried with a harmless one: then a refusal is about one name."""

import os
from contextlib import suppress

from imageguard_daemon.filing import renaming
from imageguard_daemon.filing.renaming import UnsafeNamesError, told_of_unsafe_names

PROBE_NAME = ".imageguard-probe"
PROBE_RENAMED = ".imageguard-probe-renamed"
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def require_names(folder: int) -> None:
    """Give a file of our own a name in an open folder, in the way in which judged files get theirs, and remove it.

    Raises:
        UnsafeNamesError: the file system can neither rename without replacing nor make hard links.
        OSError: there is another obstacle: no space, no permission, a failing disk.
    """
    _clear(folder)
    os.close(os.open(PROBE_NAME, _FLAGS, 0o600, dir_fd=folder))
    try:
        with suppress(FileExistsError, FileNotFoundError):  # another daemon's probe of the same folder
            _give_name(folder)
    finally:
        _clear(folder)


def _give_name(folder: int) -> None:
    names = (folder, PROBE_NAME, folder, PROBE_RENAMED)
    if renaming.renamed(*names):
        return
    try:
        renaming.link(*names)
    except OSError as error:
        if error.errno not in renaming.ODD_ANSWERS_TO_LINK:
            raise
        raise UnsafeNamesError(told_of_unsafe_names(PROBE_RENAMED, error)) from error


def _clear(folder: int) -> None:
    for name in (PROBE_NAME, PROBE_RENAMED):
        with suppress(OSError):
            os.unlink(name, dir_fd=folder)
