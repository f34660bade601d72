"""What a scan comes to: totals, the worst images, and the findings that `report` would tell.

It is counted while images are judged, or later from the results, whatever their form: CSV, JSON lines or Parquet.
"""

import csv
import heapq
import json
import math
import os
import stat
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.text import Text

from imageguard_daemon.audit.counts import Count, Dimension, Scope
from imageguard_daemon.batch.judging import NUMBERS, PATHS, YES_OR_NO, Value, shown_name
from imageguard_daemon.batch.outputs import BEGINNINGS, pyarrow_for
from imageguard_daemon.core.errors import NoInputError, unreadable
from imageguard_daemon.core.files import is_partial
from imageguard_daemon.core.model import SCORE_NAMES
from imageguard_daemon.core.names import live, printable
from imageguard_daemon.reporting.rendering import as_dict, borderline_in_words, details, rate_in_words
from imageguard_daemon.reporting.report import EVERYTHING, Facts, Grouping, Report, make_report
from imageguard_daemon.reporting.sizes import Bands, bands_of, bin_of

if TYPE_CHECKING:
    from imageguard_daemon.config import Reporting
    from imageguard_daemon.core.model import Verdict

WORST_SHOWN = 10
CLASSES_SHOWN = 20
OTHER_CLASSES = "(other classes)"
_MOST_CLASSES = 100_000
"""So many are counted by themselves, each with its reasons: folders named after hashes must not fill memory."""
_MOST_SCORERS = 20
_OF_A_LOG = (
    *("since", "until", "source", "class", "camera", "host", "preset"),
    *("quarantined", "duplicates", "trend", "percentiles", "nearest"),
)


class Totals:
    """Counts images by class, verdict and reason, and remembers the worst. Memory grows with classes, to a bound."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, Verdict, str]] = Counter()
        self._worst: list[tuple[float, str, str]] = []
        self._sizes: dict[tuple[str, int], list[int]] = {}
        self._scorers: set[str] = set()
        self.rejected = 0
        self.borderline = 0

    def add(self, row: Mapping[str, Value]) -> None:
        """Count one image, given by its columns."""
        reason, detail = str(row["reason"]), str(row["detail"])
        class_name = shown_name(row, "class")
        self._count(class_name, reason, 1)
        self.borderline += bool(row.get("borderline"))
        if len(self._scorers) < _MOST_SCORERS and (scorer_version := row.get("scorer_version")):
            self._scorers.add(str(scorer_version))
        if row.get("resolution_score") is not None and row["width"] and row["height"]:
            size = int(float(str(row["width"]))), int(float(str(row["height"])))
            self._count_size(class_name, bin_of(float(str(row["resolution_score"]))), (1, *size))
        if reason:
            self._keep(
                (-float(str(row["score"])), shown_name(row, "path"), f"{reason}: {detail}" if detail else reason)
            )

    def as_plain(self) -> dict[str, Any]:
        """Give the counts in a form for files, for `merge` to take elsewhere."""
        # Without verdicts, which follow from the reasons.
        counts = sorted((class_name, reason, n) for (class_name, _, reason), n in self._counts.items())
        sizes = sorted((class_name, at, *in_bin) for (class_name, at), in_bin in self._sizes.items())
        return {"counts": counts, "worst": sorted(self._worst), "borderline": self.borderline, "sizes": sizes}

    def merge(self, plain: Mapping[str, Any]) -> None:
        """Add what others have counted."""
        for class_name, reason, n in plain["counts"]:
            self._count(class_name, reason, n)
        self.borderline += plain.get("borderline", 0)
        for score, path, why in plain["worst"]:
            self._keep((score, path, why))
        for class_name, at, *size in plain.get("sizes", ()):  # results of earlier versions have none
            self._count_size(class_name, at, (size[0], size[1], size[2]))

    def _count(self, class_name: str, reason: str, images: int) -> None:
        verdict: Verdict = "quarantined" if reason else "accepted"
        if len(self._counts) >= _MOST_CLASSES and (class_name, verdict, reason) not in self._counts:
            class_name = OTHER_CLASSES
        self._counts[class_name, verdict, reason] += images
        self.rejected += images if reason else 0

    def _count_size(self, class_name: str, at: int, counted: tuple[int, int, int]) -> None:
        """Count images of a bin of sizes, and remember the smallest width and height of those that are in it."""
        if len(self._sizes) >= _MOST_CLASSES and (class_name, at) not in self._sizes:
            class_name = OTHER_CLASSES
        images, *size = counted
        in_bin = self._sizes.setdefault((class_name, at), [0, *size])
        in_bin[:] = [in_bin[0] + images, *min(in_bin[1:], size)]

    def _keep(self, entry: tuple[float, str, str]) -> None:
        """Keep one of the worst; the heap gives up its smallest: of negated scores the one that is least bad."""
        if len(self._worst) < WORST_SHOWN:
            heapq.heappush(self._worst, entry)
        else:
            heapq.heappushpop(self._worst, entry)

    @property
    def total(self) -> int:
        """How many images were judged."""
        return self._counts.total()

    @property
    def scorer_versions(self) -> list[str]:
        """By whom they were measured, as records name it; the first few of very many."""
        return sorted(self._scorers)

    def worst(self) -> Iterator[tuple[str, str]]:
        """Yield path and reason of the images with the lowest scores, the worst first."""
        worst_first = sorted(self._worst, key=lambda entry: (-entry[0], entry[1]))  # scores are negated, for the heap
        for _, path, reason in worst_first:
            yield path, reason

    def report(self, settings: "Reporting", by: Grouping = (Dimension.class_,)) -> Report:
        """Give the report on them, by class, by reason, or by both."""
        counts = [
            Count((class_name, "scan", ""), verdict, reason, n)
            for (class_name, verdict, reason), n in self._counts.items()
        ]
        facts = Facts({EVERYTHING: counts}, bands=self._bands(), of_a_log=False)
        return make_report(by, Scope(), facts, settings)

    def _bands(self) -> dict[str, Bands]:
        """Give the small images of one size, of all classes together and of each."""
        whole: dict[int, list[int]] = {}
        classes: dict[str, dict[int, list[int]]] = {}
        for (class_name, at), (images, *size) in sorted(self._sizes.items()):
            classes.setdefault(class_name, {})[at] = [images, *size]
            in_bin = whole.setdefault(at, [0, *size])
            in_bin[0] += images
        classes = {name: sizes for name, sizes in classes.items() if name and name != OTHER_CLASSES}
        return {"source": bands_of({"scan": whole}), "class": bands_of(classes)}


@dataclass(frozen=True, slots=True)
class Summary:
    """A scan in numbers. `known` images were taken from an earlier run; `unread` says why others could not be read.

    `scorer_version` is by whom images were measured, as records name it, several in a row of results that were joined;
    `code` is which code took the features, which results that are read again do not say.
    """

    folder: str
    totals: Totals
    report: Report
    known: int
    left: dict[str, int]
    unread: dict[str, int]
    is_complete: bool
    scorer_version: str | None = None
    code: str | None = None


def as_summary(summary: Summary, *, filed: str = "") -> RenderableType:
    """Give it for people; `filed` says what was done with the files, if anything."""
    return Group(*_parts(summary, filed))


def _parts(summary: Summary, filed: str) -> Iterator[RenderableType]:
    overall = summary.report.overall
    judged = "judged" if summary.is_complete else "judged so far"
    images = f"{overall.total:,} {'image' if overall.total == 1 else 'images'} {judged} in {summary.folder}"
    from_earlier = f" ({summary.known:,} known from an earlier run)" if summary.known else ""
    verdicts = f"{overall.total - overall.rejected:,} accepted, {overall.rejected:,} rejected{filed}"
    lines = [images + from_earlier, verdicts]
    if overall.total:
        lines += rate_in_words(summary.report)
    if summary.totals.borderline:
        lines.append(borderline_in_words(summary.totals.borderline))
    yield Text("\n".join(lines), overflow="fold")
    if len(scorers := summary.totals.scorer_versions) > 1:
        names = ", ".join(map(printable, scorers))
        mixed = f"measured by several scorers ({names}): their scores mean other things"
        yield Text(mixed, style="yellow", overflow="fold")
    if not overall.total:
        return
    yield from details(summary.report, CLASSES_SHOWN)
    worst = list(summary.totals.worst())
    if worst:
        yield Text()
        more = f", the worst {len(worst)} of {overall.rejected:,}" if overall.rejected > len(worst) else ""
        yield Text(f"Rejected{more}", style="bold")
        for path, reason in worst:
            yield Text(f"- {path}: {reason}", overflow="fold")


def as_json(summary: Summary) -> dict[str, Any]:
    """Give it for programs: what `report --format json` has, and what a scan adds."""
    report = as_dict(summary.report)
    for key in _OF_A_LOG:
        report.pop(key)
    return {
        "folder": summary.folder,
        "is_complete": summary.is_complete,
        **report,
        "rejected": summary.report.overall.rejected,
        "borderline": summary.totals.borderline,
        "known_from_earlier": summary.known,
        "left_out": summary.left,
        "unread": summary.unread,
        "scorer_version": summary.scorer_version,
        "code": summary.code,
        "worst": [{"path": path, "reason": reason} for path, reason in summary.totals.worst()],
    }


_ROWS_AT_A_TIME = 5_000
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
    totals, shown = Totals(), printable(str(path))
    if is_partial(path):
        raise NoInputError(f"{shown} is of a scan that did not come to its end; the same scan goes on")
    try:
        for row in _READERS[_form_of(path)](path):
            _require_result(row, shown)
            totals.add(row)
    except OSError as error:
        raise unreadable(error, shown) from error
    except _NEVER_WRITTEN as error:
        raise NoInputError(f"{shown} has something in it that no scan has written") from error
    return totals


def _form_of(path: Path) -> str:
    """Tell by how it begins what form a file has."""
    shown = printable(str(path))
    if not stat.S_ISREG(path.stat().st_mode):
        raise NoInputError(f"{shown} is not a regular file: results are looked at twice, so they must be saved in one")
    with path.open("rb") as file:
        beginning = file.read(max(map(len, BEGINNINGS.values())))
    if beginning.startswith(_GZIP):
        raise NoInputError(f"{shown} is compressed: unpack it first (gunzip)")
    form = next((form for form, begin in BEGINNINGS.items() if beginning.startswith(begin)), "")
    if form not in _READERS:
        raise NoInputError(f"{shown} was not written by scan --csv, --jsonl or --parquet")
    return form


def _require_result(row: Row, shown: str) -> None:
    """Refuse what is none of a scan's rows: a part of one, or one whose values mean nothing."""
    if not row.keys() >= _NEEDED or None in {row["score"], row["reason"], row["class"]}:
        raise NoInputError(f"{shown} lacks columns of a scan's results, or has a row that is cut off")
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
        file.seek(-1, os.SEEK_END)  # rows are written with their ends: without one, the file was cut off
        if file.read(1) != b"\n":
            raise NoInputError(f"{printable(str(path))} is cut off: its last line has no end")
    with path.open(encoding="utf-8", newline="") as lines:
        for cells in csv.DictReader(lines, strict=True):
            if None in cells or None in cells.values():
                raise ValueError("a row has more or fewer cells than there are columns")
            yield {name: _value(name, cell) for name, cell in cells.items()}


def _value(name: str, cell: str) -> Any:
    if name in NUMBERS:
        return float(cell) if cell else None
    if name in YES_OR_NO:
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
