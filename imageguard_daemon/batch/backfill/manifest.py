"""The list of images to judge, as a stream: Parquet, CSV, JSON lines, or a path a line; memory holds a batch of it.

It may be a file, a folder of Parquet files, or a URL that fsspec can open; text may be compressed. Results of a scan or
of a back-fill are such lists, too: their names are taken as the file system has them.
"""

import csv
import gzip
import io
import json
import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import lru_cache
from itertools import chain, islice
from pathlib import PurePosixPath
from typing import Any, BinaryIO, TextIO

from imageguard_daemon.batch.backfill.shards import Line, ManifestRequest
from imageguard_daemon.batch.backfill.store import filesystem_of, is_url
from imageguard_daemon.batch.outputs import pyarrow_for
from imageguard_daemon.core.errors import FatalError, NoInputError, unreadable
from imageguard_daemon.core.files import is_partial
from imageguard_daemon.core.names import live, original, printable
from imageguard_daemon.filing.rules.destinations import class_of

_ROWS_AT_A_TIME = 10_000
_BLOCK = 1 << 20
_FORMS = {
    "parquet": "parquet",
    "pq": "parquet",
    "csv": "csv",
    "tsv": "csv",
    "tab": "csv",
    "jsonl": "jsonl",
    "ndjson": "jsonl",
    "json": "jsonl",
}
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
_ESCAPED = "names_escaped"
"""The column by which results say which of their names are in the escaped form."""
_RULES_OF_FOLDERS = frozenset({"first_folder", "parent_folder", "none"})
Cells = tuple[str, str | None]
"""Of one row: the path, and the class, if the manifest has one."""


class Manifest:
    """A list of images. Each iteration reads it from the start.

    Raises:
        NoInputError: it is not there, is in no known form, lacks the column, or has no rows.
        UnavailableError, UsageError: what it takes to read it is not installed.
    """

    def __init__(self, request: ManifestRequest) -> None:
        self._request = request
        self._shown = printable(request.path)
        self._base = (request.root or os.getcwd()).rstrip("/") + "/"
        if is_partial(request.path):
            raise NoInputError(f"{self._shown} is a result that is not whole; the scan that wrote it goes on")
        self._files = self._parts()
        self._form = _form_of(self._files[0])
        self.rows: int | None = self._rows_of_parquet() if self._form == "parquet" else None
        """How many there are, where that is known beforehand."""
        with closing(iter(self)) as every:
            is_empty = next(every, None) is None
        if is_empty:
            raise NoInputError(f"{self._shown} has no rows: there is nothing to judge")

    def __iter__(self) -> Generator[Line, None, None]:
        readers = {"parquet": self._parquet, "csv": self._csv, "jsonl": self._jsonl, "list": self._list}
        cells = chain.from_iterable(map(readers[self._form], self._files))
        with self._in_words():
            for row, (path, class_name) in enumerate(cells):
                yield self._line(row, path, class_name)

    def shards(self, size: int) -> Iterator[tuple[Line, ...]]:
        """Yield so many lines at a time."""
        every = iter(self)
        while shard := tuple(islice(every, size)):
            yield shard

    def count(self) -> int:
        """Count the rows quickly, by their ends; a CSV cell of several lines counts as several."""
        if self.rows is not None:
            return self.rows
        ends = 0
        for path in self._files:
            with self._opened(path) as packed, _decompressed(packed, path) as file:
                last = b"\n"
                while block := file.read(_BLOCK):
                    ends += block.count(b"\n")
                    last = block
                ends += not last.endswith(b"\n")
        return ends - (self._form == "csv")

    def _line(self, row: int, path: str, class_name: str | None) -> Line:
        is_whole = not path or path.startswith(("/", "file://")) or is_url(path)
        address = path if is_whole else self._base + path
        relative = address.removeprefix(self._base) if self._request.root else path
        if class_name is None:
            # Of a path that begins nowhere in particular, only the last folder says anything.
            rule = "parent_folder" if is_whole and relative == path else self._request.class_from
            class_name = _class_in(relative, rule)
        return Line(row, path, address, relative, class_name)

    # --- files

    def _parts(self) -> list[str]:
        """Give the files: one, or those of a folder by name."""
        path = self._request.path
        with self._in_words():
            if is_url(path):
                system, inside = filesystem_of(path)
                if not system.isdir(inside):
                    return [path]
                names = (str(system.unstrip_protocol(name)) for name in system.ls(inside, detail=False))
            elif os.path.isdir(path):
                names = (os.path.join(path, name) for name in os.listdir(path))
            else:
                return [path]
            parts = sorted(name for name in names if name.endswith((".parquet", ".pq")) and not _is_hidden(name))
        if not parts:
            raise NoInputError(f"{self._shown} is a folder without Parquet files; a manifest is a list of images")
        return parts

    @contextmanager
    def _opened(self, path: str) -> Iterator[BinaryIO]:
        if is_url(path):
            system, inside = filesystem_of(path)
            with system.open(inside, "rb") as file:
                yield file
        else:
            with open(path, "rb") as file:
                yield file

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        """Say in words what is wrong with the manifest."""
        try:
            yield
        except FatalError:
            raise
        except OSError as error:
            raise unreadable(error, self._shown) from error
        except Exception as error:
            reason = printable(str(error) or type(error).__name__)
            raise NoInputError(f"cannot read {self._shown}: {reason}") from error

    @contextmanager
    def _text(self, path: str, newline: str | None = None) -> Iterator[TextIO]:
        """Give the text of a file, unpacked where its name says that it is packed."""
        with self._opened(path) as packed, _decompressed(packed, path) as file, _as_text(file, newline) as text:
            yield text

    # --- forms

    def _rows_of_parquet(self) -> int:
        _, parquet = pyarrow_for("a Parquet manifest")
        rows = 0
        with self._in_words():
            for path in self._files:
                with self._opened(path) as file:
                    self._require_columns(parquet.ParquetFile(file).schema_arrow.names)
                    file.seek(0)
                    rows += parquet.read_metadata(file).num_rows
        return rows

    def _parquet(self, path: str) -> Iterator[Cells]:
        _, parquet = pyarrow_for("a Parquet manifest")
        with self._opened(path) as file:
            # Piece by piece: otherwise memory holds a column of a whole row group, and a list may be one group.
            content = parquet.ParquetFile(file, pre_buffer=False, buffer_size=_BLOCK)
            names = content.schema_arrow.names
            has_class = self._require_columns(names)
            path_column, class_column = self._request.path_column, self._request.class_column
            wanted = {path_column, _ESCAPED, *([class_column] if has_class else [])}
            columns = [name for name in dict.fromkeys(names) if name in wanted]
            # pyarrow 18 raises where there is no row group
            batches = content.iter_batches(_ROWS_AT_A_TIME, columns=columns) if content.num_row_groups else ()
            for batch in batches:
                paths = _texts(batch.column(path_column))
                classes = _texts(batch.column(class_column)) if has_class else [None] * len(paths)
                escaped = batch.column(_ESCAPED).to_pylist() if _ESCAPED in columns else [False] * len(paths)
                yield from map(_named, paths, classes, escaped)

    def _csv(self, path: str) -> Iterator[Cells]:
        with self._text(path, newline="") as text:
            rows = _table(text, self._request.path_column)
            names = rows.fieldnames or ()
            has_class, is_ours = self._require_columns(names), _ESCAPED in names
            for row in rows:
                label = row[self._request.class_column] or "" if has_class else None
                label = live(label) if label and is_ours else label
                yield _named(row[self._request.path_column], label, is_ours and row[_ESCAPED] == "true")

    def _jsonl(self, path: str) -> Iterator[Cells]:
        with self._text(path) as text:
            for number, line in enumerate(text, 1):
                try:
                    row = json.loads(line)
                except ValueError as error:
                    more = ": one object per line is read, not an array" if number == 1 else ""
                    raise NoInputError(f"{self._shown}, line {number}: this is not JSON{more}") from error
                if not isinstance(row, dict):
                    raise NoInputError(f"{self._shown}, line {number}: this is not a JSON object; one per line is read")
                if number == 1:
                    self._require_columns(list(row))
                shown, label = row.get(self._request.path_column), row.get(self._request.class_column)
                if not isinstance(shown, str | None):
                    raise NoInputError(f"{self._shown}, line {number}: the path is not text")
                yield _named(shown, None if label is None else str(label), row.get(_ESCAPED) is True)

    def _list(self, path: str) -> Iterator[Cells]:
        with self._text(path, newline="\n") as text:
            yield from ((line, None) for line in _lines(text, self._request.path_column))

    def _require_columns(self, names: Sequence[str]) -> bool:
        """Tell whether there is a column with the class; one with the path there must be."""
        wanted = self._request.path_column
        if wanted not in names:
            have = ", ".join(map(printable, names)) or "none"
            raise NoInputError(f"{self._shown} has no column {wanted!r}; name one with --path-column: {have}")
        return self._request.class_column in names


def _class_in(relative_path: str, rule: str) -> str:
    if rule not in _RULES_OF_FOLDERS:
        return class_of(relative_path, rule)
    folder, slash, _ = relative_path.rpartition("/")
    return _class_of_folder(folder + slash, rule)


@lru_cache(maxsize=10_000)
def _class_of_folder(folder: str, rule: str) -> str:
    """Remember what folders say: a list of a hundred million rows has few, one after another."""
    return class_of(f"{folder}x", rule)


def _named(path: str | None, class_name: str | None, is_escaped: object) -> Cells:
    if is_escaped is True:
        return original(path or ""), class_name and original(class_name)
    return path or "", class_name


def _form_of(path: str) -> str:
    return _FORMS.get(PurePosixPath(_plain_name(path)).suffix.lower().lstrip("."), "list")


def _is_hidden(path: str) -> bool:
    return PurePosixPath(path).name.startswith((".", "_"))


def _texts(column: Any) -> list[Any]:
    """Give a column's texts, whatever bytes they have."""
    arrow, _ = pyarrow_for("a Parquet manifest")
    kind = column.type
    if arrow.types.is_dictionary(kind):
        column = column.dictionary_decode()
    if not (arrow.types.is_string(column.type) or arrow.types.is_binary(column.type)):
        column = column.cast(arrow.string())
    raw = column.cast(arrow.binary()).to_pylist()
    return [None if name is None else os.fsdecode(name) for name in raw]


def _plain_name(path: str) -> str:
    """Give a file's name without what says that it is compressed."""
    return path[: -len(_COMPRESSED)] if path.lower().endswith(_COMPRESSED) else path


@contextmanager
def _decompressed(file: BinaryIO, path: str) -> Iterator[BinaryIO]:
    """Give a file's bytes, unpacked where its name says that they are packed."""
    if _plain_name(path) == path:
        yield file
    else:
        with gzip.GzipFile(fileobj=file) as unpacked:
            yield unpacked  # type: ignore[misc]


def _as_text(file: BinaryIO, newline: str | None = None) -> io.TextIOWrapper:
    """Give text: UTF-8 with any other bytes kept, or what a byte order mark says.

    Raises:
        ValueError: it is something else.
    """
    beginning = file.read(16)
    file.seek(0)
    if other_kind := next((kind for mark, kind in _NO_TEXT if beginning.startswith(mark)), ""):
        raise ValueError(f"it is {other_kind}")
    encoding = next((name for mark, name in _ENCODINGS if beginning.startswith(mark)), "utf-8")
    return io.TextIOWrapper(file, encoding=encoding, errors="surrogateescape", newline=newline)


def _table(text: TextIO, column: str) -> "csv.DictReader[str]":
    """Give the rows of a table whose cells are separated by a comma, a semicolon or a tab: by what makes a column."""
    header = text.readline()
    if header.startswith("sep="):  # Excel's own note to itself
        header = text.readline()
    fits = (mark for mark in _DELIMITERS if column in next(csv.reader([header], delimiter=mark), ()))
    return csv.DictReader(chain([header], text), delimiter=next(fits, ","))


def _lines(text: TextIO, column: str) -> Iterator[str]:
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
