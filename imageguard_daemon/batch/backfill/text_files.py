"""Lists as text, as people's programs write them: compressed or not, with Windows' line ends, of Excel's many kinds."""

import csv
import gzip
import io
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import BinaryIO, TextIO

_ENCODINGS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_DELIMITERS = ",;\t"
_COMPRESSED = ".gz"
_NO_TEXT = (
    (b"PAR1", "Parquet: give it a name that ends in .parquet"),
    (b"\x1f\x8b", "compressed: give it a name that ends in .gz"),
    (b"PK\x03\x04", "a workbook or an archive, not text: save the list as CSV"),
    (b"\xd0\xcf\x11\xe0", "a workbook, not text: save the list as CSV"),
    (b"SQLite format 3\0", "a database, not text"),
    (b"ARROW1", "an Arrow file, not text: Parquet is read"),
)
"""How files begin that are not text, though their names say so."""


def plain_name(path: str) -> str:
    """Give a file's name without what says that it is compressed."""
    return path[: -len(_COMPRESSED)] if path.lower().endswith(_COMPRESSED) else path


@contextmanager
def decompressed(file: BinaryIO, path: str) -> Iterator[BinaryIO]:
    """Give a file's bytes, unpacked where its name says that they are packed."""
    if plain_name(path) == path:
        yield file
    else:
        with gzip.GzipFile(fileobj=file) as unpacked:
            yield unpacked  # type: ignore[misc]


def as_text(file: BinaryIO, newline: str | None = None) -> io.TextIOWrapper:
    """Give text: UTF-8 with any other bytes kept, or what a byte order mark says.

    Raises:
        ValueError: it is something else.
    """
    beginning = file.read(16)
    file.seek(0)
    if other := next((told for mark, told in _NO_TEXT if beginning.startswith(mark)), ""):
        raise ValueError(f"it is {other}")
    encoding = next((name for mark, name in _ENCODINGS if beginning.startswith(mark)), "utf-8")
    return io.TextIOWrapper(file, encoding=encoding, errors="surrogateescape", newline=newline)


def table(text: TextIO, column: str) -> "csv.DictReader[str]":
    """Give the rows of a table whose cells are separated by a comma, a semicolon or a tab: by what makes a column."""
    header = text.readline()
    if header.startswith("sep="):  # Excel's own note to itself
        header = text.readline()
    fits = (mark for mark in _DELIMITERS if column in next(csv.reader([header], delimiter=mark), ()))
    return csv.DictReader(chain([header], text), delimiter=next(fits, ","))


def lines(text: TextIO, column: str) -> Iterator[str]:
    """Give lines without their ends; those of Windows where the first line has one, as a name may end so elsewhere.

    Raises:
        ValueError: it is a table, with tabs and the head of this column, as Excel saves "Unicode Text".
    """
    end = None
    for line in text:
        if end is None:
            end = "\r\n" if line.endswith("\r\n") else "\n"
            if "\t" in line and column in line.rstrip("\r\n").split("\t"):
                raise ValueError("it is a table, by its first line: give it a name that ends in .tsv")
        yield line.removesuffix(end) if line.endswith(end) else line.removesuffix("\n")
