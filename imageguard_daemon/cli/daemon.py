"""`run` and `status`: the daemon, and what it says of itself."""

import difflib
import faulthandler
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imageguard_daemon.cli.options import ConfigFile, Format, OutputFormat, Root, settings_for
from imageguard_daemon.cli.output import broken_installation, in_our_words, write
from imageguard_daemon.core.errors import ImageguardError, NoInputError, UnavailableError, UsageError
from imageguard_daemon.core.names import inert, printable
from imageguard_daemon.core.tables import csv_text

if TYPE_CHECKING:
    from rich.table import Table

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
        from imageguard_daemon.daemon.main_loop import Daemon
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
        others = [state_folder.parent.name for state_folder in root.parent.glob("*/.imageguard")]
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
        cause = in_our_words(error) if isinstance(error, OSError) else broken_installation(error) or error
        if not isinstance(cause, ImageguardError):
            log.critical("ended", exit_code=os.EX_SOFTWARE, why="a mistake in the program", exc_info=True)
            raise typer.Exit(os.EX_SOFTWARE) from None
        first, *others = [line.strip() for line in str(cause).splitlines()] or [""]
        notify(STATUS=f"ended: {cause}")
        log.critical("ended", exit_code=cause.exit_code, why=f"{first} {'; '.join(others)}".strip())
        raise typer.Exit(cause.exit_code) from None


def _command_for_pages(root: Path | None, config: Path | None) -> tuple[str, ...]:
    """Give the command that serves the same root's pages."""
    named = (*((str(root),) if root else ()), *(("--config", str(config)) if config else ()))
    return (sys.executable, "-m", "imageguard_daemon", "web", *named)


EXAMPLES_SHOWN = 5
STALE_SECONDS = 15.0


Alive = Annotated[
    bool,
    typer.Option(
        "--alive",
        help="For health checks: only say whether a daemon is running and working. Exits 0 or 69; skips the inbox.",
    ),
]


def status(
    root: Root = None, config: ConfigFile = None, alive: Alive = False, output: Format = OutputFormat.table
) -> None:
    """Show whether a daemon is running on ROOT, what it is doing, and what is left in the inbox and why."""
    settings = settings_for(root, config, touches_folders=False)
    if not settings.root.is_dir():
        raise NoInputError(f"there is no folder {settings.root}; name the ROOT or --config FILE of a daemon")
    if alive:
        _require_alive(settings)
        return
    facts = _gather(settings)
    write(output, table=lambda: _as_table(facts), json=lambda: facts, csv=lambda: _as_csv(facts))


def _require_alive(settings: "Settings") -> None:
    """Say that the daemon runs; one that has not turned its loop for a while, or not yet, is as good as none."""
    from imageguard_daemon.core import locks
    from imageguard_daemon.daemon import status as live

    process_id = locks.running_process(settings.state_folder)
    if process_id is None:
        raise UnavailableError(f"no daemon is running on {settings.root}")
    live_status = live.read(settings.state_folder)
    if live_status is None or live_status["process_id"] != process_id:
        raise UnavailableError(f"process {process_id} is starting: it is not watching yet")
    if (age := _age(live_status)) > STALE_SECONDS:
        raise UnavailableError(f"process {process_id} last reported {age:.0f} s ago: it hangs, or its disk is full")
    typer.echo(f"running (process {process_id})")


def _age(written: dict[str, Any], since: str = "updated_at") -> float:
    """Give how many seconds ago a status was written."""
    return time.time() - datetime.fromisoformat(written[since]).timestamp()


def _gather(settings: "Settings") -> dict[str, Any]:
    from imageguard_daemon.core import locks
    from imageguard_daemon.daemon import status as live
    from imageguard_daemon.daemon.stall_watch import waiting

    process_id = locks.running_process(settings.state_folder)
    waits = waiting(settings.state_folder, process_id)
    return {
        "root": str(settings.root),
        "running": process_id is not None,
        "process_id": process_id,
        "waiting_for": waits,
        "inboxes": {
            source.name: _inbox(settings, str(source.inbox))
            for source in settings.sources
            if waits is None or waits["source"] not in {"", source.name}  # or this command would hang, too
        },
        "daemon": live.read(settings.state_folder),
        "last_end": asdict(last_end) if (last_end := live.read_ending(settings.state_folder)) else None,
        "forwarding": _forwarding(settings),
    }


def _forwarding(settings: "Settings") -> dict[str, Any] | None:
    """Give what the forwarder says of itself, also where only the root is named: its configuration is not needed."""
    from imageguard_daemon.daemon import forwarder

    forwarding = forwarder.read(settings.state_folder)
    return forwarding if forwarding and (settings.forward.url or forwarding["state"] != "stopped") else None


def _inbox(settings: "Settings", inbox: str) -> dict[str, Any]:
    """Walk an inbox as the daemon does, and count what is there and why it stays."""
    from imageguard_daemon.core.names import printable
    from imageguard_daemon.intake.rules.selection import Selection
    from imageguard_daemon.intake.scan import walk

    waiting, left = 0, Counter[str]()
    examples: dict[str, list[str]] = {}
    for entry in walk(inbox, Selection.from_settings(settings.intake)):
        if entry.skip_reason is None:
            waiting += 1
            continue
        left[entry.skip_reason] += 1
        if left[entry.skip_reason] <= EXAMPLES_SHOWN:
            examples.setdefault(str(entry.skip_reason), []).append(printable(entry.relative_path))
    there = os.path.isdir(inbox)
    return {"path": inbox, "there": there, "waiting": waiting, "left": dict(left), "examples": examples}


def _rows(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    daemon = facts["daemon"] or {}
    yield "daemon", f"running (process {facts['process_id']})" if facts["running"] else "not running"
    yield "root", facts["root"]
    if waits := facts["waiting_for"]:
        whose = f" (source {waits['source']})" if waits["source"] else ""
        line = f"waits since {waits['since']} for {waits['waiting_for']}{whose}, which does not answer"
        yield "attention", f"{line}; all sources wait, and its inbox is not looked into here"
    if daemon:
        counts = f"{daemon['accepted']} accepted, {daemon['quarantined']} quarantined"
        yield "since start" if facts["running"] else "last run", f"{counts} ({daemon.get('started_at', '')})"
        if scorer := daemon.get("scorer_version"):
            yield "measures by", f"scorer {scorer}, {daemon['code']}"
    if line := _last_end(facts):
        yield "last end", line
    if facts["running"] and daemon:
        yield from (("attention", line) for line in _attention(daemon))
        yield "now", f"{daemon['backlog']} in work, {daemon['images_per_second']:.1f} images/s"
        yield from ((f"source {source['name']}", line) for source in daemon["sources"] for line in _of_source(source))
        yield from (("left behind", _failure(failure)) for failure in daemon["failures"])
        yield from _unfinished(daemon)
    if facts["forwarding"]:
        yield from _forwarding_rows(facts["forwarding"])
    for name, inbox in facts["inboxes"].items():
        waiting = f"{inbox['waiting']} waiting to be judged"
        yield f"inbox {name}", waiting if inbox["there"] else f"{inbox['path']} is not there: is its disk mounted?"
        for why, count in inbox["left"].items():
            yield "", f"{count} left: {why} ({', '.join(inbox['examples'][why])})"


def _attention(daemon: dict[str, Any]) -> Iterator[str]:
    if (age := _age(daemon)) > STALE_SECONDS:
        yield f"this is {age:.0f} s old: the daemon hangs, or its disk is full"
    if daemon["configuration_refused"]:
        yield f"the configuration was not reloaded, and the next start would fail: {daemon['configuration_refused']}"
    yield from (f"image decoders lack {what}" for what in daemon["confinement_lacks"])
    if daemon["log_unsafe_because"]:
        yield daemon["log_unsafe_because"]


def _of_source(source: dict[str, Any]) -> Iterator[str]:
    if source["paused_because"]:
        yield f"paused: {source['paused_because']} ({_next_attempt(source)})"
    if not source["present"]:
        yield "the inbox is gone"
    if unknown := source.get("writers_unknown"):
        yield f"who writes is not known: {', '.join(unknown)}"
    if skipped := source.get("skipped"):
        yield f"{skipped} files skipped: their content was filed before"


def _unfinished(daemon: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if number := daemon["left_open"]:
        moves = "1 move" if number == 1 else f"{number:,} moves"
        yield "unfinished", f"{moves} of an earlier run cannot be settled yet"
        yield from (("", example) for example in daemon["left_open_examples"])


def _last_end(facts: dict[str, Any]) -> str:
    """Say how the last run ended; nothing of one that was told to, beside a daemon that runs."""
    daemon, end = facts["daemon"] or {}, facts["last_end"]
    last_process = daemon.get("process_id")
    is_of_another = end is None or (end["process_id"] != last_process and end["at"] < daemon.get("updated_at", ""))
    if not facts["running"] and daemon and is_of_another:
        return f"process {last_process} was killed, or the power failed"
    if end is None or (facts["running"] and not end["exit_code"]):
        return ""
    return f"{end['at']}, exit code {end['exit_code']}: {end['why']}"


def _forwarding_rows(forwarder: dict[str, Any]) -> Iterator[tuple[str, str]]:
    state = f"{forwarder['state']}, as {forwarder['host']} to {forwarder['database']}"
    if forwarder["records_behind"]:
        state += f"; {forwarder['records_behind']:,} records behind, the oldest of {forwarder['oldest_behind_at']}"
    yield "forwarding", state
    speaks_at = "next_attempt_at" if forwarder["next_attempt_at"] else "updated_at"
    if forwarder["state"] != "stopped" and _age(forwarder, speaks_at) > STALE_SECONDS:
        yield "", f"nothing was heard of it since {forwarder['updated_at']}: it was killed, or waits for the database"
    if forwarder["last_error"]:
        since = f"failing since {forwarder['failing_since']}; {_next_attempt(forwarder)}"
        yield "", f"{forwarder['last_error']} ({since})"
    if forwarder["odd_records"]:
        yield "", f"{forwarder['odd_records']:,} records are kept in another form: see odd_records there"


def _failure(failure: dict[str, Any]) -> str:
    last_run = "given up; send SIGHUP to try again" if failure["given_up"] else _next_attempt(failure)
    attempts = f"{failure['attempts']} attempts, " if failure["attempts"] else ""
    return f"{failure['relative_path']}: {failure['error']} ({attempts}{last_run})"


def _next_attempt(item: dict[str, Any]) -> str:
    if not item.get("next_attempt_at"):
        return "will be tried again"
    seconds = datetime.fromisoformat(item["next_attempt_at"]).timestamp() - time.time()
    return f"next attempt in {seconds:.0f} s" if seconds >= 1 else "next attempt now"


def _as_table(facts: dict[str, Any]) -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    for name, value in _rows(facts):
        table.add_row(Text(name, "bold"), Text(value))
    return table


def _as_csv(facts: dict[str, Any]) -> str:
    return csv_text(("name", "value"), ((name, inert(value)) for name, value in _rows(facts)))
