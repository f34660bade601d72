"""What can be wrong between log and folders, what to do about it, and how both are told. Pure.

For people there is a summary, for programs a stream of rows.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from imageguard_daemon.core.names import inert, printable
from imageguard_daemon.core.tables import csv_line

if TYPE_CHECKING:
    from imageguard_daemon.verification.verifier import Verifier


class Kind(StrEnum):
    """What is wrong."""

    tampered = "tampered"
    missing = "missing"
    changed = "changed"
    relocated = "relocated"
    foreign = "foreign"
    unfinished = "unfinished"
    leftover = "leftover"
    unreadable = "unreadable"


MEANING = {
    Kind.tampered: "the log is not as the daemon wrote it",
    Kind.missing: "recorded as filed, but not there",
    Kind.changed: "not the file that was recorded",
    Kind.relocated: "moved by somebody else, contents unchanged",
    Kind.foreign: "in a destination, but no record of it",
    Kind.unfinished: "a move began and its end was never recorded",
    Kind.leftover: "temporary file of a move that is over",
    Kind.unreadable: "cannot be checked",
}
ADVICE = {
    Kind.tampered: "Keep this log as it is; compare it with a backup and find out who can write to it.",
    Kind.missing: "Put it back from a backup, unless you took it away yourself.",
    Kind.changed: "Put the original back from a backup; keep this one elsewhere until you know what happened.",
    Kind.relocated: "Let `verify --repair` record the new place, or move it back.",
    Kind.foreign: "Move it into the inbox to have it judged, or away.",
    Kind.unfinished: "Start the daemon, which finishes it.",
    Kind.leftover: "Delete it while no daemon runs; nothing needs it.",
    Kind.unreadable: "Verify as a user who may read it; with an input/output error, check the disk.",
}


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """One thing that is wrong; paths are absolute and raw, `record` is `table id`, both empty where there is none."""

    kind: Kind
    detail: str
    path: str = ""
    record: str = ""
    found_at: str = ""
    repaired: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Give what `--format json` and `csv` write, names escaped."""
        return {
            "kind": str(self.kind),
            "path": printable(self.path),
            "record": self.record,
            "detail": self.detail,
            "found_at": printable(self.found_at),
            "repaired": self.repaired,
            "advice": "" if self.repaired else ADVICE[self.kind],
        }


SHOWN_OF_EACH_KIND = 20
_COLUMNS = ("kind", "path", "record", "detail", "found_at", "repaired", "advice")


def summary(verifier: "Verifier") -> dict[str, Any]:
    """Give the totals that end `--format json`."""
    return {
        "records": verifier.links,
        "files": verifier.files,
        "counts": {str(kind): verifier.counts[kind] for kind in Kind},
        "unrepaired": verifier.left,
        "head": verifier.head.hex(),
    }


def json_lines(found: Iterable[Discrepancy], verifier: "Verifier") -> Iterator[str]:
    """Write one JSON object, piece by piece: `discrepancies`, then the totals."""
    yield '{"discrepancies": ['
    separator = ""
    for discrepancy in found:
        yield f"{separator}\n  {json.dumps(discrepancy.as_dict())}"
        separator = ","
    yield "\n],\n" + json.dumps(summary(verifier), indent=1)[2:] + "\n"


def csv_lines(found: Iterable[Discrepancy]) -> Iterator[str]:
    """Write a header and a row for each; no cell is a live formula."""
    yield csv_line(_COLUMNS)
    for discrepancy in found:
        yield csv_line(inert(str(value)) for value in discrepancy.as_dict().values())


def table(found: Iterable[Discrepancy], verifier: "Verifier", *, folders_searched: bool) -> RenderableType:
    """Show the first of each kind with what to do, then the totals."""
    examples: dict[Kind, list[Discrepancy]] = defaultdict(list)
    for discrepancy in found:
        if len(examples[discrepancy.kind]) < SHOWN_OF_EACH_KIND:
            examples[discrepancy.kind].append(discrepancy)
    parts = [part for kind in Kind if examples[kind] for part in _section(kind, examples[kind], verifier.counts[kind])]
    return Group(*parts, *_totals(verifier, folders_searched=folders_searched))


def _section(kind: Kind, examples: list[Discrepancy], count: int) -> Iterator[RenderableType]:
    yield Text(f"{kind} ({count:,}): {MEANING[kind]}", style="bold")
    for discrepancy in examples:
        yield Padding(Text(_line(discrepancy), overflow="fold"), (0, 0, 0, 2), expand=False)
    if count > len(examples):
        yield Padding(Text(f"and {count - len(examples):,} more; --format csv lists all"), (0, 0, 0, 2), expand=False)
    if not all(discrepancy.repaired for discrepancy in examples):
        yield Padding(Text(ADVICE[kind], style="italic"), (0, 0, 0, 2), expand=False)
    yield Text()


def _line(discrepancy: Discrepancy) -> str:
    name = printable(discrepancy.path) or discrepancy.record
    moved = f" -> {printable(discrepancy.found_at)}" if discrepancy.found_at else ""
    detail = f": {discrepancy.detail}" if discrepancy.detail else ""
    record = f" ({discrepancy.record})" if discrepancy.record and discrepancy.path else ""
    return f"{name}{moved}{detail}{record}"


def _totals(verifier: "Verifier", *, folders_searched: bool) -> Iterator[RenderableType]:
    total = verifier.counts.total()
    repaired = f", {total - verifier.left:,} repaired" if total > verifier.left else ""
    yield Text(f"{verifier.links:,} records and {verifier.files:,} filed files checked")
    if total:
        yield Text(f"{total:,} {'discrepancy' if total == 1 else 'discrepancies'}{repaired}", style="bold")
    else:
        yield Text("nothing wrong was found", style="bold")
    if not folders_searched:
        yield Text("Not searched for files without a record: name ROOT or --config beside --db for that.")
    yield Text(f"head of the chain: {verifier.head.hex()}", overflow="fold")
