"""`simulate` and `rejudge`: what other thresholds would have decided, and what they accept released."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from imageguard_daemon.audit.counts import Scope
from imageguard_daemon.cli.options import (
    ConfigFile,
    DatabaseOrUrl,
    Format,
    OutputFormat,
    Root,
    offer_presets,
    offer_thresholds,
    parse_thresholds,
    settings_for,
    with_groups,
)
from imageguard_daemon.cli.output import write
from imageguard_daemon.cli.quarantine import ReviewCommand, ReviewOptions, agreed, carry_out, reading, require_paths
from imageguard_daemon.cli.report import ClassName, Since, SourceName, Until
from imageguard_daemon.cli.selection_options import (
    SelectionOptions,
    StateName,
    named_images,
    require_known,
    selection_of,
)
from imageguard_daemon.core.errors import UsageError

if TYPE_CHECKING:
    from imageguard_daemon.config import Settings
    from imageguard_daemon.reporting.simulation import Rejudged, Rules, Simulation
    from imageguard_daemon.review.acting import Acting
    from imageguard_daemon.review.values import Reviewed, Reviewer

Thresholds = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Another threshold, e.g. blur_score=55; may be repeated.",
        autocompletion=offer_thresholds,
    ),
]
Preset = Annotated[
    str | None,
    typer.Option(
        help="Start from this preset: general, fine_grained, detection, segmentation, small_images or documents.",
        autocompletion=offer_presets,
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
        simulation = simulation_of(log, scope, rules)
    _write(simulation, rules_in_words(overrides, preset, is_configured=config_file is not None), scope, output_format)


def rules_for(overrides: dict[str, float], preset: str | None, settings: "Settings | None") -> "Rules":
    """Give the rules that the options say; UsageError for a threshold or preset that there is not."""
    from imageguard_daemon.quality.policy import thresholds_for
    from imageguard_daemon.reporting.simulation import Rules

    try:
        thresholds_for(preset or "general", overrides)
    except ValueError as error:
        raise UsageError(str(error)) from error
    configured = settings.sources if settings else ()
    sources = {source.name: thresholds_for(source.preset, source.thresholds) for source in configured}
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


def _write(simulation: "Simulation", rules: str, scope: Scope, output_format: OutputFormat) -> None:
    from imageguard_daemon.reporting import simulation_rendering as rendering

    write(
        output_format,
        table=lambda: rendering.simulation_as_table(simulation, rules, scope),
        json=lambda: rendering.simulation_as_dict(simulation, rules),
        csv=lambda: rendering.simulation_as_csv(simulation),
    )


@with_groups
def rejudge(  # noqa: PLR0913, PLR0917 - one parameter for each option
    options: SelectionOptions,
    review: ReviewOptions,
    root: Root = None,
    config_file: ConfigFile = None,
    thresholds: Thresholds = None,
    preset: Preset = None,
) -> None:
    """Release the images in quarantine that other thresholds accept.

    Uses recorded scores only, like `simulate`: thresholds given by --set replace those of the time; with
    --config alone, those that the file has now for each source; with --preset, those of the preset. Only images
    that nobody has reviewed are looked at, unless --id, --path or --state say otherwise.

    Counts first; --yes moves. Each release is recorded with its thresholds; `quarantine undo --action rejudge` takes
    them back. The thresholds of the daemon are not changed: put them into its configuration.
    """
    overrides = parse_thresholds(thresholds or [])
    if not overrides and preset is None and config_file is None:
        raise UsageError("name what should differ: --set blur_score=30, --preset NAME or --config FILE")
    settings = settings_for(root, config_file)
    is_configured = config_file is not None
    rules = rules_for(overrides, preset, settings if is_configured else None)
    words = rules_in_words(overrides, preset, is_configured=is_configured)
    rejudged = _judge(settings, options, rules)
    for line in _told(rejudged, words):
        typer.echo(line, err=True)

    def release(acting: "Acting", ids: Sequence[int], reviewer: "Reviewer") -> "Iterator[Reviewed]":
        from imageguard_daemon.review import acting as functions

        return functions.rejudge(acting, ids, reviewer, rejudged.accepted)

    command = ReviewCommand("release", release, review)
    from imageguard_daemon.review.rendering import reasons_in_words

    if not agreed(command, reasons_in_words(rejudged.reasons), len(rejudged.accepted)):
        raise typer.Exit(os.EX_OK)
    carry_out(settings, list(rejudged.accepted), command)


def _judge(settings: "Settings", options: SelectionOptions, rules: "Rules") -> "Rejudged":
    from imageguard_daemon.audit.quarantine_queries import STATE_AFTER, scores_of
    from imageguard_daemon.reporting.simulation import judge_again

    with reading(settings.audit.database) as log:
        named = named_images(options, log, str(settings.root))
        require_paths(named.unknown, log)
        selection = selection_of(options, named.ids, [StateName.waiting])
        rejected = tuple(state for state in selection.states if state in STATE_AFTER["quarantined"].values())
        rejudged = judge_again(scores_of(log, replace(selection, states=rejected)), rules)
        if not rejudged.total:
            require_known(selection, log)
    return rejudged


def _told(rejudged: "Rejudged", words: str) -> Iterator[str]:
    yield f"{rejudged.total:,} rejected {'image' if rejudged.total == 1 else 'images'} judged again by {words}"
    yield f"{len(rejudged.accepted):,} would be accepted, {rejudged.still_rejected:,} still rejected"
    if rejudged.kept:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in rejudged.kept.most_common())
        yield f"{rejudged.kept.total():,} stay, since nothing could be measured: {reasons}"
    if rejudged.unreadable:
        yield f"{rejudged.unreadable:,} stay, since their scores or thresholds cannot be read"
    if rejudged.other_versions:
        yield f"{rejudged.other_versions:,} of these were scored by another version; measured again, they may differ"
