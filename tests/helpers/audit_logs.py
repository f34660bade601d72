"""Audit logs as the daemon leaves them, written by the real writer."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from imageguard_daemon.audit.aggregation import BatchCounter
from imageguard_daemon.audit.columns import open_columns
from imageguard_daemon.audit.counts import Count, Dimension, Scope
from imageguard_daemon.audit.store import Store
from imageguard_daemon.audit.writer import AuditWriter
from imageguard_daemon.core.model import (
    SCORE_NAMES,
    Candidate,
    Decision,
    FileIdentity,
    Intent,
    JudgedFile,
    Measurement,
    Measures,
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
    exposure: tuple[float, float] | None = None
    """Over- and underexposure; None: nothing could be measured."""
    repeated: bool = False
    """All of them have the same bytes."""
    borderline: bool = False
    preset: str = "general"


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
    name, sha256 = f"{batch.class_name}/{number}.jpg", f"{0 if batch.repeated else number:064x}"
    issues = (batch.reason,) if batch.reason else ()
    measures, scores = _measured(batch, number)
    decision = Decision(
        0.2 if issues else 0.9, issues, scores, measures, batch.preset, {}, "test", "", batch.borderline
    )
    folder = "quarantine" if issues else "accepted"
    intent = Intent(
        "image",
        str(ROOT / "inbox" / name),
        str(ROOT / folder / name),
        sha256,
        FileIdentity(1, number, 1000, 1, 1),
    )
    found = _measures(batch.exposure) if batch.exposure else None
    measurement = Measurement(sha256, found, issue="" if found else "corrupt", camera=batch.camera)
    return JudgedFile(Candidate(batch.source, name), batch.class_name, measurement, decision, (intent,))


def _measured(batch: Judged, number: int) -> tuple[dict[str, float], dict[str, float]]:
    if batch.exposure is None:
        return {}, dict.fromkeys(SCORE_NAMES, 50.0)
    return _measures(batch.exposure).as_dict(), {
        name: number % 97 + place / 7 for place, name in enumerate(SCORE_NAMES)
    }


def _measures(exposure: tuple[float, float]) -> Measures:
    return Measures(640, 480, 1.0, 1.0, 95.0, 1.0, 0.0, 0.0, 3.0, 120.0, 240.0, *exposure)


def engine_of(log: Store) -> sa.Engine:
    """Give what the questions to a log go through, for those who look at the questions."""
    with log.reading() as connection:
        return connection.engine


def count_decisions(log: Store, groupings: Sequence[Sequence[Dimension]], scope: Scope) -> list[list[Count]]:
    """Count the decisions in scope as a report does: once for each grouping, crossed with verdict and reason."""
    with open_columns(log) as columns:
        counter = BatchCounter(columns.keys, groupings)
        for batch in columns.batches(scope):
            counter.add(batch)
        return counter.counts()
