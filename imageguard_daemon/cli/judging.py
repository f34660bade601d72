"""What commands that judge images where they lie share: whose rules and readout, and what they say at the end."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imageguard_daemon.cli.options import OutputFormat, offer_presets, offer_thresholds, settings_for
from imageguard_daemon.cli.output import write
from imageguard_daemon.core.errors import UsageError
from imageguard_daemon.core.names import printable

if TYPE_CHECKING:
    from rich.console import Console

    from imageguard_daemon.batch.running import Result
    from imageguard_daemon.config import Settings, Source
    from imageguard_daemon.quality.readout import Readout as OwnReadout

Preset = Annotated[
    str | None,
    typer.Option(
        help="general (default), fine_grained, detection, segmentation, small_images or documents.",
        autocompletion=offer_presets,
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="NAME=VALUE", help="Another threshold, e.g. blur_score=55.", autocompletion=offer_thresholds
    ),
]
SourceName = Annotated[
    str | None,
    typer.Option("--source", metavar="NAME", help="With --config: whose rules apply, if it has several sources."),
]
Workers = Annotated[
    int | None, typer.Option("--workers", min=1, max=256, help="Worker processes (default: one for each processor).")
]


Readout = Annotated[
    Path | None,
    typer.Option(
        "--readout",
        metavar="FILE",
        readable=False,
        help="A readout of your own, as `python -m training` writes it, instead of the package's or the "
        "configuration's.",
    ),
]


def settings_of(
    config: Path | None, workers: int | None, readout: Path | None = None, root: Path | None = None
) -> "Settings":
    """Load the configuration a command was given; a number of workers and a readout go on top of it.

    Whether there is such a readout, `readout_in_force` finds out.
    """
    settings = settings_for(root, config)
    changes: dict[str, object] = {} if workers is None else {"workers": workers}
    if readout is not None:
        changes["readout"] = readout.absolute()
    return settings.model_copy(update={"scoring": settings.scoring.model_copy(update=changes)}) if changes else settings


def readout_in_force(settings: "Settings", named: Path | None) -> "OwnReadout | None":
    """Read the readout that the command line names, or else the settings: once, so that a run is by one.

    Raises:
        UsageError: what the command line names is none.
        NoInputError, PermissionDeniedError, ConfigError: it cannot be read, or what the settings name is none.
    """
    from imageguard_daemon.quality.readout import configured

    return configured(settings.scoring.readout) if named is None else named_readout(named)


def named_readout(path: Path) -> "OwnReadout | None":
    """Read a readout that the command line names; errors are those of `readout_in_force`."""
    from imageguard_daemon.core.errors import ConfigError
    from imageguard_daemon.quality.readout import configured

    try:
        return configured(path, "--readout")
    except ConfigError as error:
        raise UsageError(error.problems[0]) from error


def source_of(settings: "Settings", name: str | None) -> "Source":
    """Give the source of that name, or the only one."""
    by_name = {source.name: source for source in settings.sources}
    if name is None and len(by_name) > 1:
        raise UsageError(f"the configuration has several sources; choose one with --source: {', '.join(by_name)}")
    if name is not None and name not in by_name:
        raise UsageError(f"--source {printable(name)}: the configuration has {', '.join(by_name)}")
    return by_name[name] if name else settings.sources[0]


def with_rules(source: "Source", preset: str | None, changes: Mapping[str, float]) -> "Source":
    """Put the command line's rules on top; another preset leaves the configuration's single thresholds behind."""
    from imageguard_daemon.quality.policy import spread, thresholds_for

    preset_name = preset or source.preset
    own = {} if preset else dict(source.thresholds)
    together = {**own, **spread(changes)}
    try:
        thresholds_for(preset_name, together)
    except ValueError as error:
        raise UsageError(str(error)) from error
    return source.model_copy(update={"preset": preset_name, "thresholds": together})


_FAILED_SHOWN = 10


def show(result: "Result", output: OutputFormat, console: "Console") -> None:
    """Give the summary on standard output, unless results went there, and what is missing on standard error."""
    _show_summary(result, output)
    for why, count in result.summary.left.items():
        console.print(f"{count:,} left out: {why}")
    for path in result.old_links.examples:
        console.print(f"left from an earlier run: {printable(path)}", soft_wrap=True)
    if (hidden := result.old_links.left - len(result.old_links.examples)) > 0:
        console.print(f"left from an earlier run: {hidden:,} more")
    _show_unread(result, console)
    if not result.summary.is_complete or result.unread.total:
        message = (
            "interrupted; run the same command again to resume"
            if result.is_interrupted
            else "not complete; run the same command again to go on"
        )
        console.print(f"{message}{result.how_to_go_on}", soft_wrap=True)


def _show_summary(result: "Result", output: OutputFormat) -> None:
    from imageguard_daemon.batch.scan_summary import as_json, as_summary
    from imageguard_daemon.reporting.rendering import as_csv

    summary = result.summary
    failed = {} if result.failed is None else {"failed_shards": {str(n): why for n, why in result.failed.items()}}
    write(
        output,
        file=sys.stderr if result.used_standard_output else sys.stdout,
        table=lambda: as_summary(summary, filed=result.filed),
        json=lambda: {**as_json(summary), **failed},
        csv=lambda: as_csv(summary.report),
    )


def _show_unread(result: "Result", console: "Console") -> None:
    """Name the first files that could not be read and shards that failed, and count the others."""
    for path, why in result.unread.examples:
        console.print(f"error: {printable(path)}: {why}", soft_wrap=True)
    if (hidden := result.unread.total - len(result.unread.examples)) > 0:
        console.print(f"error: {hidden:,} more could not be read")
    failed = list((result.failed or {}).items())
    for number, why in failed[:_FAILED_SHOWN]:
        console.print(f"error: shard {number} failed: {why}", soft_wrap=True)
    if (hidden := len(failed) - _FAILED_SHOWN) > 0:
        console.print(f"error: {hidden:,} more shards failed")
    if not (result.summary.totals.total or result.unread.total or result.exit_code or failed):
        console.print(f"error: no images in {result.summary.folder}", soft_wrap=True)
