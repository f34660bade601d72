"""Which errors pass, which end the command, and with which exit code."""

import errno
import os
import pickle
from pathlib import Path

import pytest

import imageguard_daemon
from imageguard_daemon.cli import app
from imageguard_daemon.core import errors
from imageguard_daemon.core.errors import ConfigError, FatalError, ImageError, RetryableError, StalledError, retryable


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE, errno.EMFILE])
def test_a_sick_disk_or_mount_stalls_the_source(number: int) -> None:
    """What would hit every file of a source is told from what hits one file."""
    assert type(retryable(OSError(number, os.strerror(number)), "cannot move")) is StalledError


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ENOTDIR, None])
def test_an_error_of_one_file_does_not_stall_the_others(number: int | None) -> None:
    """A permission or a name that is too long sets only this file aside."""
    error = OSError(number, os.strerror(number)) if number else OSError("unknown")
    assert type(retryable(error, "cannot move")) is RetryableError


def test_the_message_says_what_was_tried_and_what_went_wrong() -> None:
    """Operators read the cause in words, without numbers and without a hostile file name."""
    assert str(retryable(OSError(errno.ENOSPC, "No space left on device", "a\x1b"), "cannot move")) == (
        "cannot move: No space left on device"
    )


@pytest.mark.parametrize("error", [ImageError("corrupt", "cut short"), ConfigError(["a: wrong"], "file.yaml")])
def test_errors_survive_the_way_between_processes(error: errors.ImageguardError) -> None:
    """A worker's error arrives with all it said."""
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))


def test_every_fatal_error_has_an_exit_code_of_sysexits() -> None:
    """Scripts can rely on the exit code of whatever ends a command."""
    known = {value for name, value in vars(os).items() if name.startswith("EX_")} - {os.EX_OK}
    fatal = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, FatalError)]
    assert {kind.exit_code for kind in fatal} <= known


@pytest.mark.parametrize(
    ("number", "code"),
    [
        *((number, os.EX_NOPERM) for number in (errno.EACCES, errno.EPERM, errno.EROFS)),
        *((number, os.EX_NOINPUT) for number in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)),
        *((number, os.EX_IOERR) for number in (errno.ENOSPC, errno.EDQUOT, errno.EIO)),
    ],
)
def test_an_output_that_cannot_be_written_ends_every_command_with_the_same_code(number: int, code: int) -> None:
    """One cause, one exit code: 77 for want of permission, 66 where there is no such place, 74 where the disk fails."""
    told = errors.unwritable(OSError(number, os.strerror(number), "a"), "cannot write a")
    assert (told.exit_code, str(told)) == (code, f"cannot write a: {os.strerror(number)}")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_quota_is_like_a_full_disk(number, capsys):
    """A command that meets either ends with the same code and the system's words."""
    assert app._end_with(OSError(number, os.strerror(number))) == os.EX_IOERR
    assert os.strerror(number) in capsys.readouterr().err


def test_what_no_room_is_stands_in_one_place():
    """Who names ENOSPC alone forgets quotas."""
    package = Path(imageguard_daemon.__file__).parent
    naming = [path.name for path in package.rglob("*.py") if "ENOSPC" in path.read_text(encoding="utf-8")]
    assert naming == ["errors.py"]
