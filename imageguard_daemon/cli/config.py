"""`imageguard-daemon config init | check | show | schema`."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from imageguard_daemon.cli.help_format import CommandLine
from imageguard_daemon.cli.options import ConfigFile, Root, settings_for
from imageguard_daemon.core.errors import UsageError, unwritable

app = CommandLine(no_args_is_help=True, help="Write, check and show configurations.")


@app.command()
def init(
    file: Annotated[Path, typer.Argument(metavar="[FILE]", help="Where to write it.")] = Path("config.yaml"),
) -> None:
    """Write an example configuration with every setting, its default and its reason. Never replaces a file."""
    from imageguard_daemon.config_file import render_example
    from imageguard_daemon.core.files import written_whole

    if os.path.lexists(file):
        raise UsageError(f"{file} already exists; remove it or name another file")
    try:
        with written_whole(file, replaces=False) as stream:
            stream.write(render_example().encode())
    except OSError as error:
        raise unwritable(error, f"cannot write {file}") from error
    typer.echo(f"wrote {file}; start with: imageguard-daemon run --config {file}")


@app.command()
def check(
    named: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE",
            readable=False,
            help="Configuration to check (default: the one of --config or IMAGEGUARD_CONFIG).",
        ),
    ] = None,
    config_file: ConfigFile = None,
) -> None:
    """Report all mistakes of a configuration; exits 78 when there are any, 66 when its readout cannot be read."""
    from imageguard_daemon.daemon.setup_folders import refuse_files_in_place_of_folders
    from imageguard_daemon.intake.rules.selection import unprotected

    file = named or config_file
    if file is None:
        raise UsageError("name the configuration to check: FILE, --config FILE, or IMAGEGUARD_CONFIG")
    settings = settings_for(None, file)
    refuse_files_in_place_of_folders(settings)
    if settings.scoring.readout:
        from imageguard_daemon.quality.readout import configured

        configured(settings.scoring.readout)
    if names := unprotected(settings.intake):
        typer.echo(
            f"note: intake.ignore leaves out {' '.join(names)}: hidden or unfinished files of these names are judged; "
            "intake.ignore_also would add to the defaults",
            err=True,
        )
    for folder in {folder: None for source in settings.sources for folder in source.folders[1:]}:
        if os.path.lexists(folder) and not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
            typer.echo(f"note: {folder} cannot be written by this account, or its disk is read-only", err=True)
        elif not os.path.lexists(folder) and not folder.is_relative_to(settings.root):
            typer.echo(f"note: {folder} is not there; `run` makes no folder outside the root", err=True)
    count = len(settings.sources)
    typer.echo(f"{file} is valid: {count} {'source' if count == 1 else 'sources'}, root {settings.root}")


@app.command()
def show(root: Root = None, config: ConfigFile = None) -> None:
    """Show the effective configuration, with defaults and absolute paths, as YAML."""
    import yaml

    settings = settings_for(root, config, makes_root=True)
    typer.echo(yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True), nl=False)


@app.command()
def schema() -> None:
    """Print the JSON schema of the configuration, for editors."""
    from imageguard_daemon.config import Settings

    typer.echo(json.dumps(Settings.model_json_schema(), indent=2))
