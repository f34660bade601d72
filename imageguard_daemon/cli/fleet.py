"""`imageguard-daemon fleet`: the logs of many servers in one PostgreSQL."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from imageguard_daemon.cli.help_format import CommandLine
from imageguard_daemon.cli.options import ConfigFile, Format, OutputFormat, Root, settings_for
from imageguard_daemon.cli.output import plain_console, progress_bar, write
from imageguard_daemon.core.errors import UsageError
from imageguard_daemon.core.names import inert
from imageguard_daemon.core.tables import csv_text

if TYPE_CHECKING:
    from pathlib import Path

    from rich.table import Table

    from imageguard_daemon.audit.fleet.database import FleetAddress
    from imageguard_daemon.audit.fleet.store import ReceivedLog
    from imageguard_daemon.daemon.forwarder import ForwardingLoop

_COLUMNS = ("log", "host", "root", "records", "last_received_at", "parent", "fork_sequence", "odd", "missed")

app = CommandLine(no_args_is_help=True, help="Collect the logs of many servers in one PostgreSQL (docs/fleet.md).")

Url = Annotated[
    str | None,
    typer.Option(
        "--db",
        metavar="URL",
        help="The database, e.g. postgresql://owner@db.example.org/imageguard (default: the configuration's).",
    ),
]
Follow = Annotated[bool, typer.Option("--follow", help="Keep sending new records until stopped.")]


@app.command("forward")
def forward_(root: Root = None, config_file: ConfigFile = None, follow: Follow = False) -> None:
    """Send new records of this log to the fleet's database, then exit; a daemon may be running.

    A daemon does this by itself, unless forward.with_daemon is off. Exits 75 when the database is away: what was not
    sent waits in the log.
    """
    from imageguard_daemon.core import logs
    from imageguard_daemon.core.locks import require_own
    from imageguard_daemon.daemon import forwarder
    from imageguard_daemon.daemon.forwarder import ForwardingLoop, address_of

    settings = settings_for(root, config_file, touches_folders=False)
    address_of(settings)
    require_own(settings.state_folder, settings.root)
    logs.configure(settings.logging.format, settings.logging.level, plain_console(stderr=True))
    if follow:
        forwarder.follow(settings)
        return
    loop = ForwardingLoop(settings)
    try:
        _send_all(loop)
    finally:
        loop.close()


def _send_all(loop: "ForwardingLoop") -> None:
    from rich.progress import BarColumn, MofNCompleteColumn, TimeRemainingColumn

    with progress_bar(BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()) as bar:
        task = bar.add_task("")
        while loop.step() == 0:
            sent, behind = loop.status.records_sent, loop.status.records_behind
            bar.update(task, completed=sent, total=sent + behind)
    if loop.error is not None:
        raise loop.error
    typer.echo(f"{loop.status.records_sent:,} records sent to {loop.status.database}")


@app.command("prepare")
def prepare_(root: Root = None, config_file: ConfigFile = None, url: Url = None) -> None:
    """Create the tables in the fleet's database, or bring them up to date; run it as the owner of the database.

    Not needed where the forwarder may create tables: it does so itself. Several may run at once.
    """
    from imageguard_daemon.audit.fleet.database import newest_version, prepare_fleet

    address = _address(root, config_file, url)
    before, now = prepare_fleet(address), newest_version()
    typer.echo(f"{address}: is up to date ({now})" if before == now else f"{address}: prepared ({now})")


@app.command("list")
def list_(
    root: Root = None, config_file: ConfigFile = None, url: Url = None, output: Format = OutputFormat.table
) -> None:
    """List the logs in the fleet's database, how complete they are, and when each was last updated."""
    from imageguard_daemon.audit.fleet.store import received_logs

    logs = received_logs(_address(root, config_file, url))
    rows = [asdict(log) for log in logs]
    cells = ([inert(str(value)) for value in row.values()] for row in rows)
    write(output, table=lambda: _as_table(logs), json=lambda: rows, csv=lambda: csv_text(_COLUMNS, cells))


def _address(root: "Path | None", config_file: "Path | None", url: str | None) -> "FleetAddress":

    from imageguard_daemon.audit.fleet.database import FleetAddress, is_fleet_url
    from imageguard_daemon.daemon.forwarder import address_of

    if url is not None:
        if not is_fleet_url(url):
            raise UsageError("--db: not the address of a PostgreSQL; it begins with postgresql://")
        return FleetAddress(url)
    return address_of(settings_for(root, config_file, touches_folders=False))


def _as_table(logs: "list[ReceivedLog]") -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table("log", "host", "root", "records", "last received", "remarks", box=None)
    for log in logs:
        remarks = [f"continues log {log.parent} after record {log.fork_sequence:,}"] if log.parent else []
        remarks += [f"{log.odd:,} kept in another form"] if log.odd else []
        remarks += [f"{log.missed:,} archived before they were sent"] if log.missed else []
        cells = (str(log.log), log.host, log.root, f"{log.records:,}", log.last_received_at, "; ".join(remarks))
        table.add_row(*map(Text, cells))
    return table
