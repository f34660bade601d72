"""`imageguard-daemon run`."""

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
    daemon = Daemon(settings, lambda: settings_for(root, config), Display(console))
    raise typer.Exit(daemon.run(once=once))
