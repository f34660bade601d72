"""`imageguard-daemon alerts`: the alerts sent, and a test alert."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imageguard_daemon.cli.help_format import CommandLine
from imageguard_daemon.cli.options import ConfigFile, DatabaseOrUrl, Format, OutputFormat, Root, settings_for
from imageguard_daemon.cli.output import write
from imageguard_daemon.core.errors import ConfigError, UnavailableError
from imageguard_daemon.core.timestamps import seconds_timestamp

if TYPE_CHECKING:
    from rich.console import RenderableType

    from imageguard_daemon.audit.alerts import Alert

app = CommandLine(no_args_is_help=True, help="List the alerts sent, or send a test alert.")

Limit = Annotated[int, typer.Option("--limit", metavar="N", min=1, help="Maximum number of alerts, newest first.")]
_COLUMNS = (
    "id",
    "state",
    "found_at",
    "kind",
    "subject",
    "channel",
    "succeeded",
    "attempts",
    "attempted_at",
    "detail",
    "message",
)


@app.command("list")
def list_(
    root: Root = None,
    config_file: ConfigFile = None,
    database: DatabaseOrUrl = None,
    limit: Limit = 50,
    output: Format = OutputFormat.table,
) -> None:
    """List the alerts sent, when, and whether they arrived; newest first."""
    from imageguard_daemon.audit.alerts import recorded_alerts
    from imageguard_daemon.audit.opening import open_log
    from imageguard_daemon.review.rendering import as_csv

    place = database or settings_for(root, config_file, touches_folders=False).audit.database
    with open_log(place, complete=True) as log:
        rows = _rows(recorded_alerts(log, limit=limit))
    write(output, table=lambda: _as_table(rows), json=lambda: rows, csv=lambda: as_csv(rows, _COLUMNS))


@app.command("test")
def try_channels(root: Root = None, config_file: ConfigFile = None) -> None:
    """Send a test alert by every channel of the configuration. Nothing is recorded.

    It runs as you, outside of the service's sandbox; docs/monitoring.md says how to try it inside.
    """
    from imageguard_daemon.audit.alerts import Alert
    from imageguard_daemon.daemon.alerting import DeliveryError, channels_of, content_of

    settings = settings_for(root, config_file, touches_folders=False)
    channels = channels_of(settings.alerts)
    if not channels:
        raise ConfigError(["alerts: no channel is configured; set alerts.command or alerts.webhook"])
    failed = 0
    for name, channel in channels.items():
        alert = Alert(datetime.now(UTC), "test", "test", "This is a test of alerts; nothing was found.", name)
        try:
            channel.send(content_of(alert, settings.root))
        except DeliveryError as error:
            failed += 1
            typer.echo(f"error: {name}: {error}", err=True)
        else:
            typer.echo(f"{name}: delivered")
    if failed:
        raise UnavailableError(f"{failed} of {len(channels)} channels did not work")


def _rows(alerts: "list[Alert]") -> list[dict[str, Any]]:
    """Give rows, newest first; what is the latest word on its finding and does not say that it is over goes on."""
    latest: set[tuple[str, str, str]] = set()
    rows = []
    for alert in alerts:
        state = "over" if alert.is_over else "new" if alert.key in latest else "going on"
        latest.add(alert.key)
        rows.append(_as_dict(alert, state))
    return rows


def _as_dict(alert: "Alert", state: str) -> dict[str, Any]:
    return {
        "id": alert.alert_id,
        "state": state,
        "found_at": seconds_timestamp(alert.found_at),
        "kind": alert.kind,
        "subject": alert.subject,
        "channel": alert.channel,
        "succeeded": alert.succeeded,
        "attempts": alert.attempts,
        "attempted_at": seconds_timestamp(alert.attempted_at) if alert.attempted_at else None,
        "detail": alert.detail,
        "message": alert.message,
    }


def _as_table(rows: list[dict[str, Any]]) -> "RenderableType":
    from rich.table import Table
    from rich.text import Text

    if not rows:
        return "No alerts have been sent yet."
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("found (UTC)", "state", "channel", "reached", "finding"):
        table.add_column(name, overflow="fold", no_wrap=name != "finding")
    for row in rows:
        tries = f"{row['attempts']} {'try' if row['attempts'] == 1 else 'tries'}"
        reached = "yes" if row["succeeded"] else f"no, {tries}"
        finding = row["message"] + (f" ({row['detail']})" if row["detail"] else "")
        table.add_row(row["found_at"][:16].replace("T", " "), row["state"], row["channel"], reached, Text(finding))
    return table
