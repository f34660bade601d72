"""The options of commands that judge images where they lie: by whose rules and readout, and by how many workers."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imageguard_daemon.cli import completion
from imageguard_daemon.cli.options import settings_for
from imageguard_daemon.core.errors import UsageError
from imageguard_daemon.core.names import printable

if TYPE_CHECKING:
    from imageguard_daemon.config import Settings, Source
    from imageguard_daemon.quality.readout import Readout as OwnReadout

Preset = Annotated[
    str | None,
    typer.Option(
        show_default=False,
        help="general (default), fine_grained, detection, segmentation, small_images or documents.",
        autocompletion=completion.presets,
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Another threshold, e.g. blur_score=55.",
        autocompletion=completion.thresholds,
    ),
]
SourceName = Annotated[
    str | None,
    typer.Option(
        "--source",
        metavar="NAME",
        show_default=False,
        help="With --config: whose rules apply, if it has several sources.",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers", min=1, max=256, show_default=False, help="Worker processes (default: one for each processor)."
    ),
]


Readout = Annotated[
    Path | None,
    typer.Option(
        "--readout",
        metavar="FILE",
        readable=False,
        show_default=False,
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

    chosen = preset or source.preset
    own = {} if preset else dict(source.thresholds)
    together = {**own, **spread(changes)}
    try:
        thresholds_for(chosen, together)
    except ValueError as error:
        raise UsageError(str(error)) from error
    return source.model_copy(update={"preset": chosen, "thresholds": together})
