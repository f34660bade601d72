"""`imageguard-daemon run`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from imageguard_daemon.cli.options import ConfigFile, Root, settings_for


def run(
    root: Root = None,
    config: ConfigFile = None,
    once: Annotated[bool, typer.Option("--once", help="Handle what is in the inbox, then exit.")] = False,
) -> None:
    """Watch the inbox; move good images to accepted, the others to quarantine; record every decision.

    ROOT alone is enough: ROOT/inbox, accepted, quarantine and audit.db are made. Put images into ROOT/inbox; the
    first folder below it is taken as their class. Stop with Ctrl-C or SIGTERM; SIGHUP reloads the configuration.
    """
    settings = settings_for(root, config)
    from rich.console import Console

    from imageguard_daemon.service import logs
    from imageguard_daemon.service.daemon import Daemon
    from imageguard_daemon.service.display import Display

    console = Console(stderr=True)
    logs.configure(settings.logging.format, settings.logging.level, console)
    pages = _command_for_pages(root, config) if settings.web.enabled and not once else ()
    daemon = Daemon(settings, lambda: settings_for(root, config), Display(console), pages)
    raise typer.Exit(daemon.run(once=once))


def _command_for_pages(root: Path | None, config: Path | None) -> tuple[str, ...]:
    """Give the command that serves the same root's pages."""
    named = (*((str(root),) if root else ()), *(("--config", str(config)) if config else ()))
    return (sys.executable, "-m", "imageguard_daemon", "web", *named)
