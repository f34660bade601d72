"""The alerts sent, when, and whether they arrived."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from imageguard_daemon.audit.log_writer import LogWriter, new_id
from imageguard_daemon.audit.schema import alert_attempts, alert_records
from imageguard_daemon.audit.store import Store
from imageguard_daemon.core.names import printable
from imageguard_daemon.core.timestamps import parse_timestamp, timestamp


@dataclass(frozen=True, slots=True)
class Alert:
    """One finding that is to reach people by one channel (`command` or `webhook`), and what became of that.

    `alert_id` is 0 until it is recorded. `attempted_at` and `detail` are those of the latest attempt.
    """

    found_at: datetime
    kind: str
    subject: str
    message: str
    channel: str
    evidence: Mapping[str, Any] = field(default_factory=dict, compare=False)
    alert_id: int = 0
    attempts: int = 0
    attempted_at: datetime | None = None
    succeeded: bool = False
    detail: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes two alerts one piece of news."""
        return self.kind, self.subject, self.channel

    @property
    def is_over(self) -> bool:
        """Whether it says that the finding is over."""
        return bool(self.evidence.get("over"))


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to tell people."""

    alert_id: int
    attempted_at: datetime
    succeeded: bool
    detail: str = ""


class AlertLog:
    """Records alerts with the daemon's writer: before anybody is told, and after each try."""

    def __init__(self, audit: LogWriter) -> None:
        self._audit = audit

    def record_alerts(self, alerts: Sequence[Alert]) -> list[Alert]:
        """Record that people are about to be told, and give the alerts with their numbers."""
        with self._audit.transaction(alert_records) as connection:
            return [replace(alert, alert_id=_insert(connection, alert)) for alert in alerts]

    def record_attempts(self, attempts: Sequence[Attempt]) -> None:
        """Record tries."""
        rows = [
            {
                "alert_id": attempt.alert_id,
                "attempted_at": timestamp(attempt.attempted_at),
                "succeeded": int(attempt.succeeded),
                "detail": printable(attempt.detail),
            }
            for attempt in attempts
        ]
        with self._audit.transaction(alert_attempts) as connection:
            connection.execute(alert_attempts.insert(), rows)


def recorded_alerts(log: Store, since: datetime | None = None, limit: int | None = None) -> list[Alert]:
    """Give the alerts found since then, newest first, each with its latest attempt."""
    of_alert = alert_attempts.c.alert_id == alert_records.c.id
    latest = sa.select(sa.func.max(alert_attempts.c.id)).where(of_alert).correlate(alert_records).scalar_subquery()
    attempts = sa.select(sa.func.count()).where(of_alert).correlate(alert_records).scalar_subquery()
    query = (
        sa.select(
            alert_records,
            attempts.label("attempts"),
            alert_attempts.c.attempted_at,
            alert_attempts.c.succeeded,
            alert_attempts.c.detail.label("last_detail"),
        )
        .outerjoin(alert_attempts, alert_attempts.c.id == latest)
        .order_by(alert_records.c.id.desc())
        .limit(limit)
    )
    if since is not None:
        query = query.where(alert_records.c.found_at >= timestamp(since))
    with log.reading() as connection:
        return [_alert(row) for row in connection.execute(query)]


def _insert(connection: sa.Connection, alert: Alert) -> int:
    row = {
        "found_at": timestamp(alert.found_at),
        "kind": printable(alert.kind),
        "subject": alert.subject,
        "message": alert.message,
        "evidence": json.loads(json.dumps(dict(alert.evidence), default=str)),
        "channel": alert.channel,
    }
    return new_id(connection.execute(alert_records.insert(), row))


def _alert(row: Any) -> Alert:
    return Alert(
        parse_timestamp(row.found_at),
        row.kind,
        row.subject,
        row.message,
        row.channel,
        row.evidence,
        row.id,
        row.attempts,
        parse_timestamp(row.attempted_at) if row.attempted_at else None,
        bool(row.succeeded),
        row.last_detail or "",
    )
