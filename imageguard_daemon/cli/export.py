"""`export`: judged images as a manifest that other tools read."""

import json
import os
import sys
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imageguard_daemon.cli.options import ConfigFile, Database, Root, settings_for
from imageguard_daemon.cli.scan import Only
from imageguard_daemon.core.errors import NoInputError, UsageError, unreadable, unwritable
from imageguard_daemon.core.files import written_whole
from imageguard_daemon.core.names import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import BinaryIO

    from imageguard_daemon.batch.export import Entry


class ManifestForm(StrEnum):
    """For whom a manifest is."""

    huggingface = "huggingface"
    fiftyone = "fiftyone"
    coco = "coco"
    list = "list"


To = Annotated[
    ManifestForm,
    typer.Option(
        "--to", help="huggingface: metadata.jsonl; fiftyone: samples; coco: --coco filtered; list: one path per line."
    ),
]
From = Annotated[
    Path | None, typer.Option("--from", metavar="RESULTS", help="Results of `scan --jsonl`, instead of an audit log.")
]
Output = Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="File to write; - is standard output.")]
Coco = Annotated[Path | None, typer.Option("--coco", metavar="FILE", help="With --to coco: the file to filter.")]
OnlyThese = Annotated[Only, typer.Option("--only", help="Which images to list.")]
Null = Annotated[bool, typer.Option("--null", "-0", help="With --to list: end each path with a NUL, for xargs -0.")]
ByContent = Annotated[
    bool, typer.Option("--verify-content", help="Also read each file and compare its content with what was judged.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a file that already exists.")]


def export(  # noqa: PLR0913, PLR0917 - one parameter for each option
    to: To,
    root: Root = None,
    config: ConfigFile = None,
    database: Database = None,
    results: From = None,
    output: Output = "-",
    only: OnlyThese = Only.accepted,
    coco: Coco = None,
    null: Null = False,
    verify_content: ByContent = False,
    overwrite: Overwrite = False,
) -> None:
    """List the accepted images for other tools, from an audit log or the results of a scan.

    Files that are missing, or changed since they were judged, are skipped and counted, and the exit code is 66. So are
    images whose records were archived, except with --to list.
    """
    _require_sense(to, output, coco, null=null)
    left = Counter[str]()

    from imageguard_daemon.batch.export import vouched, writable

    def good(every: "Iterable[Entry]") -> "Iterator[Entry]":
        wanted = (entry for entry in every if _is_wanted(entry, only))
        return vouched(_with_records(wanted, to, only, left), left, by_content=verify_content)

    entries = _entries(root, config, database, results)
    with _target(output, overwrite=overwrite) as stream:
        if to is ManifestForm.coco and coco is not None:
            written = _write_coco(entries, coco, stream, left, good)
        else:
            entries_written = writable(good(entries), to, left, null=null)
            written = _write_lines(entries_written, to, os.path.dirname(os.path.realpath(output)), stream, null=null)
    typer.echo(f"{written:,} {'image' if written == 1 else 'images'} written", err=True)
    for why, count in left.items():
        typer.echo(f"error: {count:,} left out: {why}", err=True)
    raise typer.Exit(os.EX_NOINPUT if left else os.EX_OK)


def _require_sense(to: ManifestForm, output: str, coco: Path | None, *, null: bool) -> None:
    if (to is ManifestForm.coco) != (coco is not None):
        raise UsageError("--to coco and --coco FILE go together: it is that file that is filtered")
    if null and to is not ManifestForm.list:
        raise UsageError("--null goes with --to list")
    if to is ManifestForm.huggingface and (output == "-" or os.path.basename(output) != "metadata.jsonl"):
        raise UsageError("--to huggingface needs --output FOLDER/metadata.jsonl, in a folder above all images")


def _entries(root: Path | None, config: Path | None, database: Path | None, results: Path | None) -> "Iterator[Entry]":
    from imageguard_daemon.batch.export import entries_of_log, entries_of_results

    if results is not None:
        if root is not None or database is not None:
            raise UsageError("--from replaces an audit log: it cannot be combined with ROOT or --db")
        return entries_of_results(results)
    settings = settings_for(root, config)
    return entries_of_log(database or settings.audit.database, settings)


def _is_wanted(entry: "Entry", only: Only) -> bool:
    if only is Only.borderline:
        return entry.borderline or entry.is_archived
    verdicts = {Only.all: ("accepted", "quarantined"), Only.accepted: ("accepted",), Only.rejected: ("quarantined",)}
    return entry.verdict in verdicts[only]


def _with_records(entries: "Iterable[Entry]", to: ManifestForm, only: Only, left: Counter[str]) -> "Iterator[Entry]":
    """Pass on the entries of which enough is known; of archived ones that is the path, and to whom they go."""
    for entry in entries:
        if entry.is_archived and (to is not ManifestForm.list or only is Only.borderline):
            left["an image whose record was archived (docs/audit-log.md says how to read it)"] += 1
        else:
            yield entry


def _write_lines(entries: "Iterable[Entry]", to: ManifestForm, folder: str, stream: "BinaryIO", *, null: bool) -> int:
    from imageguard_daemon.batch.export import fiftyone_line, huggingface_line

    written = 0
    for entry in entries:
        if to is ManifestForm.list:
            stream.write(os.fsencode(entry.path) + (b"\0" if null else b"\n"))
        else:
            if to is ManifestForm.huggingface:  # folders may be reached through links; the image itself may be one
                place, name = os.path.split(entry.path)
                entry = replace(entry, path=os.path.join(os.path.realpath(place), name))  # noqa: PLW2901
            line = huggingface_line(entry, folder) if to is ManifestForm.huggingface else fiftyone_line(entry)
            stream.write(f"{line}\n".encode())
        written += 1
    return written


def _write_coco(
    entries: "Iterable[Entry]",
    coco: Path,
    stream: "BinaryIO",
    left: Counter[str],
    good: "Callable[[Iterable[Entry]], Iterator[Entry]]",
) -> int:
    from imageguard_daemon.batch.export import CocoFilter

    try:
        wanted = CocoFilter(json.loads(coco.read_bytes()))
    except OSError as error:
        raise unreadable(error, printable(str(coco))) from error
    except ValueError as error:
        raise NoInputError(f"{printable(str(coco))} is not JSON: {error}") from error
    for entry in entries:
        wanted.note(entry, kept=any(good([entry])))
    filtered = wanted.filtered()
    if wanted.unjudged:
        left["an image of the COCO file that was not judged"] += wanted.unjudged
    stream.write(json.dumps(filtered).encode())
    return len(filtered["images"])


@contextmanager
def _target(path: str, *, overwrite: bool) -> "Iterator[BinaryIO]":
    """Give the manifest's file, which bears its name only when it is whole; an existing file stays, unless asked.

    Raises:
        UsageError: a file is there. FatalError: it cannot be written.
    """
    if path == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    if not overwrite and os.path.lexists(path):
        raise UsageError(f"{printable(path)} already exists; name another file or give --overwrite")
    try:
        with written_whole(path, replaces=overwrite) as stream:
            yield stream
    except OSError as error:
        raise unwritable(error, f"cannot write {printable(path)}") from error
