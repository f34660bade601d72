"""What other thresholds would have decided, from recorded scores alone."""

import heapq
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache

from imageguard_daemon.audit.counts import RecordedScores
from imageguard_daemon.model import SCORE_NAMES, SIGNALS
from imageguard_daemon.quality.policy import PRESETS, scales_below, thresholds_for
from imageguard_daemon.quality.scoring import SCALES
from imageguard_daemon.quality.version import SCORER_VERSION

EXAMPLES_KEPT = 5
_SCALES_OF = tuple(tuple(scale for scale in SCALES if scale.signal == signal) for signal in SIGNALS)


class Rules:
    """Which thresholds a recorded decision is judged by again.

    They are those of `preset` if there is one; otherwise those that `sources` has for the decision's source; and
    otherwise those that were in force when it was made. In each case `overrides` replaces some of them.
    """

    def __init__(
        self,
        overrides: Mapping[str, float],
        preset: str | None = None,
        sources: Mapping[str, Mapping[str, float]] | None = None,
    ) -> None:
        self._overrides = overrides
        self._preset = preset
        self._sources = sources or {}
        self.thresholds = cache(self._thresholds)

    def _thresholds(self, source: str, preset: str, profile: str) -> tuple[float, ...] | None:
        """Give the six thresholds in the order of `SCORE_NAMES`; None if the record has none we understand."""
        if self._preset is not None:
            found: Mapping[str, float] = PRESETS[self._preset]
        elif source in self._sources:
            found = self._sources[source]
        else:
            try:
                found = thresholds_for(preset, json.loads(profile))
            except (ValueError, TypeError):  # JSONDecodeError is a ValueError
                return None
        return tuple(float(self._overrides.get(name, found[name])) for name in SCORE_NAMES)


@dataclass(slots=True)
class Change:
    """How many images a group has, and what becomes of them; `before` and `after` count the rejected."""

    total: int = 0
    before: int = 0
    after: int = 0
    newly_rejected: int = 0
    newly_accepted: int = 0

    def count(self, *, was_rejected: bool, is_rejected: bool) -> None:
        """Count one image."""
        self.total += 1
        self.before += was_rejected
        self.after += is_rejected
        self.newly_rejected += is_rejected and not was_rejected
        self.newly_accepted += was_rejected and not is_rejected


@dataclass(frozen=True, slots=True, order=True)
class Example:
    """One image whose verdict changes; reasons are empty where it is accepted."""

    id: int
    source: str
    class_name: str
    relative_path: str
    reason_before: str
    reason_after: str
    scores: Mapping[str, float] = field(compare=False)
    thresholds: Mapping[str, float] = field(compare=False)


@dataclass(slots=True)
class Simulation:
    """The counts of one simulation; its size grows with the number of classes, not of images."""

    overall: Change = field(default_factory=Change)
    classes: defaultdict[str, Change] = field(default_factory=lambda: defaultdict(Change))
    reasons_before: Counter[str] = field(default_factory=Counter)
    reasons_after: Counter[str] = field(default_factory=Counter)
    newly_rejected: list[Example] = field(default_factory=list)
    newly_accepted: list[Example] = field(default_factory=list)
    kept: Counter[str] = field(default_factory=Counter)
    """Verdicts that stay because there is nothing to judge again, by their reason: `corrupt` and its like."""
    unreadable: int = 0
    """Verdicts that stay because their scores or thresholds make no sense to this version."""
    other_versions: Counter[str] = field(default_factory=Counter)
    """Judged again from the scores that another version of the scorer gave."""

    def finish(self) -> None:
        """Put the examples in order, the newest first."""
        self.newly_rejected.sort(reverse=True)
        self.newly_accepted.sort(reverse=True)

    def count(self, row: RecordedScores, reason: str) -> None:
        """Count a decision whose reason would be this one; an empty one accepts."""
        outcome = {"was_rejected": row.verdict != "accepted", "is_rejected": bool(reason)}
        self.overall.count(**outcome)
        self.classes[row.class_name].count(**outcome)
        if outcome["was_rejected"]:
            self.reasons_before[row.reason] += 1
        if reason:
            self.reasons_after[reason] += 1


def simulate(rows: Iterable[RecordedScores], rules: Rules) -> Simulation:
    """Judge recorded decisions again; the rows may come in any order and are looked at once."""
    made = Simulation()
    for row in rows:
        thresholds = rules.thresholds(row.source, row.preset, row.profile)
        reason = _judged_again(row, thresholds, made)
        made.count(row, reason)
        if thresholds is not None and bool(reason) != (row.verdict != "accepted"):
            _keep_example(made.newly_rejected if reason else made.newly_accepted, row, reason, thresholds)
    made.finish()
    return made


def _judged_again(row: RecordedScores, thresholds: tuple[float, ...] | None, made: Simulation) -> str:
    if None in row.scores:
        made.kept[row.reason] += 1
        return _as_recorded(row)
    try:
        reason = _reason(row, thresholds) if thresholds else None
    except TypeError:  # a text in place of a number: not written by us
        reason = None
    if reason is None:
        made.unreadable += 1
        return _as_recorded(row)
    if row.scorer_version != SCORER_VERSION:
        made.other_versions[row.scorer_version] += 1
    return reason


def _as_recorded(row: RecordedScores) -> str:
    return "" if row.verdict == "accepted" else row.reason


def _reason(row: RecordedScores, thresholds: tuple[float, ...]) -> str:
    low = [i for i, score in enumerate(row.scores) if score < thresholds[i]]  # type: ignore[operator]  # not None
    if not low:
        return ""
    if len(low) == 1 and len(scales := _SCALES_OF[low[0]]) == 1:  # nearly always: nothing to compare
        return scales[0].issue
    return scales_below(_by_measure(row), dict(zip(SCORE_NAMES, thresholds, strict=True)))[0].issue


def _by_measure(row: RecordedScores) -> dict[str, float]:
    """Give each scale its score as recorded; of the two of exposure, the worse one has it."""
    measures = _measures(row.measures)
    by_measure: dict[str, float] = {}
    for scales, score in zip(_SCALES_OF, row.scores, strict=True):
        own = {scale.measure: scale.score(measures.get(scale.measure, 0.0)) for scale in scales if len(scales) > 1}
        worst = min(scales, key=lambda scale, own=own: own.get(scale.measure, 0.0))  # type: ignore[misc]
        by_measure |= own | {worst.measure: float(score or 0)}
    return by_measure


def _measures(text: str) -> dict[str, float]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    pairs = found.items() if isinstance(found, dict) else ()
    return {name: value for name, value in pairs if isinstance(value, float | int)}


def _keep_example(kept: list[Example], row: RecordedScores, reason: str, thresholds: tuple[float, ...]) -> None:
    """Keep the newest few, whatever the order they come in."""
    if len(kept) == EXAMPLES_KEPT and row.id < kept[0].id:
        return
    scores = {name: score for name, score in zip(SCORE_NAMES, row.scores, strict=True) if score is not None}
    before, by_name = _as_recorded(row), dict(zip(SCORE_NAMES, thresholds, strict=True))
    example = Example(row.id, row.source, row.class_name, row.relative_path, before, reason, scores, by_name)
    if len(kept) < EXAMPLES_KEPT:
        heapq.heappush(kept, example)
    else:
        heapq.heapreplace(kept, example)
