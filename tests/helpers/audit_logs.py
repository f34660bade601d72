"""Audit logs as the daemon leaves them, written by the real writer."""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from imageguard_daemon.audit.writer import AuditWriter
from imageguard_daemon.model import (
    SCORE_NAMES,
    Candidate,
    Decision,
    FileIdentity,
    Intent,
    JudgedFile,
    Measurement,
    Outcome,
    OutcomeKind,
)

ROOT = Path("/srv/ingest")
NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Judged:
    """Images that were judged alike; an empty reason means accepted."""

    class_name: str = "cat"
    reason: str = ""
    images: int = 1
    source: str = "default"
    camera: str = ""
    decided_at: datetime = NOON
    outcome: OutcomeKind = "moved"


def write_log(database: Path, batches: Iterable[Judged]) -> Path:
    """Record these images and what became of them."""
    moment = [NOON]
    writer = AuditWriter(database, ROOT, now=lambda: moment[0])
    numbers = itertools.count()
    for batch in batches:
        moment[0] = batch.decided_at
        recorded = writer.record_intents([_judged_file(batch, next(numbers)) for _ in range(batch.images)])
        writer.record_outcomes([Outcome(image.intent_id, batch.outcome) for (image, *_) in recorded])
    writer.close()
    return database


def _judged_file(batch: Judged, number: int) -> JudgedFile:
    name, sha256 = f"{batch.class_name}/{number}.jpg", f"{number:064x}"
    issues = (batch.reason,) if batch.reason else ()
    decision = Decision(0.2 if issues else 0.9, issues, dict.fromkeys(SCORE_NAMES, 50.0), {}, "general", {}, "test")
    folder = "quarantine" if issues else "accepted"
    intent = Intent(
        "image",
        str(ROOT / "inbox" / name),
        str(ROOT / folder / name),
        sha256,
        FileIdentity(1, number, 1000, 1, 1),
    )
    measurement = Measurement(sha256, issue="corrupt", camera=batch.camera)
    return JudgedFile(Candidate(batch.source, name), batch.class_name, measurement, decision, (intent,))
