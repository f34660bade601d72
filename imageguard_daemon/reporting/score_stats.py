"""One pass over the images of a report: how their scores are distributed, and which lie nearest to a threshold.

Percentiles are of each signal's score, and of the measure behind it in its unit.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from imageguard_daemon.audit.columns import Batch
from imageguard_daemon.audit.keys import Keys
from imageguard_daemon.audit.rollups import FLAG_BORDERLINE, FLAG_DARK, FLAG_UNREADABLE
from imageguard_daemon.core.model import EXPOSURE_LIMITS, SCORE_NAMES
from imageguard_daemon.quality.policy import thresholds_for
from imageguard_daemon.quality.scoring import SCALES, Scale

BINS_A_POINT = 10
BINS = 100 * BINS_A_POINT + 1
NEAR_SHARE = 1 / 8
"""So large a part of the threshold, or a smaller one, is what an image near to it lacks."""
NEAREST_KEPT = 5
EXAMPLES_KEPT = 3
_EXPOSURE = SCORE_NAMES.index("exposure_score")
_LIMITS = (
    *("overexposure_score" if name == "exposure_score" else name for name in SCORE_NAMES),
    "underexposure_score",
)
"""The thresholds in the order of the scores; that of the dark end comes last."""
_Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]
SHARES = (0.05, 0.25, 0.50, 0.75, 0.95)
_SCALES = {f"{scale.signal}_score": scale for scale in reversed(SCALES)}


@dataclass(frozen=True, slots=True)
class NearThreshold:
    """An image whose verdict hangs on few points: `margin` is what `signal`'s score has above its threshold."""

    id: int
    signal: str
    score: float
    threshold: float

    @property
    def margin(self) -> float:
        """Points above the threshold; below 0 for a rejected image."""
        return self.score - self.threshold


@dataclass(frozen=True, slots=True)
class Boundary:
    """Of one source's images rejected for one score alone, how many lack at most NEAR_SHARE of its threshold."""

    source: str
    name: str
    """The threshold's name; exposure has one for each end."""
    rejected: int
    near: int
    threshold: float
    """The one that most of them were judged by."""
    is_one: bool = True
    """Whether all of them were."""
    spared: int | None = None
    """How many images of the source a threshold that is `lowered` accepts more, and it rejects none; None where only
    another look at them can tell: they had several thresholds, or what was decided does not follow from the scores."""


def lowered(thresholds: npt.NDArray[np.float64] | float) -> npt.NDArray[np.float64]:
    """Give thresholds that accept what is near to these, to a tenth."""
    return np.floor(np.asarray(thresholds) * (1 - NEAR_SHARE) * 10) / 10


@dataclass(frozen=True, slots=True)
class ScoreStats:
    """What the scores of a report's images say.

    `histogram` is (signals, BINS): images whose score is in each tenth of a point, signals in the order of SCORE_NAMES.
    `thresholds` are those that most images were judged by, each by itself; empty without any.
    """

    histogram: _Ints
    thresholds: Mapping[str, float]
    accepted_nearest: tuple[NearThreshold, ...]
    rejected_nearest: tuple[NearThreshold, ...]
    examples: Mapping[str, tuple[int, ...]]
    """For each reason the ids of the newest images rejected for it, the newest first."""
    borderline_images: int = 0
    """Images whose deciding signal lies where good and bad images mix, whatever the verdict."""
    newest: _Ints = field(default_factory=lambda: np.empty(0, np.int64))
    """The newest rejected decision of each key, 0 of none."""
    by_one_rule: _Ints | None = None
    """Images of each key that the thresholds of most images would reject; None where all have the same."""
    boundaries: tuple[Boundary, ...] = ()

    @property
    def measured(self) -> int:
        """Images that could be measured."""
        return int(self.histogram[0].sum())


def recorded_thresholds(preset: str, profile: str) -> dict[str, float] | None:
    """Give the thresholds that images were judged by; None if what is recorded makes no sense to this version."""
    try:
        return thresholds_for(preset, json.loads(profile))
    except (ValueError, TypeError):  # JSONDecodeError is a ValueError
        return None


def _recorded_rules(keys: Keys) -> tuple[_Floats, _Ints]:
    """Give the thresholds of each preset with its profile, NaN if they make no sense, and the place of each key's."""
    groups, of_key = keys.groups("preset", "profile")
    rules = np.full((len(groups) + 1, len(_LIMITS)), np.nan)  # the last one is that of numbers not in use, -1
    for at, (preset, profile) in enumerate(groups):
        if thresholds := recorded_thresholds(preset, profile):
            rules[at] = [thresholds[name] for name in _LIMITS]
    return rules, of_key


_Found = tuple[float, int, int, float, float]
"""Of an image near a threshold: distance, id, place of the signal, score, threshold."""


class _Judged(NamedTuple):
    """Measured images of a batch; scores and margins have a row for each signal."""

    keys: npt.NDArray[np.uint32]
    ids: _Ints
    scores: _Floats
    margins: _Floats


class ScoreCounter:
    """Takes batches with their scores, one after the other; memory does not grow with them.

    Where keys have several thresholds, `suppose` comes first, with a guess of how many images each key has, and
    `is_right` says at the end whether it will do.
    """

    def __init__(self, keys: Keys) -> None:
        # Of exposure a batch has the worse end: a row of the distinct ones has both limits, the dark one last.
        # Few different rules lie behind many keys: picking from few columns is what memory likes.
        rules, rule_of_key = _recorded_rules(keys)
        distinct, places = np.unique(rules, axis=0, return_inverse=True, equal_nan=True)
        self._rules_of_key = places[rule_of_key]
        self._distinct = np.ascontiguousarray(distinct.T)
        self._thresholds = distinct[self._rules_of_key]
        self._histogram = np.zeros((len(SCORE_NAMES), BINS), np.int64)
        self._by_key = np.zeros(len(self._thresholds), np.int64)
        self._sources, source_of_key = keys.groups("source")
        self._source_of_key = np.maximum(source_of_key, 0)  # a log that lost a key still has a report
        self._alone = np.zeros((len(_LIMITS), len(self._thresholds)), np.int64)
        self._near = np.zeros_like(self._alone)
        self._spared = np.zeros_like(self._alone)
        self._otherwise = np.zeros(len(self._thresholds), np.int64)
        self._lowered = lowered(self._thresholds)
        self._reasons, self._reason_of_key = keys.groups("reason")
        self._is_rejected = keys.where("verdict", ["quarantined"])
        self.has_several = len(set(places[:-1].tolist())) > 1
        """Whether keys have several thresholds; those of years ago count, whatever the report is on."""
        self._common, self._is_mixed = 0, False
        self._by_one_rule = np.zeros(len(self._thresholds), np.int64)
        self._newest_of_key = np.zeros(len(self._thresholds), np.int64)
        self._borderline_images = 0
        self._newest: dict[int, list[int]] = {}
        self._nearest: dict[bool, list[_Found]] = {False: [], True: []}

    def suppose(self, images: _Ints) -> None:
        """Take the thresholds that most images were judged by, if keys have so many images, for the common ones."""
        self._common, self._is_mixed = self._most_common(images)[0], True

    def is_right(self, images: _Ints) -> bool:
        """Check whether what was supposed holds for the images that keys have; if not, all is to be done again."""
        common, self._is_mixed = self._most_common(images)
        return common == self._common or not self._is_mixed

    def _most_common(self, images: _Ints) -> tuple[int, bool]:
        """Give the rule of most images, and whether there are others."""
        by_rule = np.bincount(self._rules_of_key, images, minlength=self._distinct.shape[1])
        known = ~np.isnan(self._distinct).any(axis=0)
        return int(np.where(known, by_rule, -1).argmax()), bool(np.count_nonzero(by_rule) > 1)

    def add(self, batch: Batch) -> None:
        """Take in the images of a batch."""
        self._keep_newest(batch)
        self._borderline_images += int(np.count_nonzero(batch.flags & FLAG_BORDERLINE))
        measured = ~np.isnan(batch.scores[:, 0])
        if self._is_mixed and not measured.all():  # what cannot be measured is rejected by any rule
            unmeasured = batch.keys[~measured]
            self._count_by_one_rule(unmeasured, self._is_rejected[unmeasured])
        if not measured.any():
            return
        # A slice where all are taken: a mask would copy every column.
        rows = slice(None) if measured.all() else measured
        scores = np.ascontiguousarray(batch.scores[rows].T)
        self._take(scores, batch.keys[rows], batch.ids[rows], batch.flags[rows])

    def _take(self, scores: _Floats, keys: npt.NDArray[np.uint32], ids: _Ints, flags: npt.NDArray[np.uint8]) -> None:
        """Take in measured images; a row of scores for each signal, since numpy is slow along short lines."""
        # Ten million images pass here: what is done for each is done in few steps along long lines.
        bins = (scores * BINS_A_POINT).astype(np.int32)  # twice as fast as to 64 bits
        np.clip(bins, 0, BINS - 1, out=bins)
        for signal in range(len(SCORE_NAMES)):
            self._histogram[signal] += np.bincount(bins[signal], minlength=BINS)
        self._by_key += np.bincount(keys, minlength=len(self._by_key))
        is_dark = flags & FLAG_DARK > 0
        limits = self._distinct[:, self._rules_of_key[keys]]
        limits[_EXPOSURE][is_dark] = limits[-1][is_dark]
        margins = scores - limits[:-1]
        self._count_boundaries(keys, scores, margins, flags)
        worst = margins.min(axis=0)
        otherwise = (worst < 0) != self._is_rejected[keys]
        if otherwise.any():
            self._otherwise += np.bincount(keys[otherwise], minlength=len(self._otherwise))
        if self._is_mixed:
            self._rejudge(scores, keys, is_dark, worst < 0)
        judged = _Judged(keys, ids, scores, margins)
        for accepted, rows in ((True, np.flatnonzero(worst >= 0)), (False, np.flatnonzero(worst < 0))):
            distance = np.abs(worst[rows])
            self._keep_nearest(rows, distance, judged, self._nearest[accepted])

    def _rejudge(
        self,
        scores: _Floats,
        keys: npt.NDArray[np.uint32],
        is_dark: npt.NDArray[np.bool_],
        rejected: npt.NDArray[np.bool_],
    ) -> None:
        """Count what the common thresholds would reject; only images of other thresholds are judged again."""
        other = np.flatnonzero(self._rules_of_key[keys] != self._common)
        limits = np.repeat(self._distinct[:-1, self._common, None], len(other), axis=1)
        limits[_EXPOSURE][is_dark[other]] = self._distinct[-1, self._common]
        again = rejected.copy()
        again[other] = (scores[:, other] < limits).any(axis=0)
        self._count_by_one_rule(keys, again)

    def _count_by_one_rule(self, keys: npt.NDArray[np.uint32], rejected: npt.NDArray[np.bool_]) -> None:
        self._by_one_rule += np.bincount(keys[rejected], minlength=len(self._by_one_rule))

    def _count_boundaries(
        self, keys: npt.NDArray[np.uint32], scores: _Floats, margins: _Floats, flags: npt.NDArray[np.uint8]
    ) -> None:
        low = margins < 0
        alone = np.flatnonzero(low.sum(axis=0, dtype=np.int8) == 1)
        signals = low[:, alone].argmax(axis=0)
        of_key = keys[alone]
        lacking = -margins[signals, alone]
        is_dark = flags[alone] & FLAG_DARK > 0
        is_dark_end = (signals == _EXPOSURE) & is_dark
        limits = np.where(is_dark_end, len(_LIMITS) - 1, signals)
        near = lacking <= NEAR_SHARE * self._thresholds[of_key, limits]
        spared = scores[signals, alone] >= self._lowered[of_key, limits]
        spared &= flags[alone] & FLAG_UNREADABLE == 0
        spared &= ~np.isnan(scores[:, alone]).any(axis=0)
        # Not by fancy indexing with +=: that would count several images of one key as one.
        np.add.at(self._alone, (limits, of_key), 1)
        np.add.at(self._near, (limits[near], of_key[near]), 1)
        np.add.at(self._spared, (limits[spared], of_key[spared]), 1)

    def _keep_nearest(self, rows: _Ints, distance: _Floats, judged: "_Judged", nearest: list[_Found]) -> None:
        limit = nearest[-1][0] if len(nearest) == NEAREST_KEPT else np.inf
        better = np.flatnonzero(distance < limit)
        # Stable: of equals those that come first are kept, in every run the same.
        order = np.argsort(distance[better], kind="stable")
        for place in better[order[:NEAREST_KEPT]].tolist():
            row = int(rows[place])
            signal = int(judged.margins[:, row].argmin())
            score = float(judged.scores[signal, row])
            threshold = score - float(judged.margins[signal, row])
            nearest.append((float(distance[place]), int(judged.ids[row]), signal, score, round(threshold, 6)))
        nearest.sort()
        del nearest[NEAREST_KEPT:]

    def _keep_newest(self, batch: Batch) -> None:
        rejected = np.flatnonzero(self._is_rejected[batch.keys])
        keys, every = batch.keys[rejected], batch.ids[rejected]
        np.maximum.at(self._newest_of_key, keys, every)
        reasons = self._reason_of_key[keys]
        for reason in np.flatnonzero(np.bincount(reasons)).tolist():
            ids = every[reasons == reason]
            if len(ids) > EXAMPLES_KEPT:
                ids = np.partition(ids, -EXAMPLES_KEPT)[-EXAMPLES_KEPT:]
            known = self._newest.get(reason, [])
            self._newest[reason] = sorted(known + ids.tolist())[-EXAMPLES_KEPT:]

    def stats(self) -> ScoreStats:
        """Give what was found."""
        return ScoreStats(
            self._histogram,
            dict(self._thresholds_of_most()),
            tuple(map(_near, self._nearest[True])),
            tuple(map(_near, self._nearest[False])),
            {self._reasons[reason][0]: tuple(ids[::-1]) for reason, ids in self._newest.items()},
            self._borderline_images,
            self._newest_of_key,
            self._by_one_rule if self._is_mixed else None,
            tuple(self._boundaries()),
        )

    def _thresholds_of_most(self) -> Iterator[tuple[str, float]]:
        """Yield for each signal the threshold that most images were judged by, which many small classes may share."""
        for at, name in enumerate(SCORE_NAMES):
            known = (self._by_key > 0) & ~np.isnan(self._thresholds[:, at])
            if known.any():
                yield name, _of_most(self._thresholds[known, at], self._by_key[known])

    def _boundaries(self) -> Iterator[Boundary]:
        """Yield one for each threshold and source that has any, in the order of both."""
        sources = sorted((name, number) for number, (name,) in enumerate(self._sources))
        for at in range(len(_LIMITS)):
            there = np.bincount(self._source_of_key[self._alone[at] > 0], minlength=len(sources)) > 0
            yield from (self._boundary(at, name, number) for name, number in sources if there[number])

    def _boundary(self, at: int, source: str, number: int) -> Boundary:
        is_of_source = self._source_of_key == number
        of_source = np.flatnonzero(is_of_source & (self._by_key > 0))
        numbers = np.flatnonzero(is_of_source & (self._alone[at] > 0))
        alone = self._alone[at, numbers]
        judged_by = self._thresholds[numbers, at]
        threshold = _of_most(judged_by, alone)
        is_known = self._are_as_scored(of_source, at, threshold)
        return Boundary(
            source=source,
            name=_LIMITS[at],
            rejected=int(alone.sum()),
            near=int(self._near[at, numbers].sum()),
            threshold=threshold,
            is_one=bool((judged_by == threshold).all()),
            spared=int(self._spared[at, numbers].sum()) if is_known else None,
        )

    def _are_as_scored(self, numbers: _Ints, at: int, threshold: float) -> bool:
        """Check whether all images of some keys were judged by one threshold here, and as their scores say."""
        if _LIMITS[at] in EXPOSURE_LIMITS:  # of exposure only the worse end is at hand
            return False
        limits = self._thresholds[numbers]
        ends_are_alike = limits[:, _EXPOSURE] == limits[:, -1]
        has_one = (limits[:, at] == threshold) & ends_are_alike
        return bool(has_one.all() and not self._otherwise[numbers].any())


def _of_most(values: _Floats, images: _Ints) -> float:
    """Give the value that most images have."""
    distinct, places = np.unique(values, return_inverse=True)
    return float(distinct[np.bincount(places, weights=images).argmax()])


def _near(near: _Found) -> NearThreshold:
    _, decision_id, signal, score, threshold = near
    return NearThreshold(decision_id, SCORE_NAMES[signal], score, threshold)


@dataclass(frozen=True, slots=True)
class Percentiles:
    """One signal: `scores` at SHARES, rising; `measures` are theirs, in the same order: the image at 5 % is a bad one.

    Scores are known to a tenth of a point. A measure beyond the end of its scale is told as that end.
    """

    signal: str
    measure: str
    scores: tuple[float, ...]
    measures: tuple[float, ...]

    @property
    def unit(self) -> str:
        """What the measure is in."""
        scale = _SCALES[f"{self.signal}_score"]
        return scale.unit or {"exposure": "0 best, 1 worst", "jpeg_quality": "JPEG quality"}.get(self.measure, "")

    def number(self, at: int) -> str:
        """Say a measure as a person reads it, such as `2.1` or `<= 0.7`."""
        scale = _SCALES[f"{self.signal}_score"]
        return f"{_beyond(scale, self.scores[at])}{scale.number(self.measures[at])}"


def percentiles(histogram: npt.NDArray[np.int64]) -> tuple[Percentiles, ...]:
    """Give the percentiles of all signals from the histogram of `ScoreStats`; nothing when nothing was measured."""
    if not histogram.any():
        return ()
    return tuple(_percentiles(_SCALES[name], histogram[n]) for n, name in enumerate(SCORE_NAMES))


def _percentiles(scale: Scale, bins: npt.NDArray[np.int64]) -> Percentiles:
    summed = bins.cumsum()
    # The image with the rank that a share asks for: no value is invented between two images.
    places = np.searchsorted(summed, np.ceil(np.array(SHARES) * summed[-1]))
    scores = tuple(float(place) / BINS_A_POINT for place in places)
    measure = "exposure" if scale.signal == "exposure" else scale.measure
    return Percentiles(scale.signal, measure, scores, tuple(scale.limit(score) for score in scores))


def _beyond(scale: Scale, score: float) -> str:
    rising = scale.anchors[0][1] < scale.anchors[-1][1]
    if score >= 100:
        return "<= " if rising else ">= "
    if score <= 0:
        return ">= " if rising else "<= "
    return ""
