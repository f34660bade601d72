"""Writing a result to standard output or to a file."""

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from imageguard_daemon.core.errors import UsageError, unwritable
from imageguard_daemon.core.files import written_whole
from imageguard_daemon.core.names import printable

if TYPE_CHECKING:
    from rich.console import RenderableType

_FILE_WIDTH = 100


def write_table(table: "RenderableType", output: Path | None) -> None:
    """Print a table on the terminal or pipe, or write it as plain text."""
    from rich.console import Console

    if output is None:
        _tolerate_any_locale()
        Console(file=sys.stdout, highlight=False, markup=False, emoji=False).print(table)
        return
    text = io.StringIO()
    Console(file=text, width=_FILE_WIDTH, highlight=False, markup=False, emoji=False).print(table)
    _replace(output, text.getvalue().encode())


def write_bytes(content: bytes, output: Path | None, *, is_text: bool = True) -> None:
    """Write what is already in its form; what is not text does not go to a terminal."""
    if output is not None:
        _replace(output, content)
    elif not is_text and sys.stdout.isatty():
        raise UsageError("this form is for files: name one with --output FILE, or redirect the output")
    else:
        typer.echo(content, nl=False)


def _replace(output: Path, content: bytes) -> None:
    """Put a file in place whole: who reads meanwhile has the old one or the new one."""
    try:
        with written_whole(output) as file:
            file.write(content)
    except OSError as error:
        raise unwritable(error, f"cannot write {printable(str(output))}") from error


def _tolerate_any_locale() -> None:
    """Write a name the locale has no letters for as escapes, in place of ending with an error."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
