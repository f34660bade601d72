"""`simulate`: what other thresholds would have decided, from the audit log alone."""

from typing import TYPE_CHECKING, Annotated

import typer

from imageguard_daemon.audit.counts import Scope
from imageguard_daemon.cli import completion
from imageguard_daemon.cli.options import (
    ConfigFile,
    DatabaseOrUrl,
    Format,
    OutputFormat,
    Root,
    parse_thresholds,
    settings_for,
)
from imageguard_daemon.cli.output import write
from imageguard_daemon.cli.report import ClassName, Since, SourceName, Until
from imageguard_daemon.core.errors import UsageError

if TYPE_CHECKING:
    from imageguard_daemon.config import Settings
    from imageguard_daemon.reporting.simulation import Rules, Simulation

Thresholds = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Another threshold, e.g. blur_score=55; may be repeated.",
        autocompletion=completion.thresholds,
    ),
]
Preset = Annotated[
    str | None,
    typer.Option(
        show_default=False,
        help="Start from this preset: general, fine_grained, detection, segmentation, small_images or documents.",
        autocompletion=completion.presets,
    ),
]


def simulate(  # noqa: PLR0913, PLR0917 - one parameter for each option
    root: Root = None,
    config_file: ConfigFile = None,
    database: DatabaseOrUrl = None,
    thresholds: Thresholds = None,
    preset: Preset = None,
    since: Since = None,
    until: Until = None,
    source: SourceName = None,
    class_name: ClassName = None,
    output_format: Format = OutputFormat.table,
) -> None:
    """Show what other thresholds would have decided, from the audit log alone.

    Each decision is judged again by its recorded scores. Thresholds given by --set replace those that were in force
    when it was made; with --config, those that the file has for its source now; with --preset, those of the preset.
    Images that could not be measured keep their verdict. Nothing is moved, recorded or changed.
    """
    from datetime import UTC, datetime

    from imageguard_daemon.audit.opening import open_log
    from imageguard_daemon.reporting.period import parse_period
    from imageguard_daemon.reporting.query import simulation_of

    scope = Scope(*parse_period(since, until, datetime.now(UTC)), source, class_name)
    overrides = parse_thresholds(thresholds or [])
    if not overrides and preset is None and config_file is None:
        raise UsageError("name what should differ: --set blur_score=60, --preset NAME or --config FILE")
    settings = settings_for(root, config_file, touches_folders=False)
    rules = rules_for(overrides, preset, settings if config_file else None)
    with open_log(database or settings.audit.database) as log:
        made = simulation_of(log, scope, rules)
    _write(made, rules_in_words(overrides, preset, is_configured=config_file is not None), scope, output_format)


def rules_for(overrides: dict[str, float], preset: str | None, settings: "Settings | None") -> "Rules":
    """Give the rules that the options say; UsageError for a threshold or preset that there is not."""
    from imageguard_daemon.quality.policy import thresholds_for
    from imageguard_daemon.reporting.simulation import Rules

    try:
        thresholds_for(preset or "general", overrides)
    except ValueError as error:
        raise UsageError(str(error)) from error
    sources = {one.name: thresholds_for(one.preset, one.thresholds) for one in settings.sources} if settings else {}
    return Rules(overrides, preset, sources, scorer_of(settings))


def scorer_of(settings: "Settings | None") -> str:
    """Name the scorer by which the daemon of this configuration measures; without one, the package's own."""
    from imageguard_daemon.quality.version import SCORER_VERSION

    if settings is None or settings.scoring.readout is None:
        return SCORER_VERSION
    from imageguard_daemon.quality import readout

    return readout.scorer_of(settings.scoring.readout)


def rules_in_words(overrides: dict[str, float], preset: str | None, *, is_configured: bool) -> str:
    """Say which rules those are."""
    base = "the configuration" if is_configured else "the thresholds of their time"
    base = f"the preset {preset}" if preset else base
    return " with ".join(filter(None, (base, ", ".join(f"{name} {value:g}" for name, value in overrides.items()))))


def _write(made: "Simulation", rules: str, scope: Scope, output_format: OutputFormat) -> None:
    from imageguard_daemon.reporting import simulation_rendering as rendering

    write(
        output_format,
        table=lambda: rendering.simulation_as_table(made, rules, scope),
        json=lambda: rendering.simulation_as_dict(made, rules),
        csv=lambda: rendering.simulation_as_csv(made),
    )
