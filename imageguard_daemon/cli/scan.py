"""`scan`: a folder judged where it lies, or filed by the same rules."""

import os
import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imageguard_daemon.cli.judging import (
    Preset,
    Readout,
    Set,
    SourceName,
    Workers,
    readout_in_force,
    settings_of,
    show,
    source_of,
    with_rules,
)
from imageguard_daemon.cli.options import EX_REJECTED, ConfigFile, FailOnReject, OutputFormat, parse_thresholds
from imageguard_daemon.cli.output import log_warnings
from imageguard_daemon.core.errors import NoInputError, UsageError
from imageguard_daemon.core.names import printable

if TYPE_CHECKING:
    from imageguard_daemon.batch.folder_scan import ScanRequest
    from imageguard_daemon.batch.running import Result

EX_READER_GONE = 128 + signal.SIGPIPE


class Only(StrEnum):
    """Which images outputs have."""

    all = "all"
    accepted = "accepted"
    rejected = "rejected"
    borderline = "borderline"


Folder = Annotated[
    Path,
    typer.Argument(
        metavar="FOLDER", readable=False, help="Folder tree to judge; the first level below it is the class."
    ),
]
Csv = Annotated[
    str | None, typer.Option("--csv", metavar="FILE", help="Write a row for each image; - is standard output.")
]
Jsonl = Annotated[str | None, typer.Option("--jsonl", metavar="FILE", help="Write a line of JSON for each image.")]
Parquet = Annotated[
    str | None, typer.Option("--parquet", metavar="FILE", help="Write a Parquet file (needs the extra `parquet`).")
]
Html = Annotated[
    str | None,
    typer.Option(
        "--html",
        metavar="FILE",
        help="Write a page with findings, charts, and pictures of what was rejected, in one file.",
    ),
]
OnlyThese = Annotated[Only, typer.Option("--only", help="Which images the files above have; totals are of all.")]
MoveTo = Annotated[
    Path | None,
    typer.Option(
        "--move",
        metavar="DEST",
        help="Move the images to DEST/accepted and DEST/quarantine, recorded in DEST/audit.db, as the daemon does.",
    ),
]
LinkIn = Annotated[
    Path | None,
    typer.Option(
        "--link",
        metavar="DEST",
        help="Make symbolic links to the images in DEST/accepted and DEST/quarantine; the images stay untouched.",
    ),
]
Hard = Annotated[bool, typer.Option("--hard-links", help="With --link: make hard links in place of symbolic ones.")]
State = Annotated[
    Path | None,
    typer.Option(
        "--state",
        metavar="FILE",
        help="Where measurements are kept, so that an interrupted scan goes on (default: beside the first output).",
    ),
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Ignore earlier measurements: measure every image again.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace output files even if a scan did not write them.")]
Form = Annotated[OutputFormat, typer.Option("--format", "-f", help="Form of the summary.")]


def scan(  # noqa: PLR0913, PLR0917 - one parameter for each option
    folder: Folder,
    csv: Csv = None,
    jsonl: Jsonl = None,
    parquet: Parquet = None,
    html: Html = None,
    only: OnlyThese = Only.all,
    fail_on_reject: FailOnReject = False,
    move: MoveTo = None,
    link: LinkIn = None,
    hard_links: Hard = False,
    preset: Preset = None,
    thresholds: Set = None,
    config: ConfigFile = None,
    source: SourceName = None,
    workers: Workers = None,
    readout: Readout = None,
    state: State = None,
    fresh: Fresh = False,
    overwrite: Overwrite = False,
    output: Form = OutputFormat.table,
) -> None:
    """Judge all images of a folder in place; nothing is moved without --move.

    Run the same command again to resume an interrupted scan: measurements are kept in a small file. Unchanged images
    are not measured again, even for other thresholds.

    Exits 0 whatever the verdicts, 1 with --fail-on-reject when an image was rejected, 66 when something could not be
    read, 75 when --move left files behind, 130 when interrupted.
    """
    from imageguard_daemon.batch.folder_move import FolderMove
    from imageguard_daemon.batch.folder_scan import FolderScan, ScanRequest
    from imageguard_daemon.batch.running import run

    settings = settings_of(config, workers, readout)
    console = log_warnings()
    request = ScanRequest(
        folder=_checked(folder),
        settings=settings,
        source=with_rules(source_of(settings, source), preset, parse_thresholds(thresholds or [])),
        outputs=_outputs(csv, jsonl, parquet, html),
        readout=readout_in_force(settings, readout),
        page=html or "",
        only={Only.all: "", Only.rejected: "quarantined"}.get(only, only.value),
        move=move,
        link=link,
        hard_links=hard_links,
        state=state,
        fresh=fresh,
        overwrite=overwrite,
    )
    _require_sense(request)
    try:
        result = run(FolderMove(request) if move else FolderScan(request), console)
        show(result, output, console)
    except BrokenPipeError:  # `head` perhaps; the library would exit 1, which means something else here
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(EX_READER_GONE) from None
    raise typer.Exit(_exit_code(result, fail_on_reject=fail_on_reject))


def _checked(folder: Path) -> Path:
    if not folder.is_dir():
        what = "is a file, not a folder; `check` looks at single images" if folder.exists() else "is not there"
        raise NoInputError(f"{printable(str(folder))} {what}")
    return folder


def _outputs(csv: str | None, jsonl: str | None, parquet: str | None, html: str | None) -> dict[str, str]:
    wanted = {form: path for form, path in (("csv", csv), ("jsonl", jsonl), ("parquet", parquet)) if path}
    files = [*wanted.values(), *filter(None, [html])]
    if len(set(map(os.path.realpath, files))) < len(files):
        raise UsageError("two outputs cannot go to the same file")
    return wanted


def _require_sense(request: "ScanRequest") -> None:
    if request.move and request.link:
        raise UsageError("--move and --link cannot be combined")
    if request.hard_links and not request.link:
        raise UsageError("--hard-links goes with --link")
    if request.move and (request.state or request.fresh):
        raise UsageError(
            "--move keeps no state, its moves are in DEST/audit.db: it cannot be combined with --state or --fresh"
        )


def _exit_code(result: "Result", *, fail_on_reject: bool) -> int:
    """Choose the code: what is not known counts more than what was found."""
    if result.exit_code:
        return result.exit_code
    if result.unread.total or not result.summary.totals.total:
        return os.EX_NOINPUT
    return EX_REJECTED if fail_on_reject and result.summary.totals.rejected else os.EX_OK
