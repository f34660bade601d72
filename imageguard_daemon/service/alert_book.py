"""Which findings are news, and when a try that failed is made again. Pure: the time is handed in."""

from collections.abc import Container, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from imageguard_daemon.audit.alerts import Alert, Attempt
from imageguard_daemon.reporting.findings import Finding

FIRST_PAUSE = timedelta(minutes=1)
LONGEST_PAUSE = timedelta(hours=1)
MOST_AT_ONCE = 20
"""More new findings than this wait for the next look: a flood of messages is read by nobody."""


class AlertBook:
    """What was found lately and whom it has reached. Forgets what is older than the cool-down."""

    def __init__(self, cooldown: timedelta, recorded: Iterable[Alert] = ()) -> None:
        self._cooldown = cooldown
        self._alerts: dict[tuple[str, str, str], Alert] = {}
        for alert in sorted(recorded, key=lambda one: one.alert_id):
            self._alerts[alert.key] = alert

    def news(self, findings: Sequence[Finding], channels: Sequence[str], now: datetime) -> list[Alert]:
        """Give the alerts to make of findings: those that no channel was told of within the cool-down."""
        self._forget(now)
        made = [
            Alert(now, finding.kind, finding.subject, finding.told, channel, finding.evidence)
            for finding in findings
            for channel in channels
        ]
        return [alert for alert in made if alert.key not in self._alerts][:MOST_AT_ONCE]

    def add(self, alerts: Iterable[Alert]) -> None:
        """Take in alerts that were recorded."""
        self._alerts.update({alert.key: alert for alert in alerts})

    def note(self, attempt: Attempt) -> None:
        """Take in what became of a try."""
        for key, alert in self._alerts.items():
            if alert.alert_id == attempt.alert_id:
                self._alerts[key] = _after(alert, attempt)
                return

    def due(self, now: datetime) -> list[Alert]:
        """Give the alerts that have not reached anybody and are to be tried now, the oldest first."""
        self._forget(now)
        waiting = (alert for alert in self._alerts.values() if not alert.succeeded)
        return sorted((one for one in waiting if next_try(one) <= now), key=lambda one: one.alert_id)

    def next_due(self, apart_from: Container[int] = ()) -> datetime | None:
        """Say when the next try is to be made, apart from those of some alerts; None when nothing waits."""
        waiting = (one for one in self._alerts.values() if not one.succeeded and one.alert_id not in apart_from)
        return min((next_try(one) for one in waiting), default=None)

    def _forget(self, now: datetime) -> None:
        # What seems to come from the future is forgotten, too: the clock was put back, and would silence us for long.
        kept = {key: one for key, one in self._alerts.items() if self._is_recent(one, now)}
        self._alerts = kept

    def _is_recent(self, alert: Alert, now: datetime) -> bool:
        return -FIRST_PAUSE <= now - alert.found_at < self._cooldown


def next_try(alert: Alert) -> datetime:
    """Say when an alert is to be tried next: at once, then after pauses that double up to an hour."""
    if alert.attempted_at is None:
        return alert.found_at
    doubled: timedelta = FIRST_PAUSE * 2 ** min(alert.attempts - 1, 20)
    return alert.attempted_at + min(doubled, LONGEST_PAUSE)


def _after(alert: Alert, attempt: Attempt) -> Alert:
    return replace(
        alert,
        attempts=alert.attempts + 1,
        attempted_at=attempt.attempted_at,
        succeeded=attempt.succeeded,
        detail=attempt.detail,
    )
