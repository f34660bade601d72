"""What other thresholds would have decided, from recorded scores alone.

`simulate` counts it, `judge_again` says of which rejected images it is so.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from imageguard_daemon.audit.columns import Batch
from imageguard_daemon.audit.counts import RecordedImage, RecordedScores
from imageguard_daemon.audit.keys import Key, Keys
from imageguard_daemon.audit.rollups import FLAG_DARK, FLAG_UNREADABLE
from imageguard_daemon.core.model import SCORE_NAMES, SIGNALS
from imageguard_daemon.quality.policy import thresholds_for, with_overrides
from imageguard_daemon.quality.scoring import LIMITS, SCALES, ends_of_exposure, scores_by_threshold
from imageguard_daemon.quality.version import SCORER_VERSION

EXAMPLES_KEPT = 5
_ACCEPTED, _KEPT, _UNREADABLE = 0, 1, 2
_FIRST_REASON = 3
_REASONS = tuple(scale.issue for scale in SCALES)
"""What a low score is called, scale by scale."""
_OUTCOMES = _FIRST_REASON + len(_REASONS)
_SIGNAL_OF = np.array([SIGNALS.index(scale.signal) for scale in SCALES])
_EXPOSURE = SIGNALS.index("exposure")
_OVER, _UNDER = (n for n, scale in enumerate(SCALES) if scale.signal == "exposure")
_Ints = npt.NDArray[np.int64]
_Floats = npt.NDArray[np.float64]
MeasuresOf = Callable[[Sequence[int]], Mapping[int, Mapping[str, object]]]
"""Gives the recorded measures of decisions that are still in the log."""


class Rules:
    """Which thresholds a recorded decision is judged by again.

    They are those of `preset` if there is one; otherwise those that `sources` has for the decision's source; and
    otherwise those that were in force when it was made. In each case `overrides` replaces some of them. Scores that
    another scorer gave than `scorer_version` are counted.
    """

    def __init__(
        self,
        overrides: Mapping[str, float],
        preset: str | None = None,
        sources: Mapping[str, Mapping[str, float]] | None = None,
        scorer_version: str = SCORER_VERSION,
    ) -> None:
        self.scorer_version = scorer_version
        self._overrides = overrides
        self._preset = preset
        self._sources = sources or {}
        self.thresholds = cache(self._thresholds)

    def _thresholds(self, source: str, preset: str, profile: str) -> Mapping[str, float] | None:
        """Give the thresholds by all THRESHOLD_NAMES; None if the record has none we understand."""
        if self._preset is not None:
            thresholds: Mapping[str, float] = thresholds_for(self._preset)
        elif source in self._sources:
            thresholds = self._sources[source]
        else:
            try:
                thresholds = thresholds_for(preset, json.loads(profile))
            except (ValueError, TypeError):  # JSONDecodeError is a ValueError
                return None
        return with_overrides(thresholds, self._overrides)


@dataclass(slots=True)
class Change:
    """How many images a group has, and what becomes of them; `before` and `after` count the rejected."""

    total: int = 0
    before: int = 0
    after: int = 0
    newly_rejected: int = 0
    newly_accepted: int = 0

    def count(self, images: int, *, was_rejected: bool, is_rejected: bool) -> None:
        """Count images."""
        self.total += images
        self.before += images * was_rejected
        self.after += images * is_rejected
        self.newly_rejected += images * (is_rejected and not was_rejected)
        self.newly_accepted += images * (was_rejected and not is_rejected)


@dataclass(frozen=True, slots=True, order=True)
class Example:
    """One image whose verdict changes; reasons are empty where it is accepted, the path where it was archived."""

    id: int
    source: str
    class_name: str
    relative_path: str
    reason_before: str
    reason_after: str
    scores: Mapping[str, float] = field(compare=False)
    thresholds: Mapping[str, float] = field(compare=False)
    low: Mapping[str, float] = field(compare=False)
    """The scores that are below their threshold, by its name."""


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
    scorer_version: str = SCORER_VERSION
    """Today's."""

    def count(self, key: Key, outcome: int, images: int) -> None:
        """Count images of a key that would have this outcome."""
        reason = "" if key.verdict == "accepted" else key.reason
        is_rejected = key.verdict != "accepted"
        if outcome == _KEPT:
            self.kept[key.reason] += images
        elif outcome == _UNREADABLE:
            self.unreadable += images
        else:
            is_rejected = outcome >= _FIRST_REASON
            reason = _REASONS[outcome - _FIRST_REASON] if is_rejected else ""
            if key.scorer_version != self.scorer_version:
                self.other_versions[key.scorer_version] += images
        for change in (self.overall, self.classes[key.class_name]):
            change.count(images, was_rejected=key.verdict != "accepted", is_rejected=is_rejected)
        if key.verdict != "accepted":
            self.reasons_before[key.reason] += images
        if is_rejected:
            self.reasons_after[reason] += images

    def with_paths(self, images: Mapping[int, RecordedImage]) -> "Simulation":
        """Give the same with the names of its examples."""

        def named(examples: Sequence[Example]) -> list[Example]:
            paths = {number: image.relative_path for number, image in images.items()}
            return [replace(example, relative_path=paths.get(example.id, "")) for example in examples]

        return replace(self, newly_rejected=named(self.newly_rejected), newly_accepted=named(self.newly_accepted))


def simulate(keys: Keys, batches: Iterable[Batch], rules: Rules, measures: MeasuresOf) -> Simulation:
    """Judge recorded decisions again; the batches have scores, may come in any order and are looked at once.

    A batch has the worse of the two scores of exposure. Where the better one decides, because the two thresholds
    differ, `measures` is asked; it passes if it is not known any more. The examples are the newest images, without
    their paths: see `with_paths`.
    """
    simulator = Simulator(keys, rules, measures)
    for batch in batches:
        simulator.add(batch)
    return simulator.simulation()


class Simulator:
    """Takes batches with their scores as `simulate` says; memory does not grow with them.

    Counts, for each key, what its images would be: a row for each key, a column for each outcome.
    """

    def __init__(self, keys: Keys, rules: Rules, measures: MeasuresOf) -> None:
        self._keys = keys
        self._measures = measures
        self._scorer_version = rules.scorer_version
        thresholds = [key and rules.thresholds(key.source, key.preset, key.profile) for key in keys]
        self._by_name = [limits or {} for limits in thresholds]
        self._thresholds = np.array([[limits.get(name, np.nan) for name in LIMITS] for limits in self._by_name])
        self._was_rejected = ~keys.where("verdict", ["accepted"])
        self._counts = np.zeros((len(thresholds), _OUTCOMES), np.int64)
        self._examples: dict[bool, list[Example]] = {False: [], True: []}

    def add(self, batch: Batch) -> None:
        """Judge the images of a batch."""
        scores = self._scores_by_scale(batch)
        outcomes = self._outcomes(batch, scores)
        codes = batch.keys.astype(np.int64) * _OUTCOMES + outcomes
        self._counts += np.bincount(codes, minlength=self._counts.size).reshape(self._counts.shape)
        was_rejected = self._was_rejected[batch.keys]
        is_rejected = outcomes >= _FIRST_REASON
        is_judged = (outcomes != _KEPT) & (outcomes != _UNREADABLE)
        newly_rejected = np.flatnonzero(is_judged & is_rejected & ~was_rejected)
        newly_accepted = np.flatnonzero(is_judged & ~is_rejected & was_rejected)
        for changed in (newly_rejected, newly_accepted):
            self._keep_examples(batch, changed, scores, outcomes)

    def _scores_by_scale(self, batch: Batch) -> _Floats:
        """Give a column for each scale: of exposure the batch has the worse end, the better one seldom matters."""
        limits = self._thresholds[batch.keys]
        worse = batch.scores[:, _EXPOSURE]
        scores = batch.scores[:, _SIGNAL_OF]
        rows = np.arange(len(batch))
        better = np.where(batch.flags & FLAG_DARK > 0, _OVER, _UNDER)
        scores[rows, better] = 100.0
        # The better end is at least as good as the worse one: it matters only where more is asked of it than that.
        may_matter = (limits[:, _OVER] != limits[:, _UNDER]) & (worse < limits[rows, better])
        unsure = np.flatnonzero(may_matter)
        measures_of = self._measures(batch.ids[unsure].tolist()) if len(unsure) else {}
        for row in unsure.tolist():
            if measures := measures_of.get(int(batch.ids[row])):
                ends = ends_of_exposure(float(worse[row]), measures)
                scores[row, _OVER], scores[row, _UNDER] = ends[LIMITS[_OVER]], ends[LIMITS[_UNDER]]
        return scores

    def _outcomes(self, batch: Batch, scores: _Floats) -> _Ints:
        """Give for each image what it would be: accepted, rejected for a reason, or as recorded."""
        limits = self._thresholds[batch.keys]
        low = scores < limits
        with np.errstate(all="ignore"):  # where a score is not low, what comes out is not looked at
            severity = np.where(low, (limits - scores) / limits, -1.0)
        outcomes = np.where(low.any(axis=1), _FIRST_REASON + severity.argmax(axis=1), _ACCEPTED)
        outcomes[np.isnan(batch.scores).any(axis=1)] = _KEPT
        outcomes[(batch.flags & FLAG_UNREADABLE > 0) | (np.isnan(limits[:, 0]) & (outcomes != _KEPT))] = _UNREADABLE
        return outcomes

    def _keep_examples(self, batch: Batch, changed: _Ints, scores: _Floats, outcomes: _Ints) -> None:
        """Keep the newest few of those that change one way, whatever the order they come in."""
        if not len(changed):
            return
        examples = self._examples[bool(outcomes[changed[0]] >= _FIRST_REASON)]
        if len(examples) == EXAMPLES_KEPT:
            changed = changed[batch.ids[changed] > examples[-1].id]
        newest = changed[np.argsort(batch.ids[changed])[-EXAMPLES_KEPT:]]
        examples.extend(self._example(batch, int(at), scores[at], int(outcomes[at])) for at in newest)
        examples.sort(reverse=True)
        del examples[EXAMPLES_KEPT:]

    def _example(self, batch: Batch, at: int, by_scale: _Floats, outcome: int) -> Example:
        number = int(batch.keys[at])
        key = self._keys[number]
        assert key is not None  # noqa: S101 - an image has a key
        before = "" if key.verdict == "accepted" else key.reason
        after = _REASONS[outcome - _FIRST_REASON] if outcome >= _FIRST_REASON else ""
        scores = dict(zip(SCORE_NAMES, batch.scores[at].tolist(), strict=True))
        limits = self._by_name[number]
        low = {name: score for name, score in zip(LIMITS, by_scale.tolist(), strict=True) if score < limits[name]}
        return Example(int(batch.ids[at]), key.source, key.class_name, "", before, after, scores, limits, low)

    def simulation(self) -> Simulation:
        """Give the counts by class and reason."""
        simulation = Simulation(
            newly_rejected=self._examples[True],
            newly_accepted=self._examples[False],
            scorer_version=self._scorer_version,
        )
        for number in np.flatnonzero(self._counts.any(axis=1)).tolist():
            key = self._keys[number]
            assert key is not None  # noqa: S101 - an image has a key
            for outcome, images in enumerate(self._counts[number].tolist()):
                if images:
                    simulation.count(key, outcome, images)
        return simulation


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
    rejudged = Rejudged()
    for row in rows:
        if None in row.scores:
            rejudged.kept[row.reason] += 1
            continue
        thresholds = rules.thresholds(row.source, row.preset, row.profile)
        verdict = _is_accepted(row, thresholds) if thresholds is not None else None
        if thresholds is None or verdict is None:
            rejudged.unreadable += 1
        elif verdict:
            rejudged.accepted[row.id] = thresholds
            rejudged.reasons[row.reason] += 1
            rejudged.other_versions += row.scorer_version != rules.scorer_version
        else:
            rejudged.still_rejected += 1
    return rejudged


def _is_accepted(row: RecordedScores, thresholds: Mapping[str, float]) -> bool | None:
    try:
        measures = json.loads(row.measures)
        scores: dict[str, Any] = dict(zip(SCORE_NAMES, row.scores, strict=True))  # whatever the log has in their places
        judged = scores_by_threshold(scores, measures if isinstance(measures, dict) else {})
        return all(score >= thresholds[name] for name, score in judged.items())
    except (TypeError, ValueError):  # a text in place of a number: not written by us
        return None
