"""`imageguard-daemon check`."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imageguard_daemon.cli import completion
from imageguard_daemon.cli.judging_options import Readout, named_readout
from imageguard_daemon.cli.options import EX_REJECTED, FailOnReject, Format, OutputFormat, parse_thresholds
from imageguard_daemon.core.errors import UsageError
from imageguard_daemon.core.names import printable

if TYPE_CHECKING:
    from imageguard_daemon.core.model import Decision


def check(  # noqa: PLR0913, PLR0917 - one parameter for each option
    files: Annotated[list[Path], typer.Argument(metavar="FILE", readable=False, help="Images to look at.")],
    preset: Annotated[
        str,
        typer.Option(
            help="general, fine_grained, detection, segmentation, small_images or documents.",
            autocompletion=completion.presets,
        ),
    ] = "general",
    thresholds: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Another threshold, e.g. blur_score=55.",
            autocompletion=completion.thresholds,
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
    _SHOW[output](decisions)
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


def _show_tables(decisions: "Mapping[Path, Decision]") -> None:
    from rich.console import Console

    from imageguard_daemon.cli.verdict_text import verdict_panel

    console = Console()
    for path, decision in decisions.items():
        console.print(verdict_panel(printable(str(path)), decision))


def _as_json(path: Path, decision: "Decision") -> dict[str, Any]:
    from imageguard_daemon.quality.scoring import ends_of_exposure

    return {
        "path": printable(str(path)),
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


def _show_json(decisions: "Mapping[Path, Decision]") -> None:
    typer.echo(json.dumps([_as_json(path, decision) for path, decision in decisions.items()], indent=2))


def _show_csv(decisions: "Mapping[Path, Decision]") -> None:
    from imageguard_daemon.cli.verdict_text import verdicts_csv

    typer.echo(verdicts_csv({printable(str(path)): decision for path, decision in decisions.items()}), nl=False)


_SHOW = {OutputFormat.table: _show_tables, OutputFormat.json: _show_json, OutputFormat.csv: _show_csv}
