"""A log that lacks records goes on because a person says so; that is a record, too."""

from imageguard_daemon.audit.chain_head import loss
from imageguard_daemon.audit.schema import alert_attempts, alert_records
from imageguard_daemon.audit.writer import AuditWriter, new_id
from imageguard_daemon.core.names import printable
from imageguard_daemon.core.timestamps import timestamp, utc_now

KIND, CHANNEL = "log_loss_accepted", "audit accept"


class AcceptingWriter(AuditWriter):
    """Opens a log whatever is remembered of it, and begins one where there is none; `lack` says what it lacks."""

    lack = ""

    def _require_remembered(self) -> None:
        self._remembered = self._memory.head()
        self.lack = loss(self._database, self._remembered) if self._remembered else ""

    def _is_to_be_remembered(self) -> bool:
        return not self.lack  # until it is recorded that a person accepted it

    def accept(self, who: str, why: str) -> None:
        """Record that a person accepts the loss, beside the alerts sent; from then on this log is the one."""
        if not self.lack or self._remembered is None:
            return
        now = timestamp(utc_now())
        evidence = {"who": printable(who), "why": printable(why), "had": self._remembered.sequence}
        evidence["hash"] = self._remembered.hash.hex()
        row = {
            "found_at": now,
            "kind": KIND,
            "subject": printable(str(self._database)),
            "message": f"the log {self.lack}; {printable(who)} accepted that: {printable(why)}".rstrip(": "),
            "evidence": evidence,
            "channel": CHANNEL,
        }
        with self.transaction(alert_records, alert_attempts) as connection:
            alert_id = new_id(connection.execute(alert_records.insert(), row))
            attempt = {"alert_id": alert_id, "attempted_at": now, "succeeded": 1, "detail": "recorded by a person"}
            connection.execute(alert_attempts.insert(), attempt)
        self.lack = ""
