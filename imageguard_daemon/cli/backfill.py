"""`backfill`: millions of existing images judged from a list, in shards, on any executor."""

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from imageguard_daemon.cli.help_format import CommandLine
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
from imageguard_daemon.cli.options import ConfigFile, OutputFormat, parse_thresholds
from imageguard_daemon.cli.output import log_warnings, plain_console
from imageguard_daemon.core.errors import UsageError

if TYPE_CHECKING:
    from imageguard_daemon.batch.judging import Rules
    from imageguard_daemon.batch.running import Result
    from imageguard_daemon.config import Source

app = CommandLine()

ManifestFile = Annotated[
    str | None,
    typer.Option(
        "--manifest",
        metavar="FILE",
        help="The list of images: .parquet (or a folder of them), .csv, .jsonl, or one path per line. Can be a URL.",
    ),
]
Out = Annotated[
    str | None,
    typer.Option("--out", metavar="FOLDER", help="Folder for the results, one Parquet file per shard. Can be a URL."),
]
RootOfPaths = Annotated[
    str,
    typer.Option(
        "--root",
        metavar="FOLDER",
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
    from imageguard_daemon import __version__
    from imageguard_daemon.batch.backfill.shards import ManifestRequest, Reading, Terms
    from imageguard_daemon.batch.backfill.work import Backfill, BackfillRequest
    from imageguard_daemon.batch.running import run
    from imageguard_daemon.quality.readout import scorer_by

    settings = settings_of(config, workers, readout)
    rules = _rules(with_rules(source_of(settings, source), preset, parse_thresholds(thresholds or [])))
    console = log_warnings()
    terms = Terms(
        rules,
        settings.scoring,
        scorer_by(readout_in_force(settings, readout)),
        __version__,
        Reading(reads, read_timeout),
    )
    request = BackfillRequest(
        ManifestRequest(manifest, path_column, class_column, root, rules.class_from),
        terms,
        out,
        shard_size,
        executor,
        dask or "",
        settings.scoring.workers,
        attempts=attempts,
        refresh=refresh,
        reporting=settings.reporting,
    )
    result = run(Backfill(request), console)
    show(result, output, console)
    if result.exit_code:
        _leave_at_once(result.exit_code)
    raise typer.Exit(_exit_code(result))


@app.command("status")
def status(
    out: Annotated[str, typer.Option("--out", metavar="FOLDER", help="The folder of results. Can be a URL.")],
    output: Form = OutputFormat.table,
) -> None:
    """Show the progress of a back-fill, from its results alone; does not disturb one that is running."""
    from imageguard_daemon.batch.backfill.work import status_of

    show(status_of(out), output, plain_console(stderr=True))


def _rules(source: "Source") -> "Rules":
    from imageguard_daemon.batch.judging import Rules
    from imageguard_daemon.quality.policy import thresholds_for

    return Rules(source.preset, thresholds_for(source.preset, source.thresholds), source.class_from)


def _leave_at_once(exit_code: int) -> None:
    """End without waiting for threads that are still at a shard: what they would give, nobody takes any more."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)


def _exit_code(result: "Result") -> int:
    if result.failed:
        return os.EX_TEMPFAIL
    return os.EX_OK if result.summary.is_complete else os.EX_NOINPUT
