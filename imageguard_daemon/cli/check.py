"""`imageguard-daemon check`."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imageguard_daemon.cli.judging import Readout, named_readout
from imageguard_daemon.cli.options import (
    EX_REJECTED,
    FailOnReject,
    Format,
    OutputFormat,
    offer_presets,
    offer_thresholds,
    parse_thresholds,
)
from imageguard_daemon.cli.output import write
from imageguard_daemon.core.errors import UsageError
from imageguard_daemon.core.model import SCORE_NAMES, Measures
from imageguard_daemon.core.names import inert, printable
from imageguard_daemon.core.tables import csv_text

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

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
    thresholds: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Another threshold, e.g. blur_score=55.",
            autocompletion=offer_thresholds,
        ),
    ] = None,
    readout: Readout = None,
    output: Format = OutputFormat.table,
    fail_on_reject: FailOnReject = False,
) -> None:
    """Show the verdict, scores and measures of single images. Nothing is moved or recorded.

    Exits 0 whatever the verdicts, 1 with --fail-on-reject when an image was rejected, and 66 when a file cannot be
    read.
    """
    chosen = parse_thresholds(thresholds or [])
    decisions, unreadable = _decide(files, preset, chosen, readout)
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
    from imageguard_daemon.quality.decode.warning_filters import silent_standard_error
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
        told = f"{rounded(score, needed):.0f}"
        table.add_row(signal, measured[signal], told, f"{needed:g}", style="red" if score < needed else "")
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
