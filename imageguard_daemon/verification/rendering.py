"""What `verify` prints: a summary for people, streams of rows for programs."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from imageguard_daemon.core.names import inert, printable
from imageguard_daemon.core.tables import csv_line
from imageguard_daemon.verification.discrepancies import ADVICE, MEANING, Discrepancy, Kind
from imageguard_daemon.verification.verifier import Verifier

SHOWN_OF_EACH_KIND = 20
_COLUMNS = ("kind", "path", "record", "detail", "found_at", "repaired", "advice")


def summary(verifier: Verifier) -> dict[str, Any]:
    """Give the totals that end `--format json`."""
    return {
        "records": verifier.links,
        "files": verifier.files,
        "counts": {str(kind): verifier.counts[kind] for kind in Kind},
        "unrepaired": verifier.left,
        "head": verifier.head.hex(),
    }


def json_lines(found: Iterable[Discrepancy], verifier: Verifier) -> Iterator[str]:
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


def table(found: Iterable[Discrepancy], verifier: Verifier, *, folders_searched: bool) -> RenderableType:
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


def _totals(verifier: Verifier, *, folders_searched: bool) -> Iterator[RenderableType]:
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
