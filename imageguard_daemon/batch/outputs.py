"""Where results are written: JSON lines row by row while they come, Parquet in groups of rows, CSV in order at the end.

Each bears its name only when all of it is there. A file that already exists is replaced only if a scan has made it,
or if the user says so.
"""

import heapq
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, BinaryIO, Protocol

from imageguard_daemon.batch.judging import COLUMNS, NUMBERS, WHOLE_NUMBERS, YES_OR_NO, Value, cells_of
from imageguard_daemon.core.errors import StorageError, UsageError, unwritable
from imageguard_daemon.core.files import PARTIAL_SUFFIX, NewFile, remove_partial
from imageguard_daemon.core.names import printable
from imageguard_daemon.core.tables import csv_line

TO_STANDARD_OUTPUT = "-"
PAGE_BEGINNING = b'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<!-- imageguard-daemon -->'
_FLUSH_SECONDS = 1.0
_ROWS_OF_A_GROUP = 5_000
_LINES_IN_MEMORY = 20_000
_MAX_RUNS = 50
BEGINNINGS = {"csv": b"path,score,issues,reason", "jsonl": b'{"path": ', "parquet": b"PAR1", "html": PAGE_BEGINNING}
"""By which the files of a scan are known, by their form."""


class Form(Protocol):
    """Rows as bytes of a stream, which belongs to whoever has opened it."""

    def write(self, row: Mapping[str, Value]) -> None:
        """Add one image."""

    def finish(self) -> None:
        """Write what is still to be written: afterwards it can be read as a whole."""


class _SortedLines:
    """Lines by their keys. Memory holds some thousands; sorted runs of the others lie in files that have no name."""

    def __init__(self) -> None:
        self._lines: list[tuple[str, str]] = []
        self._runs: list[IO[str]] = []

    def add(self, key: str, line: str) -> None:
        """Take one in."""
        self._lines.append((key, line))
        if len(self._lines) >= _LINES_IN_MEMORY:
            # A process may have few files open: what has become many runs is made one again.
            self._write_run(self._taken() if len(self._runs) < _MAX_RUNS else self.in_order())

    def in_order(self) -> Iterator[tuple[str, str]]:
        """Give all of them, and forget them."""
        runs, self._runs = self._runs, []
        return heapq.merge(self._taken(), *map(_lines_of_run, runs))

    def _taken(self) -> Iterator[tuple[str, str]]:
        lines, self._lines = sorted(self._lines), []
        return iter(lines)

    def _write_run(self, lines: Iterator[tuple[str, str]]) -> None:
        run = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - closed when it has been read
        run.writelines(f"{json.dumps(entry)}\n" for entry in lines)
        self._runs.append(run)


def _lines_of_run(run: IO[str]) -> Iterator[tuple[str, str]]:
    with run:
        run.seek(0)
        for line in run:
            key, text = json.loads(line)
            yield key, text


class CsvForm:
    """A table for spreadsheets and pandas: a header, then a row for each image, by path; on a terminal, names escaped.

    Workers are done with images in no order that anybody chose, and two tables of one folder are compared line by line.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lines = _SortedLines()
        self._is_for_people = stream.isatty()
        self._stream.write(csv_line(COLUMNS).encode())
        self._stream.flush()  # whoever reads a pipe sees at once that something will come

    def write(self, row: Mapping[str, Value]) -> None:
        """Add one image."""
        cells = list(cells_of(row))
        if self._is_for_people:
            cells = [printable(cell) if isinstance(cell, str) else cell for cell in cells]
        self._lines.add(str(cells[0]), csv_line(cells))

    def finish(self) -> None:
        """Write all rows, in the order of their first cells, the paths."""
        self._stream.writelines(line.encode() for _, line in self._lines.in_order())
        self._stream.flush()


class JsonlForm:
    """One JSON object a line, numbers unrounded. It is never far behind: it is flushed about once a second."""

    def __init__(self, stream: BinaryIO, now: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._now = now
        self._flushed_at = now()

    def write(self, row: Mapping[str, Value]) -> None:
        """Add one image."""
        self._stream.write(f"{json.dumps(row, allow_nan=False)}\n".encode())
        if self._now() - self._flushed_at >= _FLUSH_SECONDS:
            self._stream.flush()
            self._flushed_at = self._now()

    def finish(self) -> None:
        """Write what is still to be written."""
        self._stream.flush()


class ParquetForm:
    """A table for analysis."""

    def __init__(self, stream: BinaryIO) -> None:
        self._arrow, parquet = pyarrow_for("--parquet")
        self._schema = arrow_schema(COLUMNS)
        self._writer = parquet.ParquetWriter(stream, self._schema, compression="zstd")
        self._rows: list[Mapping[str, Value]] = []

    def write(self, row: Mapping[str, Value]) -> None:
        """Add one image."""
        self._rows.append(row)
        if len(self._rows) >= _ROWS_OF_A_GROUP:
            self._write_group()

    def finish(self) -> None:
        """Write the last rows, and what says where everything is."""
        if self._rows:
            self._write_group()
        self._writer.close()

    def _write_group(self) -> None:
        self._writer.write_table(self._arrow.Table.from_pylist(self._rows, schema=self._schema))
        self._rows = []


def arrow_schema(columns: Sequence[str]) -> Any:
    """Give the Arrow types of columns: those of a scan, and those a back-fill adds."""
    arrow, _ = pyarrow_for("Parquet")
    return arrow.schema([(name, _type_of(name, arrow)) for name in columns])


def _type_of(column: str, arrow: Any) -> Any:
    if column == "issues":
        return arrow.list_(arrow.string())
    if column in YES_OR_NO:
        return arrow.bool_()
    if column in WHOLE_NUMBERS:
        return arrow.int64()
    return arrow.float64() if column in NUMBERS else arrow.string()


def pyarrow_for(what: str) -> tuple[Any, Any]:
    """Give pyarrow and its Parquet.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra: only who asks for Parquet needs it
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError as error:
        raise UsageError(f"{what} needs pyarrow: pip install 'imageguard-daemon[parquet]'") from error
    return pa, parquet


class Outputs:
    """All outputs of one run. `only` gives the verdict whose images are written, `borderline`, or nothing for all.

    None of them bears its name before `publish`: until then, what was there before stays.

    Raises:
        AlreadyRunningError: another run is writing one of them; then this one has touched none.
        UsageError, FatalError: one of them was not made by a scan, or cannot be written.
    """

    def __init__(self, wanted: Mapping[str, str], *, only: str = "", overwrite: bool = False) -> None:
        self._only = only
        self._open: list[_Output] = []
        self.paths: tuple[Path, ...] = tuple(Path(path) for path in wanted.values() if path != TO_STANDARD_OUTPUT)
        for form, path in wanted.items():
            if path != TO_STANDARD_OUTPUT and not overwrite:
                require_ours(Path(path), form)
                require_ours(Path(f"{path}{PARTIAL_SUFFIX}"), form)  # it will be replaced, or taken away
        try:
            self._open.extend(_Output(form, path) for form, path in wanted.items())
        except BaseException:
            self.discard()
            raise

    def write(self, row: Mapping[str, Value]) -> None:
        """Add one image to each."""
        if not self._only or row["verdict"] == self._only or (self._only == "borderline" and row["borderline"]):
            for output in self._open:
                output.write(row)

    def publish(self) -> None:
        """Give all of them their names: the run has come to its end."""
        self._end(_Output.publish)

    def set_aside(self) -> tuple[str, ...]:
        """Keep what is there by now under names that say that it is not whole; gives these names."""
        names: list[str] = []
        self._end(lambda output: names.extend(filter(None, [output.set_aside()])))
        return tuple(names)

    def discard(self) -> None:
        """Leave nothing of what is not finished yet."""
        while self._open:
            self._open.pop().discard()

    def _end(self, how: "Callable[[_Output], None]") -> None:
        try:
            while self._open:
                how(self._open[0])
                self._open.pop(0)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise StorageError(f"results could not be written: {error.strerror or error}") from error
        finally:
            self.discard()


class _Output:
    """One file of results, or standard output."""

    def __init__(self, form: str, path: str) -> None:
        self._path = path
        if form == "parquet" and path == TO_STANDARD_OUTPUT:
            raise UsageError("--parquet needs a file: its end must be known before it can be read")
        with writing(path):
            self._file = None if path == TO_STANDARD_OUTPUT else NewFile(path)
        try:
            self._form = _FORMS[form](self._file.stream if self._file else sys.stdout.buffer)
        except BaseException:
            if self._file:
                self._file.discard()
            raise

    def write(self, row: Mapping[str, Value]) -> None:
        self._form.write(row)

    def publish(self) -> None:
        self._form.finish()
        if self._file:
            self._file.keep()
            remove_partial(self._path)  # only now: until the whole has its name, the part is all there is

    def set_aside(self) -> str:
        self._form.finish()
        return self._file.set_aside() if self._file else ""

    def discard(self) -> None:
        if self._file:
            with suppress(Exception):  # a form that is not finished would try to be when it is forgotten
                self._form.finish()
            self._file.discard()


_FORMS: dict[str, Callable[[BinaryIO], Form]] = {"csv": CsvForm, "jsonl": JsonlForm, "parquet": ParquetForm}


def require_ours(path: Path, form: str) -> None:
    """Refuse a file that already exists and no scan has made; UsageError says so."""
    if path.exists() and not path.is_file():  # a pipe or a device has no content to be lost
        return
    try:
        with path.open("rb") as file:
            beginning = file.read(len(BEGINNINGS[form]))
    except FileNotFoundError:
        return
    except OSError as error:
        raise unwritable(error, f"cannot write {printable(str(path))}") from error
    if beginning and beginning != BEGINNINGS[form]:
        raise UsageError(
            f"{printable(str(path))} already exists and was not made by a scan; name another file or give --overwrite"
        )


@contextmanager
def writing(path: str) -> Iterator[None]:
    """Translate what the file system says about an output."""
    try:
        yield
    except OSError as error:
        raise unwritable(error, f"cannot write {printable(path)}") from error
