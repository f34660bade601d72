"""One way from a result to a console, a pipe or a file, whatever its form."""

import errno
import io
import os
import sys
from pathlib import Path

import pytest
from rich.text import Text

from imageguard_daemon.cli.output import in_our_words, write
from imageguard_daemon.core.errors import (
    FatalError,
    NoInputError,
    PermissionDeniedError,
    StalledError,
    StorageError,
    UsageError,
)

MAKERS = {
    "table": lambda: Text("caf\u00e9 [bold] :smile: 1"),
    "json": lambda: {"rate": 0.5, "name": "caf\u00e9"},
    "csv": lambda: "name\ncaf\u00e9\n",
    "parquet": lambda: b"PAR1",
}


@pytest.mark.parametrize(
    ("form", "content"),
    [
        ("table", "caf\u00e9 [bold] :smile: 1\n".encode()),
        ("json", b'{\n  "rate": 0.5,\n  "name": "caf\\u00e9"\n}\n'),
        ("csv", "name\ncaf\u00e9\n".encode()),
        ("parquet", b"PAR1"),
    ],
)
def test_each_form_goes_whole_to_a_pipe_or_a_file(form: str, content: bytes, tmp_path: Path, capfdbinary) -> None:
    """The same bytes in both: names are text and never markup, and UTF-8 whatever the terminal's locale is."""
    write(form, **MAKERS)
    sys.stdout.flush()
    assert capfdbinary.readouterr().out == content
    write(form, tmp_path / "out", **MAKERS)
    assert (tmp_path / "out").read_bytes() == content


def test_only_the_form_that_was_asked_for_is_made() -> None:
    """The others may need what is not installed."""

    def never() -> str:
        raise AssertionError("not asked for")

    file = io.StringIO()
    write("table", file=file, table=lambda: "1", json=never, csv=never)
    assert file.getvalue() == "1\n"


def test_what_is_binary_does_not_go_to_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would only ring the bell."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    with pytest.raises(UsageError, match="name one with --output FILE"):
        write("parquet", **MAKERS)


def test_a_number_that_json_cannot_have_is_never_written(tmp_path: Path) -> None:
    """What is there stays, as other programs could not read it."""
    (tmp_path / "out").write_text("before")
    with pytest.raises(ValueError, match="not JSON compliant"):
        write("json", tmp_path / "out", json=lambda: float("nan"))
    assert (tmp_path / "out").read_text() == "before"


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """In a sentence, by its path."""
    with pytest.raises(FatalError, match=f"cannot write {tmp_path}/none/out"):
        write("csv", tmp_path / "none" / "out", **MAKERS)


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
