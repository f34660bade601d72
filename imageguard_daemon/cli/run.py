"""`imageguard-daemon run`."""

import difflib
import faulthandler
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imageguard_daemon.cli.options import ConfigFile, Root, settings_for
from imageguard_daemon.cli.system_errors import broken_installation, in_our_words
from imageguard_daemon.core.errors import ImageguardError, NoInputError, UsageError
from imageguard_daemon.core.names import printable

if TYPE_CHECKING:
    from imageguard_daemon.config import Settings

_NAMES_LOOKED_AT = 1_000


def run(
    root: Root = None,
    config: ConfigFile = None,
    once: Annotated[bool, typer.Option("--once", help="Process what is in the inbox, then exit.")] = False,
) -> None:
    """Watch the inbox; move good images to accepted, the others to quarantine; record every decision.

    ROOT is all it needs: it creates ROOT/inbox, accepted, quarantine and audit.db. Put images into ROOT/inbox; the
    first folder below it is their class, e.g. ROOT/inbox/cat/1.jpg. Stop with Ctrl-C or SIGTERM; SIGHUP reloads the
    configuration.
    """
    from rich.console import Console

    from imageguard_daemon.core import logs

    console = Console(stderr=True)
    logs.configure("auto", "info", console)
    with _fatal_errors_logged():
        settings = settings_for(root, config, makes_root=True)
        if root is not None and config is None:
            _require_meant(settings)
        from imageguard_daemon.core.systemd import notify
        from imageguard_daemon.daemon.lifecycle import Daemon
        from imageguard_daemon.daemon.status import StatusLine

        logs.configure(settings.logging.format, settings.logging.level, console)
        pages = _command_for_pages(root, config) if settings.web.enabled and not once else ()
        daemon = Daemon(settings, lambda: settings_for(root, config, makes_root=True), StatusLine(console), pages)
        faulthandler.enable()  # systemd's watchdog ends a daemon that hangs by SIGABRT: it says where
        code = daemon.run(once=once)
        notify(STATUS="stopped")
        raise typer.Exit(code)


def _require_meant(settings: "Settings") -> None:
    """Refuse a root that looks like a mistake: a name mistyped, or a folder of images that nobody would look at."""
    root, inbox = settings.root, settings.sources[0].inbox
    if not root.is_dir():
        others = [one.parent.name for one in root.parent.glob("*/.imageguard")]
        near = difflib.get_close_matches(root.name, others, n=1)
        if near:
            raise NoInputError(f"{root} does not exist; did you mean {root.with_name(near[0])}? If not, make it first")
    elif not (inbox.exists() or settings.audit.database.exists()) and (image := _an_image_in(root, settings)):
        raise UsageError(
            f"{root} has images, e.g. {printable(image)}, but no inbox: `run` judges only what is in {inbox}. "
            f"To judge a folder where it lies, use `scan {root}`; to file its images too, `scan {root} --move DEST`; "
            f"to watch it as a root, make {inbox} first"
        )


def _an_image_in(root: Path, settings: "Settings") -> str:
    """Give the path of an image in a folder or the folders in it, without looking at more than a few names."""
    suffixes = settings.intake.image_suffixes
    for names in (islice(root.glob(pattern), _NAMES_LOOKED_AT) for pattern in ("*", "*/*")):
        for path in names:
            if path.suffix.lower() in suffixes and path.is_file():
                return str(path.relative_to(root))
    return ""


@contextmanager
def _fatal_errors_logged() -> Iterator[None]:
    """Write what ends the daemon as a line of its log, in the form of all others."""
    import structlog

    from imageguard_daemon.core.systemd import notify

    log = structlog.get_logger(__name__)
    try:
        yield
    except (typer.Exit, KeyboardInterrupt):
        raise
    except Exception as error:
        told = in_our_words(error) if isinstance(error, OSError) else broken_installation(error) or error
        if not isinstance(told, ImageguardError):
            log.critical("ended", exit_code=os.EX_SOFTWARE, why="a mistake in the program", exc_info=True)
            raise typer.Exit(os.EX_SOFTWARE) from None
        first, *others = [line.strip() for line in str(told).splitlines()] or [""]
        notify(STATUS=f"ended: {told}")
        log.critical("ended", exit_code=told.exit_code, why=f"{first} {'; '.join(others)}".strip())
        raise typer.Exit(told.exit_code) from None


def _command_for_pages(root: Path | None, config: Path | None) -> tuple[str, ...]:
    """Give the command that serves the same root's pages."""
    named = (*((str(root),) if root else ()), *(("--config", str(config)) if config else ()))
    return (sys.executable, "-m", "imageguard_daemon", "web", *named)
