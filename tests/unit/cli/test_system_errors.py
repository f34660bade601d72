"""What the system says, in our words."""

import errno
import os

import pytest

from imageguard_daemon.cli.system_errors import in_our_words
from imageguard_daemon.core.errors import (
    NoInputError,
    PermissionDeniedError,
    StalledError,
    StorageError,
)


@pytest.mark.parametrize(
    ("number", "name", "told"),
    [
        (errno.ENOTCONN, "/mnt/inbox", StalledError),
        (errno.ESTALE, "/mnt/inbox", StalledError),
        (errno.EIO, "/mnt/inbox", StalledError),
        (errno.EIO, None, StorageError),
        (errno.EACCES, "/closed/inbox", PermissionDeniedError),
        (errno.ENAMETOOLONG, "/long", NoInputError),
        (errno.ELOOP, "/loop/inbox", NoInputError),
        (errno.ENOTDIR, "/file/inbox", NoInputError),
        (errno.ENOTEMPTY, "/mnt/inbox", type(None)),
    ],
)
def test_what_the_system_says_of_a_path_is_not_a_mistake_in_the_program(number, name, told):
    """Whichever part of a command meets it: a disk that is away, a closed folder, a name that cannot be."""
    assert type(in_our_words(OSError(number, os.strerror(number), name))) is told
