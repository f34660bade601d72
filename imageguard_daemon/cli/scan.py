"""`check` and `scan`: single images, or a folder, judged where they lie; a folder also filed by the same rules."""

import os
import signal
import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imageguard_daemon.cli.judging import (
    Preset,
    Readout,
    Set,
    SourceName,
    Workers,
    named_readout,
    readout_in_force,
    settings_of,
    show,
    source_of,
    with_rules,
)
from imageguard_daemon.cli.options import (
    EX_REJECTED,
    ConfigFile,
    FailOnReject,
    Format,
    OutputFormat,
    offer_presets,
    parse_thresholds,
)
from imageguard_daemon.cli.output import log_warnings, write
from imageguard_daemon.core.errors import NoInputError, UsageError
from imageguard_daemon.core.model import SCORE_NAMES, Measures
from imageguard_daemon.core.names import inert, printable
from imageguard_daemon.core.tables import csv_text

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from imageguard_daemon.batch.folder_scan import ScanRequest
    from imageguard_daemon.batch.running import Result
    from imageguard_daemon.core.model import Decision


def check(  # noqa: PLR0913, PLR0917 - one parameter for each option
    files: Annotated[list[Path], typer.Argument(metavar="FILE", readable=False, help="Images to look at.")],
    preset: Annotated[
        str,
        typer.Option(
            help="general, fine_grained, detection, segmentation, small_images or documents.",
            autocompletion=offer_presets,
        ),
    ] = "general",
    thresholds: Set = None,
    readout: Readout = None,
    output: Format = OutputFormat.table,
    fail_on_reject: FailOnReject = False,
) -> None:
    """Show the verdict, scores and measures of single images. Nothing is moved or recorded.

    Exits 0 whatever the verdicts, 1 with --fail-on-reject when an image was rejected, and 66 when a file cannot be
    read.
    """
    decisions, unreadable = _decide(files, preset, parse_thresholds(thresholds or []), readout)
    _write({printable(str(path)): decision for path, decision in decisions.items()}, output)
    for path, error in unreadable.items():
        typer.echo(f"error: {printable(str(path))}: {error}", err=True)
    if unreadable:
        raise typer.Exit(os.EX_NOINPUT)
    is_rejected = any(not decision.ok for decision in decisions.values())
    raise typer.Exit(EX_REJECTED if fail_on_reject and is_rejected else os.EX_OK)


def _decide(
    files: list[Path], preset: str, thresholds: Mapping[str, float], readout: Path | None
) -> "tuple[dict[Path, Decision], dict[Path, str]]":
    from imageguard_daemon.quality import OPENCV_ENVIRONMENT

    for name, value in OPENCV_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from imageguard_daemon.quality.decode.pillow import silent_standard_error
    from imageguard_daemon.quality.policy import thresholds_for
    from imageguard_daemon.quality.validation import validate_by  # which reads them

    own = None if readout is None else named_readout(readout)
    try:
        in_force = thresholds_for(preset, thresholds)
    except ValueError as error:
        raise UsageError(str(error)) from error
    decisions, unreadable = {}, {}
    for path in files:
        try:
            with silent_standard_error():
                decisions[path] = validate_by(own, path, preset, in_force)
        except OSError as error:
            unreadable[path] = error.strerror or str(error)
        except ValueError as error:  # a pipe, a device: no reason to say nothing of the others
            unreadable[path] = str(error)
    return decisions, unreadable


def _write(decisions: "Mapping[str, Decision]", output: OutputFormat) -> None:
    write(
        output,
        table=lambda: _as_panels(decisions),
        json=lambda: [_as_dict(name, decision) for name, decision in decisions.items()],
        csv=lambda: verdicts_csv(decisions),
    )


def _as_panels(decisions: "Mapping[str, Decision]") -> "RenderableType":
    from rich.console import Group

    return Group(*(verdict_panel(name, decision) for name, decision in decisions.items()))


def verdict_panel(name: str, decision: "Decision") -> "RenderableType":
    """Show one decision: the file, the verdict in words, and a row for each signal with what was measured."""
    from rich.console import Group
    from rich.text import Text

    from imageguard_daemon.quality.scoring import ACCEPTED_FROM, rounded

    verdict = Text("  ")
    verdict.append(decision.verdict, "green" if decision.ok else "red")
    verdict.append(f"  score {rounded(decision.score, ACCEPTED_FROM, 2):.2f}")
    if not decision.ok:
        verdict.append(f"  {', '.join(decision.issues)}", "yellow")
    if decision.borderline:
        verdict.append("  borderline", "yellow")
    parts = [Text(name, "bold"), verdict]
    if decision.detail:
        parts.append(Text(f"  {printable(decision.detail)}"))
    if not decision.measures:
        return Group(*parts, Text())
    return Group(*parts, _signal_table(decision), Text())


def _signal_table(decision: "Decision") -> "Table":
    from rich.table import Table

    from imageguard_daemon.quality.scoring import rounded, scores_by_threshold
    from imageguard_daemon.reporting.text import measured_in_words

    table = Table(box=None, padding=(0, 2), header_style="dim")
    table.add_column("")
    table.add_column("measured")
    table.add_column("score", justify="right")
    table.add_column("needed", justify="right")
    measured = measured_in_words(Measures(**decision.measures))  # type: ignore[arg-type]
    for name, score in scores_by_threshold(decision.scores, decision.measures).items():
        signal, needed = name.removesuffix("_score"), decision.thresholds[name]
        shown = f"{rounded(score, needed):.0f}"
        table.add_row(signal, measured[signal], shown, f"{needed:g}", style="red" if score < needed else "")
    return table


def _as_dict(name: str, decision: "Decision") -> dict[str, Any]:
    from imageguard_daemon.quality.scoring import ends_of_exposure

    return {
        "path": name,
        "ok": decision.ok,
        "score": decision.score,
        "reason": decision.reason,
        "borderline": decision.borderline,
        "issues": list(decision.issues),
        "detail": decision.detail,
        "scores": dict(decision.scores),
        "exposure_scores": ends_of_exposure(decision.scores["exposure_score"], decision.measures),
        "measures": dict(decision.measures),
        "preset": decision.preset,
        "thresholds": dict(decision.thresholds),
        "scorer_version": decision.scorer_version,
    }


def verdicts_csv(decisions: "Mapping[str, Decision]") -> str:
    """Write one row for each decision."""
    from imageguard_daemon.quality.scoring import ACCEPTED_FROM, rounded

    columns = ("path", "verdict", "score", "reason", "issues", *SCORE_NAMES, "detail")
    rows = (
        (
            name,
            decision.verdict,
            rounded(decision.score, ACCEPTED_FROM, 3),
            decision.reason,
            " ".join(decision.issues),
            *(rounded(decision.scores[score], decision.thresholds[score], 1) for score in SCORE_NAMES),
            printable(decision.detail),
        )
        for name, decision in decisions.items()
    )
    return csv_text(columns, ((inert(str(cell)) for cell in row) for row in rows))


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
