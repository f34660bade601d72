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
    """Give text: UTF-8 with any other bytes kept, or what a byte order mark says."""
    beginning = file.read(4)
    file.seek(0)
    encoding = next((name for mark, name in _ENCODINGS if beginning.startswith(mark)), "utf-8")
    return io.TextIOWrapper(file, encoding=encoding, errors="surrogateescape", newline=newline)


def table(text: TextIO, column: str) -> "csv.DictReader[str]":
    """Give the rows of a table whose cells are separated by a comma, a semicolon or a tab: by what makes a column."""
    header = text.readline()
    if header.startswith("sep="):  # Excel's own note to itself
        header = text.readline()
    fits = (mark for mark in _DELIMITERS if column in next(csv.reader([header], delimiter=mark), ()))
    return csv.DictReader(chain([header], text), delimiter=next(fits, ","))


def lines(text: TextIO) -> Iterator[str]:
    """Give lines without their ends; those of Windows where the first line has one, as a name may end so elsewhere."""
    end = None
    for line in text:
        if end is None:
            end = "\r\n" if line.endswith("\r\n") else "\n"
        yield line.removesuffix(end) if line.endswith(end) else line.removesuffix("\n")
