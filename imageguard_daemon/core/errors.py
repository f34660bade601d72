"""Every error this package raises, sorted by who handles it.

    ImageguardError
    ├── ImageError        the image is at fault: recorded with its issue, the next one goes on
    ├── RetryableError    the surroundings are at fault: nothing is lost, tried again after a pause
    │   ├── ChangedError  the file is not the one that was judged: it is looked at afresh
    │   │   └── NotBegunError  nothing was done with it at all: that is not held against it
    │   ├── ElsewhereError  a recorded path is in none of the folders in force: left as it is
    │   ├── NotPermittedError  this file may not be read: asked again until it may
    │   │   └── RefusedError  its folder does not let it go, or the one it is to go to does not take it
    │   └── StalledError  not this file but the disk, mount or log is at fault: its source pauses
    └── FatalError        a person is needed: the command ends with `exit_code`
        ├── UsageError, ConfigError, NoInputError, DataError, StorageError
        └── AlreadyRunningError, ReplacedError, PermissionDeniedError, UnavailableError

Exit codes follow sysexits.h; docs/exit-codes.md lists them from these classes.
"""

import errno
import os

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What a write meets where there is no room: on the disk, or in what this account may have of it."""
STALLING = NO_ROOM | frozenset(
    getattr(errno, name)
    for name in (
        *("EROFS", "EIO", "ENODEV", "ENXIO", "ENOMEM", "EMFILE", "ENFILE"),
        *("ESTALE", "ENOTCONN", "ETIMEDOUT", "EHOSTDOWN", "EHOSTUNREACH", "EREMOTEIO", "ESHUTDOWN"),
    )
)
"""What a disk or mount answers that is away, or the system when it has too little: it may pass."""

NO_SUCH_PLACE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP})
"""What the system says of a path that cannot be what it is taken for: another one has to be named."""


class ImageguardError(Exception):
    """The root of the tree; catch it to catch everything this package raises on purpose."""

    exit_code = os.EX_SOFTWARE


class ImageError(ImageguardError):
    """The image itself cannot be judged; `issue` is `corrupt`, `unsupported` or `too_large`."""

    def __init__(self, issue: str, detail: str) -> None:
        super().__init__(issue, detail)
        self.issue = issue
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.issue}: {self.detail}"


class RetryableError(ImageguardError):
    """A full disk, a lost mount, a locked database: the file stays where it is and is tried again."""

    exit_code = os.EX_TEMPFAIL


class ChangedError(RetryableError):
    """The file at this path is no longer the one that was judged."""


class NotBegunError(ChangedError):
    """Nothing was done with this file, for a reason that is another's."""


class ElsewhereError(RetryableError):
    """A recorded path lies in no folder that the configuration names, as after a move of the root."""


class NotPermittedError(RetryableError):
    """This file may not be read or moved; permissions change without a sign: it is tried for as long as it takes."""


class RefusedError(NotPermittedError):
    """Nothing may be moved out of, or into, `place`: a folder or a single file; what has to do with others goes on."""

    def __init__(self, place: str, why: str) -> None:
        super().__init__(why)
        self.place = place


class StalledError(RetryableError):
    """Nothing of this source can be handled for now: no space, read-only, a lost mount, a locked database."""


class FatalError(ImageguardError):
    """Going on would be wrong or useless; the message says what a person can do."""


class UsageError(FatalError):
    """The command line asks for something that makes no sense."""

    exit_code = os.EX_USAGE


class DataError(FatalError):
    """What is on disk contradicts the audit log; a person must look before anything moves."""

    exit_code = os.EX_DATAERR


class StorageError(FatalError):
    """The disk failed to keep what was written to it; going on could lose data."""

    exit_code = os.EX_IOERR


class NoInputError(FatalError):
    """A file or folder named by the user is not there or cannot be read."""

    exit_code = os.EX_NOINPUT


class UnavailableError(FatalError):
    """Something this command depends on does not work: a database, the workers."""

    exit_code = os.EX_UNAVAILABLE


class AlreadyRunningError(FatalError):
    """Another daemon owns this root."""

    exit_code = os.EX_TEMPFAIL


class ReplacedError(FatalError):
    """The program's files were replaced while it was running: it goes on when it is restarted."""

    exit_code = os.EX_TEMPFAIL


class PermissionDeniedError(FatalError):
    """The operating system refuses a folder the daemon cannot do without."""

    exit_code = os.EX_NOPERM


class ConfigError(FatalError):
    """The configuration is wrong; `problems` has one line for each mistake, with its YAML path."""

    exit_code = os.EX_CONFIG

    def __init__(self, problems: list[str], origin: str = "configuration") -> None:
        super().__init__(problems, origin)
        self.problems = problems
        self.origin = origin

    def __str__(self) -> str:
        return f"{self.origin}:\n" + "\n".join(f"  {problem}" for problem in self.problems)


def retryable(error: OSError, what: str) -> RetryableError:
    """Sort an operating system error that came up while doing `what` with one file."""
    kind = StalledError if error.errno in STALLING else RetryableError
    return kind(f"{what}: {error.strerror or error}")


def hindrance(error: OSError, what: str) -> ImageguardError:
    """Sort an operating system error that keeps a command from working at all: may it pass, or who can help?"""
    message = f"{what}: {error.strerror or error}"
    if isinstance(error, PermissionError):
        return PermissionDeniedError(message)
    if error.errno in NO_SUCH_PLACE:
        return NoInputError(message)
    return StalledError(message) if error.errno in STALLING else UnavailableError(message)


def unreadable(error: OSError, what: str) -> FatalError:
    """Sort an operating system error that keeps a command from reading a file that it was given."""
    kind = PermissionDeniedError if isinstance(error, PermissionError) else NoInputError
    return kind(f"cannot read {what}: {error.strerror or error}")


def unwritable(error: OSError, what: str) -> FatalError:
    """Sort an operating system error that keeps a command from writing its results."""
    message = f"{what}: {error.strerror or error}"
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        return PermissionDeniedError(message)
    return NoInputError(message) if error.errno in NO_SUCH_PLACE else StorageError(message)
