"""Simulations of decisions that a test writes down row by row."""

import json
from collections.abc import Iterable

import numpy as np

from imageguard_daemon.audit.columns import Batch
from imageguard_daemon.audit.counts import RecordedImage, RecordedScores
from imageguard_daemon.audit.keys import Key, Keys
from imageguard_daemon.audit.rollups import FLAG_DARK, FLAG_UNREADABLE
from imageguard_daemon.reporting.simulation import Rules, Simulation, simulate

BATCH = 7


def simulated(rows: Iterable[RecordedScores], rules: Rules) -> Simulation:
    """Judge these rows again as the roll-ups would have them, a few in each batch."""
    rows = list(rows)
    keys = [None, *dict.fromkeys(map(_key, rows))]
    batches = [_batch(keys, rows[at : at + BATCH]) for at in range(0, len(rows), BATCH)]
    measures = {row.id: json.loads(row.measures) for row in rows}
    images = {row.id: RecordedImage(row.id, "", "", "", row.relative_path, "", "", "", "", "") for row in rows}
    return simulate(Keys.numbered(keys), batches, rules, lambda ids: {n: measures[n] for n in ids}).with_paths(images)


def _key(row: RecordedScores) -> Key:
    where = ("host", row.source, row.class_name, "")
    return Key(*where, row.preset, row.profile, row.verdict, row.reason, row.scorer_version)


def _batch(keys: list[Key | None], rows: list[RecordedScores]) -> Batch:
    scores = [[score if isinstance(score, float | int) else np.nan for score in row.scores] for row in rows]
    return Batch(
        0,
        np.zeros(len(rows), np.int64),
        np.array([keys.index(_key(row)) for row in rows], np.uint32),
        np.array([_flags(row) for row in rows], np.uint8),
        np.array([row.id for row in rows], np.int64),
        np.array(scores, float),
    )


def _flags(row: RecordedScores) -> int:
    measures = json.loads(row.measures)
    is_dark = measures.get("underexposure", 0) > measures.get("overexposure", 0)
    return FLAG_DARK * is_dark + FLAG_UNREADABLE * any(isinstance(score, str) for score in row.scores)
