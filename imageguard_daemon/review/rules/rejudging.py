"""Rejected images judged again by other thresholds, from their recorded scores alone. Pure."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from imageguard_daemon.audit.counts import RecordedScores
from imageguard_daemon.core.model import SCORE_NAMES
from imageguard_daemon.quality.scoring import scores_by_threshold
from imageguard_daemon.reporting.simulation import Rules


@dataclass(slots=True)
class Rejudged:
    """What other thresholds say of rejected images: decision -> the thresholds by which it would be accepted."""

    accepted: dict[int, Mapping[str, float]] = field(default_factory=dict)
    reasons: Counter[str] = field(default_factory=Counter)
    """Why those had been rejected that would be accepted."""
    still_rejected: int = 0
    kept: Counter[str] = field(default_factory=Counter)
    """Those that stay because nothing could be measured, by their reason."""
    unreadable: int = 0
    """Those that stay because scores or thresholds make no sense to this version."""
    other_versions: int = 0
    """Accepted by scores that another version of the scorer gave."""

    @property
    def total(self) -> int:
        """How many were judged again."""
        return len(self.accepted) + self.still_rejected + self.kept.total() + self.unreadable


def judge_again(rows: Iterable[RecordedScores], rules: Rules) -> Rejudged:
    """Judge rejected images again: what `simulate` counts as newly accepted under the same rules is accepted here."""
    made = Rejudged()
    for row in rows:
        if None in row.scores:
            made.kept[row.reason] += 1
            continue
        thresholds = rules.thresholds(row.source, row.preset, row.profile)
        verdict = _is_accepted(row, thresholds) if thresholds is not None else None
        if thresholds is None or verdict is None:
            made.unreadable += 1
        elif verdict:
            made.accepted[row.id] = thresholds
            made.reasons[row.reason] += 1
            made.other_versions += row.scorer_version != rules.scorer_version
        else:
            made.still_rejected += 1
    return made


def _is_accepted(row: RecordedScores, thresholds: Mapping[str, float]) -> bool | None:
    try:
        measures = json.loads(row.measures)
        scores: dict[str, Any] = dict(zip(SCORE_NAMES, row.scores, strict=True))  # whatever the log has in their places
        found = scores_by_threshold(scores, measures if isinstance(measures, dict) else {})
        return all(score >= thresholds[name] for name, score in found.items())
    except (TypeError, ValueError):  # a text in place of a number: not written by us
        return None
