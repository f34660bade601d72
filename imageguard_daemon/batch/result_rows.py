"""The results of a scan read again, CSV, JSON lines or Parquet: the rows that they were made of."""

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from imageguard_daemon.batch.judging import MEASURES, PATHS
from imageguard_daemon.batch.outputs import BEGINNINGS, pyarrow_for
from imageguard_daemon.batch.summary import Totals
from imageguard_daemon.errors import NoInputError
from imageguard_daemon.model import SCORE_NAMES
from imageguard_daemon.names import live, printable
from imageguard_daemon.writing import is_partial

_ROWS_AT_A_TIME = 5_000
_NUMBERS = frozenset({"score", "size_bytes", "mtime_ns", *SCORE_NAMES, *MEASURES})
_YES_OR_NO = frozenset({"borderline", "names_escaped"})
_NEEDED = frozenset({"path", "score", "reason", "verdict", "class", "detail", "width", "height", *SCORE_NAMES})
_LONGEST_CELL = 1 << 20
Row = Mapping[str, Any]


def totals_of(path: Path) -> Totals:
    """Count the images of a file of results.

    Raises:
        NoInputError: there is no such file, it is not whole, or no scan has written it.
        UsageError: Parquet cannot be read here.
    """
    totals = Totals()
    for row in rows_of(path):
        totals.add(row)
    return totals


def rows_of(path: Path) -> Iterator[Row]:
    """Yield the rows of a file of results, with their types, one after the other; errors are those of `totals_of`."""
    told = printable(str(path))
    if is_partial(path):
        raise NoInputError(f"{told} is of a scan that did not come to its end; the same scan goes on")
    try:
        with path.open("rb") as file:
            beginning = file.read(max(map(len, BEGINNINGS.values())))
        form = next((form for form, begin in BEGINNINGS.items() if beginning.startswith(begin)), "")
        if form not in _READERS:
            raise NoInputError(f"{told} was not written by scan --csv, --jsonl or --parquet")
        for row in _READERS[form](path):
            if not row.keys() >= _NEEDED or None in {row["score"], row["reason"], row["class"]}:
                raise NoInputError(f"{told} lacks columns of a scan's results, or has a row that is cut off")
            yield row
    except OSError as error:
        raise NoInputError(f"cannot read {told}: {error.strerror or error}") from error
    except (ValueError, TypeError, csv.Error) as error:  # undecodable, no JSON, no Arrow: all are ValueErrors
        raise NoInputError(f"{told} has something in it that no scan has written") from error


def _csv_rows(path: Path) -> Iterator[Row]:
    csv.field_size_limit(_LONGEST_CELL)
    with path.open(encoding="utf-8", newline="") as lines:
        for cells in csv.DictReader(lines):
            yield {name: _value(name, cell) for name, cell in cells.items()}


def _value(name: str, cell: str | None) -> Any:
    if name in _NUMBERS:
        return float(cell) if cell else None
    if name in _YES_OR_NO:
        return cell == "true"
    return cell if cell is None or name in PATHS else live(cell)


def _jsonl_rows(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield dict(json.loads(line))


def _parquet_rows(path: Path) -> Iterator[Row]:
    _, parquet = pyarrow_for("Parquet")
    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(_ROWS_AT_A_TIME):
            yield from batch.to_pylist()


_READERS = {"csv": _csv_rows, "jsonl": _jsonl_rows, "parquet": _parquet_rows}
