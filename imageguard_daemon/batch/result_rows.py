"""The results of a scan read again, CSV, JSON lines or Parquet: the rows that they were made of."""

import csv
import json
import math
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from imageguard_daemon.batch.judging import MEASURES, PATHS
from imageguard_daemon.batch.outputs import BEGINNINGS, pyarrow_for
from imageguard_daemon.batch.scan_summary import Totals
from imageguard_daemon.core.errors import NoInputError, unreadable
from imageguard_daemon.core.files import is_partial
from imageguard_daemon.core.model import SCORE_NAMES
from imageguard_daemon.core.names import live, printable

_ROWS_AT_A_TIME = 5_000
_NUMBERS = frozenset({"score", "size_bytes", "mtime_ns", *SCORE_NAMES, *MEASURES})
_YES_OR_NO = frozenset({"borderline", "names_escaped"})
_NEEDED = frozenset({"path", "score", "reason", "verdict", "class", "detail", "width", "height"}) | {
    "scorer_version",
    *SCORE_NAMES,
}
_WORDS = ("path", "reason", "verdict", "class", "detail", "scorer_version")
_NEVER_WRITTEN = (ValueError, TypeError, AttributeError, OverflowError, RecursionError, csv.Error)
"""What comes of bytes that are not text, no JSON or no Arrow, of rows that are not rows, and of numbers beyond all."""
_GZIP = b"\x1f\x8b"
_LONGEST_CELL = 1 << 20
Row = Mapping[str, Any]


def totals_of(path: Path) -> Totals:
    """Count the images of a file of results.

    Raises:
        NoInputError: there is no such file, it is not whole, or no scan has written it.
        UsageError: Parquet cannot be read here.
    """
    totals, told = Totals(), printable(str(path))
    if is_partial(path):
        raise NoInputError(f"{told} is of a scan that did not come to its end; the same scan goes on")
    try:
        for row in _READERS[_form_of(path)](path):
            _require_result(row, told)
            totals.add(row)
    except OSError as error:
        raise unreadable(error, told) from error
    except _NEVER_WRITTEN as error:
        raise NoInputError(f"{told} has something in it that no scan has written") from error
    return totals


def _form_of(path: Path) -> str:
    """Tell by how it begins what form a file has."""
    told = printable(str(path))
    if not stat.S_ISREG(path.stat().st_mode):
        raise NoInputError(f"{told} is not a regular file: results are looked at twice, so they must be saved in one")
    with path.open("rb") as file:
        beginning = file.read(max(map(len, BEGINNINGS.values())))
    if beginning.startswith(_GZIP):
        raise NoInputError(f"{told} is compressed: unpack it first (gunzip)")
    form = next((form for form, begin in BEGINNINGS.items() if beginning.startswith(begin)), "")
    if form not in _READERS:
        raise NoInputError(f"{told} was not written by scan --csv, --jsonl or --parquet")
    return form


def _require_result(row: Row, told: str) -> None:
    """Refuse what is none of a scan's rows: a part of one, or one whose values mean nothing."""
    if not row.keys() >= _NEEDED or None in {row["score"], row["reason"], row["class"]}:
        raise NoInputError(f"{told} lacks columns of a scan's results, or has a row that is cut off")
    if not all(isinstance(row[name], str) for name in _WORDS):
        raise TypeError("what is a word is none")
    if row["verdict"] != ("quarantined" if row["reason"] else "accepted"):
        raise ValueError("the verdict is none, or not that of the reason")
    if not 0 <= _number(row["score"]) <= 1:
        raise ValueError("the score is not from 0 to 1")
    for name in (*SCORE_NAMES, "width", "height"):
        if row[name] is not None:
            _number(row[name])


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError("what is a number is none")
    return value


def _csv_rows(path: Path) -> Iterator[Row]:
    csv.field_size_limit(_LONGEST_CELL)
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        if file.read(1) != b"\n":
            raise NoInputError(f"{printable(str(path))} is cut off: its last line has no end")
    with path.open(encoding="utf-8", newline="") as lines:
        for cells in csv.DictReader(lines, strict=True):
            if None in cells or None in cells.values():
                raise ValueError("a row has more or fewer cells than there are columns")
            yield {name: _value(name, cell) for name, cell in cells.items()}


def _value(name: str, cell: str) -> Any:
    if name in _NUMBERS:
        return float(cell) if cell else None
    if name in _YES_OR_NO:
        return cell == "true"
    return cell if name in PATHS else live(cell)


def _jsonl_rows(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield dict(json.loads(line))


def _parquet_rows(path: Path) -> Iterator[Row]:
    _, parquet = pyarrow_for("Parquet")
    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(_ROWS_AT_A_TIME) if file.num_row_groups else ():  # pyarrow 18 raises
            yield from batch.to_pylist()


_READERS = {"csv": _csv_rows, "jsonl": _jsonl_rows, "parquet": _parquet_rows}
