"""Which findings are news, what goes on, what is over, and when a try that failed is made again.

Pure: the time is handed in. A finding is new when it was not there before. It goes on, and is not sent again, until it
has not been found for the whole cool-down; then people hear that it is over. What comes back within the cool-down after
that is not news either: a pattern at the edge of being one would else be sent every hour. What reached nobody for a
whole cool-down and still goes on is new again.
"""

from collections.abc import Container, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from imageguard_daemon.audit.alerts import Alert, Attempt
from imageguard_daemon.core.backoff import Backoff
from imageguard_daemon.reporting.finding import Finding

FIRST_PAUSE = timedelta(minutes=1)
LONGEST_PAUSE = timedelta(hours=1)
_PAUSES = Backoff(FIRST_PAUSE.total_seconds(), LONGEST_PAUSE.total_seconds())
MAX_AT_ONCE = 20
"""More findings with news than this wait for the next look: a flood of messages is read by nobody."""


_SETTLED = "Over, or usual by now: "


class AlertState:
    """What was found and whom it has reached: the latest alert of each piece of news."""

    def __init__(self, cooldown: timedelta, recorded: Iterable[Alert] = (), now: datetime | None = None) -> None:
        self._cooldown = cooldown
        self._alerts: dict[tuple[str, str, str], Alert] = {}
        for alert in sorted(recorded, key=lambda alert: alert.alert_id):
            self._alerts[alert.key] = alert
        # What was found before a restart counts as there until a look has missed it for the whole cool-down.
        self._seen_at = {key[:2]: now or alert.found_at for key, alert in self._alerts.items()}

    def news(self, findings: Sequence[Finding], channels: Sequence[str], now: datetime) -> list[Alert]:
        """Give the alerts to make after a look: of findings that are new, and of those that are over."""
        self._forget(now)
        there = {(finding.kind, finding.subject) for finding in findings}
        self._seen_at.update(dict.fromkeys(there, now))
        alerts = [
            Alert(now, finding.kind, finding.subject, finding.sentence_with_command, channel, finding.evidence)
            for finding in findings
            for channel in channels
        ]
        new = [alert for alert in alerts if alert.key not in self._alerts]
        return _of_first_findings([*new, *self._over(channels, now)])

    def _over(self, channels: Sequence[str], now: datetime) -> list[Alert]:
        gone = [alert for alert in self._alerts.values() if self._is_gone(alert, now)]
        for alert in gone:
            if not alert.succeeded or alert.channel not in channels:  # nobody knows of it
                del self._alerts[alert.key]
        return [
            Alert(
                now, alert.kind, alert.subject, _SETTLED + alert.message, alert.channel, {**alert.evidence, "over": 1}
            )
            for alert in gone
            if alert.key in self._alerts
        ]

    def _is_gone(self, alert: Alert, now: datetime) -> bool:
        seen_at = self._seen_at.get(alert.key[:2], alert.found_at)
        return not alert.is_over and now - seen_at >= self._cooldown

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
        waiting = (alert for alert in self._alerts.values() if self._is_waiting(alert, now))
        due = [alert for alert in waiting if next_try(alert) <= now]
        return sorted(due, key=lambda alert: alert.alert_id)

    def next_due(self, now: datetime, apart_from: Container[int] = ()) -> datetime | None:
        """Say when the next try is to be made, apart from those of some alerts; None when nothing waits."""
        waiting = (
            alert
            for alert in self._alerts.values()
            if self._is_waiting(alert, now) and alert.alert_id not in apart_from
        )
        return min((next_try(alert) for alert in waiting), default=None)

    def _is_waiting(self, alert: Alert, now: datetime) -> bool:
        return not alert.succeeded and now - alert.found_at < self._cooldown

    def _forget(self, now: datetime) -> None:
        # What seems to come from the future is forgotten, too: the clock was put back, and would silence us for long.
        alerts = {key: alert for key, alert in self._alerts.items() if self._is_kept(alert, now)}
        self._alerts = alerts
        self._seen_at = {key: min(seen_at, now) for key, seen_at in self._seen_at.items()}

    def _is_kept(self, alert: Alert, now: datetime) -> bool:
        age = now - alert.found_at
        goes_on = alert.succeeded and not alert.is_over  # what reached nobody silences nothing for longer
        return age >= -FIRST_PAUSE and (goes_on or age < self._cooldown)


def _of_first_findings(alerts: Sequence[Alert]) -> list[Alert]:
    """Keep the alerts of so many findings, by all channels: none is to know of a finding that another does not."""
    first = list(dict.fromkeys(alert.key[:2] for alert in alerts))[:MAX_AT_ONCE]
    return [alert for alert in alerts if alert.key[:2] in first]


def next_try(alert: Alert) -> datetime:
    """Say when an alert is to be tried next: at once, then after pauses that double up to an hour."""
    if alert.attempted_at is None:
        return alert.found_at
    return alert.attempted_at + timedelta(seconds=_PAUSES.after(alert.attempts))


def _after(alert: Alert, attempt: Attempt) -> Alert:
    return replace(
        alert,
        attempts=alert.attempts + 1,
        attempted_at=attempt.attempted_at,
        succeeded=attempt.succeeded,
        detail=attempt.detail,
    )
