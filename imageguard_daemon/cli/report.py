"""`report`: counts, rejection rates and findings from the audit log."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imageguard_daemon.audit.counts import PERIODS, Dimension, Scope
from imageguard_daemon.cli.options import ConfigFile, DatabaseOrUrl, Root, offer_dimensions, offer_presets, settings_for
from imageguard_daemon.cli.output import write
from imageguard_daemon.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType

    from imageguard_daemon.config import Settings
    from imageguard_daemon.reporting.report import Report


class ReportFormat(StrEnum):
    """How a report is written."""

    table = "table"
    json = "json"
    csv = "csv"
    parquet = "parquet"
    html = "html"


Since = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Only decisions since then: 30m, 12h, 7d or 2w ago, 2025-01-31, or 2025-01-31T08:30+01:00. "
        "UTC if no zone is given.",
    ),
]
Until = Annotated[
    str | None, typer.Option(metavar="TIME", help="Only decisions before then; a plain date is included.")
]
By = Annotated[
    str,
    typer.Option(
        metavar="WHAT[,WHAT]",
        help="What to group by: class, reason, source, camera, host, preset, hour, day or week; two of them, e.g. "
        "class,reason, make a cross table. Times are UTC.",
        autocompletion=offer_dimensions,
    ),
]
SourceName = Annotated[str | None, typer.Option("--source", metavar="NAME", help="Only this source.")]
ClassName = Annotated[
    str | None, typer.Option("--class", metavar="NAME", help="Only this class; '' for images without a class.")
]
CameraName = Annotated[
    str | None, typer.Option("--camera", metavar="NAME", help="Only this camera; '' for images without one.")
]
HostName = Annotated[str | None, typer.Option("--host", metavar="NAME", help="Only this host.")]
PresetName = Annotated[
    str | None,
    typer.Option("--preset", metavar="NAME", help="Only what this preset judged.", autocompletion=offer_presets),
]
Details = Annotated[
    bool, typer.Option("--details", help="In the table: percentiles of each measure, images nearest to a threshold.")
]
Thumbnails = Annotated[
    bool, typer.Option("--thumbnails/--no-thumbnails", help="On the page: small pictures of examples.")
]
From = Annotated[
    Path | None,
    typer.Option(
        "--from",
        metavar="RESULTS",
        help="Results of `scan --csv`, `--jsonl` or `--parquet`, instead of an audit log; by class or reason.",
    ),
]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write to this file, replacing it.")
]
Form = Annotated[ReportFormat, typer.Option("--format", "-f", help="Form of the report.")]


def report(  # noqa: PLR0913, PLR0917 - one parameter for each option
    root: Root = None,
    config_file: ConfigFile = None,
    database: DatabaseOrUrl = None,
    results: From = None,
    since: Since = None,
    until: Until = None,
    by: By = "class",
    source: SourceName = None,
    class_name: ClassName = None,
    camera: CameraName = None,
    host: HostName = None,
    preset: PresetName = None,
    details: Details = False,
    thumbnails: Thumbnails = True,
    output: Output = None,
    output_format: Form = ReportFormat.table,
) -> None:
    """Show how many images were rejected, why, and what stands out."""
    from datetime import UTC, datetime

    from imageguard_daemon.audit.opening import open_log
    from imageguard_daemon.reporting.period import parse_period
    from imageguard_daemon.reporting.query import report_on
    from imageguard_daemon.reporting.rendering import as_dict, as_table

    grouping, now = parse_grouping(by), datetime.now(UTC)
    scope = Scope(*parse_period(since, until, now), source, class_name, camera, host, preset)
    if results is not None:
        if root or database or scope != Scope():
            raise UsageError(
                "--from is about all images of the results: it cannot be combined with ROOT, --db, times or names"
            )
        _of_results(results, grouping, config_file, output_format, output)
        return
    settings = settings_for(root, config_file, touches_folders=False)
    with open_log(database or settings.audit.database) as log:
        counted = report_on(log, grouping, scope, settings.reporting, now)
    if output_format is ReportFormat.html:
        _write_page(counted, settings, output, thumbnails=thumbnails)
    else:
        in_table, in_json = (lambda: as_table(counted, scores=details)), (lambda: as_dict(counted))
        _write(counted, output_format, output, in_table, in_json)


def parse_grouping(text: str) -> tuple[Dimension, ...]:
    """Read what `--by` was given."""
    dimensions = [str(dimension) for dimension in Dimension]
    names = [name.strip() for name in text.split(",")]
    if unknown := [name for name in names if name not in dimensions]:
        raise UsageError(f"--by {text}: {unknown[0]!r} is not one of {', '.join(dimensions)}")
    if len(names) > 2 or len(set(names)) < len(names):
        raise UsageError(f"--by {text}: give one of {', '.join(dimensions)}, or two different ones")
    by = tuple(map(Dimension, names))
    if sum(dimension in PERIODS for dimension in by) > 1:
        raise UsageError(f"--by {text}: hour, day and week cannot be combined in one table")
    return by


def _of_results(
    results: Path,
    by: tuple[Dimension, ...],
    config_file: Path | None,
    output_format: ReportFormat,
    output: Path | None,
) -> None:
    """Write what a scan tells at its end, from its results."""
    from imageguard_daemon.batch import scan_summary
    from imageguard_daemon.config import Reporting
    from imageguard_daemon.core.names import printable

    if not {Dimension.class_, Dimension.reason}.issuperset(by):
        raise UsageError("results of a scan are counted by class, by reason, or by class,reason")
    if output_format is ReportFormat.html:
        raise UsageError("the page of a scan is made by the scan itself, which has the images: scan FOLDER --html FILE")
    limits = settings_for(None, config_file, touches_folders=False).reporting if config_file else Reporting()
    totals = scan_summary.totals_of(results)
    counted = totals.report(limits, by)
    scorers = ", ".join(map(printable, totals.scorer_versions)) or None
    summary = scan_summary.Summary(
        printable(str(results)), totals, counted, 0, {}, {}, is_complete=True, scorer_version=scorers
    )
    in_table, in_json = (lambda: scan_summary.as_summary(summary)), (lambda: scan_summary.as_json(summary))
    _write(counted, output_format, output, in_table, in_json)


def _write_page(counted: "Report", settings: "Settings", output: Path | None, *, thumbnails: bool) -> None:
    from datetime import UTC, datetime

    from imageguard_daemon.reporting.page import as_html
    from imageguard_daemon.sandbox.pictures import thumbnails_of

    files = {image.id: (settings.root / image.destination, image.sha256) for image in counted.examples}
    pictures = thumbnails_of(files, settings.scoring) if thumbnails and files else {}
    write("html", output, html=lambda: as_html(counted, pictures, datetime.now(UTC)))


def _write(
    counted: "Report",
    output_format: ReportFormat,
    output: Path | None,
    table: "Callable[[], RenderableType]",
    as_json: "Callable[[], dict[str, Any]]",
) -> None:
    """Write a report, for people and as JSON as its makers say; the other forms are the same whatever it is of."""
    from imageguard_daemon.reporting.rendering import as_csv, as_parquet

    csv, parquet = lambda: as_csv(counted), lambda: as_parquet(counted)
    write(output_format, output, table=table, json=as_json, csv=csv, parquet=parquet)
