"""Where results are written while they come: CSV and JSON lines row by row, Parquet in groups of rows.

A file that is already there is replaced only if a scan has made it, or if the user says so.
"""

import csv
import fcntl
import io
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, TextIO

from imageguard_daemon.batch.judging import COLUMNS, Value, cells_of
from imageguard_daemon.errors import AlreadyRunningError, StorageError, UsageError
from imageguard_daemon.model import SCORE_NAMES
from imageguard_daemon.names import inert, printable

TO_STANDARD_OUTPUT = "-"
_FLUSH_SECONDS = 1.0
_ROWS_OF_A_GROUP = 5_000
_BEGINNINGS = {"csv": b"path,score,issues,reason", "jsonl": b'{"path": ', "parquet": b"PAR1"}
_WHOLE = {"width", "height", "size_bytes", "row"}
_NUMBERS = {"score", *SCORE_NAMES, *COLUMNS[COLUMNS.index("blur_sigma_px") : COLUMNS.index("class")]}


class Output(Protocol):
    """One file of results."""

    def write(self, row: Mapping[str, Value]) -> None:
        """Add one image."""

    def close(self) -> None:
        """Finish the file: afterwards it can be read as a whole."""


class _Lines:
    """A text file that is never far behind: it is flushed about once a second."""

    def __init__(self, stream: TextIO, now: Callable[[], float]) -> None:
        self._stream = stream
        self._now = now
        self._flushed_at = now()

    def write(self, line: str) -> None:
        self._stream.write(line)
        if self._now() - self._flushed_at >= _FLUSH_SECONDS:
            self._stream.flush()
            self._flushed_at = self._now()

    def close(self) -> None:
        if self._stream is sys.stdout:
            self._stream.flush()
        else:
            self._stream.close()


class CsvOutput:
    """A table for spreadsheets and pandas: a header, then a row for each image; formulas in names are disarmed."""

    def __init__(self, stream: TextIO, now: Callable[[], float] = time.monotonic) -> None:
        self._lines = _Lines(stream, now)
        self._lines.write(_csv_line(COLUMNS))

    def write(self, row: Mapping[str, Value]) -> None:
        """Add one image."""
        self._lines.write(_csv_line(inert(cell) if isinstance(cell, str) else cell for cell in cells_of(row)))

    def close(self) -> None:
        """Finish the file."""
        self._lines.close()


def _csv_line(cells: Any) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()


class JsonlOutput:
    """One JSON object a line, numbers unrounded."""

    def __init__(self, stream: TextIO, now: Callable[[], float] = time.monotonic) -> None:
        self._lines = _Lines(stream, now)

    def write(self, row: Mapping[str, Value]) -> None:
        """Add one image."""
        self._lines.write(f"{json.dumps(row, allow_nan=False)}\n")

    def close(self) -> None:
        """Finish the file."""
        self._lines.close()


class ParquetOutput:
    """A table for analysis; it bears its name only when it is finished, since half of one cannot be read."""

    def __init__(self, path: Path) -> None:
        self._arrow, self._parquet = pyarrow_for("--parquet")
        self._path, self._temporary = path, path.with_name(f".imageguard-{path.name}.part")
        self._schema = arrow_schema(COLUMNS)
        self._writer = self._parquet.ParquetWriter(self._temporary, self._schema, compression="zstd")
        self._rows: list[Mapping[str, Value]] = []

    def write(self, row: Mapping[str, Value]) -> None:
        """Add one image."""
        self._rows.append(row)
        if len(self._rows) >= _ROWS_OF_A_GROUP:
            self._write_group()

    def close(self) -> None:
        """Finish the file and give it its name."""
        if self._rows:
            self._write_group()
        self._writer.close()
        os.replace(self._temporary, self._path)

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
    if column == "borderline":
        return arrow.bool_()
    if column in _WHOLE:
        return arrow.int64()
    return arrow.float64() if column in _NUMBERS else arrow.string()


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
    """All outputs of one run. `only` gives the verdict whose images are written, `borderline`, or nothing for all."""

    def __init__(self, wanted: Mapping[str, str], *, only: str = "", overwrite: bool = False) -> None:
        self._only = only
        self._open: list[Output] = []
        self.paths: tuple[Path, ...] = tuple(Path(path) for path in wanted.values() if path != TO_STANDARD_OUTPUT)
        for form, path in wanted.items():
            if path != TO_STANDARD_OUTPUT and not overwrite:
                _require_ours(Path(path), form)
        try:
            for form, path in wanted.items():
                self._open.append(_open(form, path))
        except BaseException:
            self.close()
            raise

    def write(self, row: Mapping[str, Value]) -> None:
        """Add one image to each."""
        if not self._only or row["verdict"] == self._only or (self._only == "borderline" and row["borderline"]):
            for output in self._open:
                output.write(row)

    def close(self) -> None:
        """Finish all of them."""
        errors = []
        while self._open:
            try:
                self._open.pop().close()
            except OSError as error:
                errors.append(error)
        if errors and isinstance(errors[0], BrokenPipeError):
            raise errors[0]
        if errors:
            raise StorageError(f"results could not be written: {errors[0].strerror or errors[0]}") from errors[0]


def _require_ours(path: Path, form: str) -> None:
    try:
        with path.open("rb") as file:
            beginning = file.read(len(_BEGINNINGS[form]))
    except FileNotFoundError:
        return
    except OSError as error:
        raise StorageError(f"cannot write {printable(str(path))}: {error.strerror}") from error
    if beginning and beginning != _BEGINNINGS[form]:
        raise UsageError(
            f"{printable(str(path))} is there already and was not made by a scan; name another file or give --overwrite"
        )


def _open(form: str, path: str) -> Output:
    if form == "parquet":
        if path == TO_STANDARD_OUTPUT:
            raise UsageError("--parquet needs a file: its end must be known before it can be read")
        with _writing(path):
            return ParquetOutput(Path(path))
    stream: TextIO = sys.stdout
    if path != TO_STANDARD_OUTPUT:
        with _writing(path):
            stream = _locked(path)
    return CsvOutput(stream) if form == "csv" else JsonlOutput(stream)


def _locked(path: str) -> TextIO:
    """Open a file anew, unless another process is writing it."""
    stream = open(path, "a", encoding="utf-8", newline="")  # noqa: SIM115 - closed with the output
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        stream.close()
        raise AlreadyRunningError(f"another process is writing {printable(path)}") from None
    except OSError:  # a file system without locks
        pass
    with suppress(OSError):  # a pipe or a device cannot be emptied, and need not be
        stream.truncate(0)
    return stream


@contextmanager
def _writing(path: str) -> Iterator[None]:
    """Translate what the file system says about an output."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot write {printable(path)}: {error.strerror or error}") from error
