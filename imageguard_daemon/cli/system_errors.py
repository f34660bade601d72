"""What the system refused to a command as a whole, as an error of ours: with the file, and a fitting exit code."""

import errno
import os

from imageguard_daemon.core.errors import (
    NO_SUCH_PLACE,
    STALLING,
    ImageguardError,
    NoInputError,
    PermissionDeniedError,
    StalledError,
    StorageError,
    UnavailableError,
)
from imageguard_daemon.core.names import printable


def broken_installation(error: Exception) -> ImageguardError | None:
    """Give an error that names the repair when OpenCV is what failed; it is looked at only where something has."""
    from imageguard_daemon.quality.decode.opencv_installation import why_opencv_fails

    why = why_opencv_fails() if isinstance(error, ImportError | AttributeError) else ""
    return UnavailableError(why) if why else None


def in_our_words(error: OSError) -> ImageguardError | None:
    """Give an error that says it in a sentence; None for what the system cannot be blamed for."""
    name = "" if error.filename is None else f": {printable(os.fsdecode(error.filename))}"
    if isinstance(error, PermissionError) and name:
        return PermissionDeniedError(f"no permission{name}")
    if error.errno in {errno.EMFILE, errno.ENFILE}:
        return StalledError(f"{error.strerror}{name}; raise the limit (ulimit -n, LimitNOFILE=)")
    if error.errno == errno.EIO and not name:  # what has a name could not be opened or looked at: its disk may be away
        return StorageError(f"cannot write: {error.strerror}")
    if error.errno in NO_SUCH_PLACE and name:
        return NoInputError(f"{error.strerror}{name}")
    return StalledError(f"{error.strerror}{name}") if error.errno in STALLING else None
