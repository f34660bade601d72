"""What the operating system refused to a command as a whole: a sentence and an exit code, no traceback."""

import errno
import os

from imageguard_daemon.names import printable


def refused(error: OSError) -> tuple[int, str] | None:
    """Give exit code and sentence; None for what only a mistake in the program explains."""
    if error.errno in {errno.ENOSPC, errno.EIO}:
        return os.EX_IOERR, f"cannot write: {error.strerror}"
    if isinstance(error, PermissionError) and error.filename is not None:
        return os.EX_NOPERM, f"no permission for {printable(os.fsdecode(error.filename))}"
    if error.errno in {errno.EMFILE, errno.ENFILE}:
        return os.EX_TEMPFAIL, f"{error.strerror}; raise the limit (ulimit -n, LimitNOFILE=)"
    return None
