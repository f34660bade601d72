"""`backfill`: millions of existing images judged from a list, in shards, on any executor."""

import json
import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imageguard_daemon.cli.help_format import CommandLine
from imageguard_daemon.cli.judging_options import (
    Preset,
    Readout,
    Set,
    SourceName,
    Workers,
    readout_in_force,
    settings_of,
    source_of,
    with_rules,
)
from imageguard_daemon.cli.options import ConfigFile, OutputFormat, parse_thresholds
from imageguard_daemon.cli.partial_results import tell_how_to_go_on, tell_unread
from imageguard_daemon.core.errors import UsageError
from imageguard_daemon.core.names import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from imageguard_daemon.batch.backfill.running import BackfillResult
    from imageguard_daemon.batch.judging import Rules
    from imageguard_daemon.config import Settings, Source

_FAILED_SHOWN = 10

app = CommandLine()

ManifestFile = Annotated[
    str | None,
    typer.Option(
        "--manifest",
        metavar="FILE",
        show_default=False,
        help="The list of images: .parquet (or a folder of them), .csv, .jsonl, or one path per line. Can be a URL.",
    ),
]
Out = Annotated[
    str | None,
    typer.Option(
        "--out",
        metavar="FOLDER",
        show_default=False,
        help="Folder for the results, one Parquet file per shard. Can be a URL.",
    ),
]
RootOfPaths = Annotated[
    str,
    typer.Option(
        "--root",
        metavar="FOLDER",
        show_default=False,
        help="Folder that relative paths start from (default: the current folder). Can be a URL.",
    ),
]
PathColumn = Annotated[str, typer.Option("--path-column", metavar="NAME", help="Column with the path.")]
ClassColumn = Annotated[
    str,
    typer.Option("--class-column", metavar="NAME", help="Column with the class; without one, the folder is the class."),
]
ShardSize = Annotated[int, typer.Option("--shard-size", min=1, max=100_000, help="Images per shard.")]
ExecutorName = Annotated[
    str,
    typer.Option(
        "--executor",
        metavar="NAME",
        help="process, thread, or module:factory for any other concurrent.futures.Executor.",
    ),
]
DaskScheduler = Annotated[
    str | None,
    typer.Option(
        "--dask",
        metavar="ADDRESS",
        show_default=False,
        help="Score on the workers of this Dask scheduler, e.g. tcp://host:8786, instead of an executor.",
    ),
]
Attempts = Annotated[int, typer.Option("--attempts", min=1, max=100, help="Attempts per shard in one run.")]
Reads = Annotated[
    int,
    typer.Option(
        "--reads", min=1, max=256, help="Images that each worker reads at the same time; more for a remote store."
    ),
]
ReadSeconds = Annotated[
    float, typer.Option("--read-timeout", min=0.1, help="Seconds after which a read that returns nothing is given up.")
]
Refresh = Annotated[bool, typer.Option("--refresh", help="Redo shards made from other rows or with other settings.")]
Form = Annotated[OutputFormat, typer.Option("--format", "-f", help="Form of the summary.")]


@app.callback(invoke_without_command=True)
def backfill(  # noqa: PLR0913, PLR0917 - one parameter for each option
    context: typer.Context,
    manifest: ManifestFile = None,
    out: Out = None,
    root: RootOfPaths = "",
    path_column: PathColumn = "path",
    class_column: ClassColumn = "class",
    shard_size: ShardSize = 1000,
    executor: ExecutorName = "process",
    dask: DaskScheduler = None,
    workers: Workers = None,
    attempts: Attempts = 3,
    reads: Reads = 4,
    read_timeout: ReadSeconds = 60.0,
    preset: Preset = None,
    thresholds: Set = None,
    config: ConfigFile = None,
    source: SourceName = None,
    readout: Readout = None,
    refresh: Refresh = False,
    output: Form = OutputFormat.table,
) -> None:
    """Judge millions of existing images from a list, in shards; resumes where it stopped.

    Every row of the list becomes a row of the results: a verdict, or why the image could not be read. Run the same
    command again to do what is missing, and to retry what could not be read.

    Exits 0 when every row has a verdict, 66 when images could not be read, 75 when shards failed, 130 when interrupted.
    """
    if context.invoked_subcommand is not None:
        return
    if not (manifest and out):
        raise UsageError("--manifest and --out are needed: a list of images, and a folder for results")
    from rich.console import Console

    from imageguard_daemon import __version__
    from imageguard_daemon.batch.backfill.rules.description import Plan
    from imageguard_daemon.batch.backfill.running import BackfillRequest, run
    from imageguard_daemon.batch.backfill.shards import ManifestRequest, Reading, Terms
    from imageguard_daemon.core import logs
    from imageguard_daemon.quality.readout import scorer_by

    settings = settings_of(config, workers, readout)
    rules = _rules(with_rules(source_of(settings, source), preset, parse_thresholds(thresholds or [])))
    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    logs.configure("console", "warning", console)
    wanted = ManifestRequest(manifest, path_column, class_column, root, rules.class_from)
    terms = Terms(
        rules,
        settings.scoring,
        scorer_by(readout_in_force(settings, readout)),
        __version__,
        Reading(reads, read_timeout),
    )
    plan = Plan(wanted, shard_size, terms)
    request = BackfillRequest(
        plan, out, executor, dask or "", settings.scoring.workers, attempts=attempts, refresh=refresh
    )
    result = run(request, console)
    _tell(result, request.plan.as_plain(), settings, output, console)
    if result.exit_code:
        _leave_at_once(result.exit_code)
    raise typer.Exit(_exit_code(result))


@app.command("status")
def status(
    out: Annotated[str, typer.Option("--out", metavar="FOLDER", help="The folder of results. Can be a URL.")],
    output: Form = OutputFormat.table,
) -> None:
    """Show the progress of a back-fill, from its results alone; does not disturb one that is running."""
    from rich.console import Console

    from imageguard_daemon.batch.backfill.rules.counts import standing_of
    from imageguard_daemon.config import Settings

    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    result, description = standing_of(out)
    _tell(result, description, Settings(), output, console)


def _rules(source: "Source") -> "Rules":
    from imageguard_daemon.batch.judging import Rules
    from imageguard_daemon.quality.policy import thresholds_for

    return Rules(source.preset, thresholds_for(source.preset, source.thresholds), source.class_from)


def _tell(
    result: "BackfillResult",
    described: "Mapping[str, Any]",
    settings: "Settings",
    output: OutputFormat,
    console: "Console",
) -> None:
    from rich.console import Console

    from imageguard_daemon.batch.scan_summary import Summary, as_json, as_summary
    from imageguard_daemon.reporting.rendering import as_csv

    summary = Summary(
        folder=printable(described["manifest"]["path"]),
        totals=result.totals,
        report=result.totals.report(settings.reporting),
        known=result.standing.known,
        left={},
        unread=dict(result.unread),
        is_complete=result.is_complete,
        scorer_version=described["scorer_version"],
        code=", ".join(sorted(result.code)),
    )
    if output is OutputFormat.json:
        failed = {str(number): why for number, why in result.failed.items()}
        typer.echo(json.dumps({**as_json(summary), "failed_shards": failed}, indent=2, allow_nan=False))
    elif output is OutputFormat.csv:
        typer.echo(as_csv(summary.report), nl=False)
    else:
        Console(file=sys.stdout, highlight=False, markup=False, emoji=False).print(as_summary(summary))
    _tell_what_is_missing(result, console)


def _tell_what_is_missing(result: "BackfillResult", console: "Console") -> None:
    tell_unread(console, result.examples, result.standing.unread)
    for number, why in list(result.failed.items())[:_FAILED_SHOWN]:
        console.print(f"error: shard {number} failed: {why}", soft_wrap=True)
    if (hidden := len(result.failed) - _FAILED_SHOWN) > 0:
        console.print(f"error: {hidden:,} more shards failed")
    if not result.is_complete:
        tell_how_to_go_on(console, interrupted=bool(result.exit_code))


def _leave_at_once(exit_code: int) -> None:
    """End without waiting for threads that are still at a shard: what they would give, nobody takes any more."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)


def _exit_code(result: "BackfillResult") -> int:
    if result.exit_code:
        return result.exit_code
    if result.failed:
        return os.EX_TEMPFAIL
    return os.EX_OK if result.is_complete else os.EX_NOINPUT
