"""What commands write: a table for people, JSON, CSV and other forms for programs, to a console or to a file.

What the system refused to a command as a whole is said in our words, with the file, and gets a fitting exit code.
"""

import errno
import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import typer

from imageguard_daemon.core.errors import (
    NO_SUCH_PLACE,
    STALLING,
    ImageguardError,
    NoInputError,
    PermissionDeniedError,
    StalledError,
    StorageError,
    UnavailableError,
    UsageError,
    unwritable,
)
from imageguard_daemon.core.files import written_whole
from imageguard_daemon.core.names import printable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.progress import Progress, ProgressColumn

_FILE_WIDTH = 100


def write(form: str, output: Path | None = None, *, file: IO[str] | None = None, **makers: Callable[[], Any]) -> None:
    """Make a result in one of its forms, and write it to a file, or else to the console or where `file` leads.

    `makers` has a function for each form: `table` gives what rich can show, `json` what JSON can say, others text, or
    bytes of a binary form. A file is the old one or the whole new one, never a half.

    Raises:
        UsageError: it is binary, and would go to a terminal.
        FatalError: the file cannot be written.
    """
    content = makers[form]()
    if form == "table":
        _write_table(content, output, file)
    elif form == "json":
        _write_bytes(f"{json.dumps(content, indent=2, allow_nan=False)}\n".encode(), output, file)
    elif isinstance(content, str):
        _write_bytes(content.encode(), output, file)  # bytes: UTF-8 whatever the terminal's locale is
    elif output is None and sys.stdout.isatty():
        raise UsageError("this form is for files: name one with --output FILE, or redirect the output")
    else:
        _write_bytes(content, output, file)


def plain_console(**where: Any) -> "Console":
    """Give a console on which names are text and never markup."""
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False, **where)


def log_warnings() -> "Console":
    """Give the console of standard error, to which warnings go from now on."""
    from imageguard_daemon.core import logs

    console = plain_console(stderr=True)
    logs.configure("console", "warning", console)
    return console


@contextmanager
def progress_bar(*columns: "ProgressColumn", is_wanted: bool = True) -> "Iterator[Progress]":
    """Show a bar on standard error while something is done, when that is a terminal."""
    from rich.progress import Progress

    console = plain_console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not (is_wanted and console.is_terminal)) as bar:
        yield bar


def _write_table(content: "RenderableType", output: Path | None, file: IO[str] | None) -> None:
    if output is None:
        plain_console(file=file or sys.stdout).print(content)
        return
    text = io.StringIO()
    plain_console(file=text, width=_FILE_WIDTH).print(content)
    _replace(output, text.getvalue().encode())


def _write_bytes(content: bytes, output: Path | None, file: IO[str] | None) -> None:
    if output is not None:
        _replace(output, content)
    else:
        typer.echo(content, nl=False, file=file)


def _replace(output: Path, content: bytes) -> None:
    """Put a file in place whole: who reads meanwhile has the old one or the new one."""
    try:
        with written_whole(output) as file:
            file.write(content)
    except OSError as error:
        raise unwritable(error, f"cannot write {printable(str(output))}") from error


def broken_installation(error: Exception) -> ImageguardError | None:
    """Give an error that names the repair when OpenCV is what failed; it is looked at only where something has."""
    from imageguard_daemon.quality.version import why_opencv_fails

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
