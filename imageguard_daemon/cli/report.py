"""`report`: counts, rejection rates and findings from the audit log."""

import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from imageguard_daemon.audit.counts import Dimension, Scope
from imageguard_daemon.cli.options import ConfigFile, Database, Format, OutputFormat, Root, settings_for

if TYPE_CHECKING:
    from imageguard_daemon.reporting.report import Report

Since = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        show_default=False,
        help="Only decisions from then on: 30m, 12h, 7d or 2w ago, or 2025-01-31, or 2025-01-31T08:30+01:00. "
        "UTC where no zone is given.",
    ),
]
Until = Annotated[
    str | None,
    typer.Option(metavar="TIME", show_default=False, help="Only decisions before then; a plain date is included."),
]
By = Annotated[Dimension, typer.Option(help="What to group by; days are UTC days.")]
SourceName = Annotated[
    str | None, typer.Option("--source", metavar="NAME", show_default=False, help="Only this source.")
]
ClassName = Annotated[
    str | None,
    typer.Option("--class", metavar="NAME", show_default=False, help="Only this class; '' for images without a class."),
]


def report(  # noqa: PLR0913, PLR0917 - one parameter for each option
    root: Root = None,
    config_file: ConfigFile = None,
    database: Database = None,
    since: Since = None,
    until: Until = None,
    by: By = Dimension.class_,
    source: SourceName = None,
    class_name: ClassName = None,
    output_format: Format = OutputFormat.table,
) -> None:
    """Show how many images were rejected, why, and what stands out."""
    from datetime import UTC, datetime

    from imageguard_daemon.audit.database import open_for_reading
    from imageguard_daemon.audit.queries import count_decisions, count_reviewed
    from imageguard_daemon.reporting.period import parse_period
    from imageguard_daemon.reporting.report import Reviewed, groupings_for, make_report

    scope = Scope(*parse_period(since, until, datetime.now(UTC)), source, class_name)
    settings = settings_for(root, config_file)
    engine = open_for_reading(database or settings.audit.database)
    try:
        counts = count_decisions(engine, groupings_for(by), scope)
        reviewed = Reviewed(*count_reviewed(engine, scope))
    finally:
        engine.dispose()
    made = make_report(by, scope, counts, settings.reporting)
    _write(replace(made, reviewed=reviewed), output_format)


def _write(made: "Report", output_format: OutputFormat) -> None:
    from rich.console import Console

    from imageguard_daemon.reporting.rendering import as_csv, as_dict, as_table

    if output_format is OutputFormat.json:
        typer.echo(json.dumps(as_dict(made), indent=2, allow_nan=False))
    elif output_format is OutputFormat.csv:
        typer.echo(as_csv(made).encode(), nl=False)  # bytes: UTF-8 whatever the terminal's locale is
    else:
        _tolerate_any_locale()
        Console(highlight=False, markup=False, emoji=False).print(as_table(made))


def _tolerate_any_locale() -> None:
    """Write a name the locale has no letters for as escapes, in place of ending with an error."""
    import io

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
