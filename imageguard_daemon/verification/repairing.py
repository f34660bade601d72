"""Puts into the log what is true and not yet in it. Adds records; touches no file."""

from imageguard_daemon.audit.file_index import FiledFile
from imageguard_daemon.audit.writer import AuditWriter
from imageguard_daemon.core.model import Intent, Outcome
from imageguard_daemon.verification.inspection import inspect


class LogRepairer:
    """Repairs with a writer; the caller holds the root's lock, so that no daemon is at work."""

    def __init__(self, audit: AuditWriter) -> None:
        self._audit = audit
        self._intents = {recorded.intent_id: recorded.intent for recorded in audit.unfinished()}

    def relocated(self, file: FiledFile, path: str) -> bool:
        """Record where a file now is; its contents have been compared."""
        self._audit.record_relocations([(file.intent_id, path, file.sha256, file.size_bytes)])
        return True

    def unfinished(self, file: FiledFile) -> bool:
        """Record a move that has happened. One whose source is still there is left to the daemon, which removes it."""
        intent = self._intents.get(file.intent_id)
        if (
            intent is None
            or intent.deletes
            or _is_there(file, intent.source_path, intent)
            or inspect(file, quick=False)
        ):
            return False
        self._audit.record_outcomes([Outcome(file.intent_id, "moved", "recorded by verify --repair")])
        return True


def _is_there(file: FiledFile, path: str, intent: Intent) -> bool:
    source = FiledFile(file.intent_id, path, intent.sha256, intent.identity.size_bytes)
    return inspect(source, quick=False) is None
