"""Measures to scores: the one table that says what each signal is measured by and what counts as bad.

Scoring, policy and docs/measures.md all read `SCALES`. Standard library only, so that reports can re-judge
a record without loading an image library.
"""

import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from imageguard_daemon.core.model import SIGNALS, Measures, Signal

ACCEPTED_FROM = 0.5
"""The overall score from which an image is accepted, whatever the thresholds are."""
_Anchors = tuple[tuple[float, float], ...]
"""Each a score and the measure that has it."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How one measure becomes a score of 0 to 100, and how it is spoken of.

    `anchors` are (score, measure) pairs from best to worst; between them the score is linear in the logarithm
    of the measure, or in the measure itself where an anchor is 0. Beyond the ends the score stays.
    """

    signal: Signal
    measure: str
    issue: str
    anchors: _Anchors
    wording: str
    unit: str
    factor: float = 1.0
    digits: int = 1
    clipped: str = ""
    """For exposure: the measure with the share of pixels that a person can count."""
    threshold: str = field(init=False, compare=False)
    """The name of its threshold: that of the signal, or of one end of exposure."""
    _points: tuple[tuple[float, float], ...] = field(init=False, repr=False, compare=False)
    _levels: tuple[float, ...] = field(init=False, repr=False, compare=False)
    """Anchors as (measure, score), and their measures alone, in rising order: every image asks for them seven times."""

    def __post_init__(self) -> None:
        points = tuple(sorted((measure, score) for score, measure in self.anchors))
        object.__setattr__(self, "threshold", f"{self.measure if self.clipped else self.signal}_score")
        object.__setattr__(self, "_points", points)
        object.__setattr__(self, "_levels", tuple(measure for measure, _ in points))

    def score(self, value: float) -> float:
        """Give the score of a measure, 0 to 100, monotone; NaN scores 0 as nothing good is known of it."""
        if math.isnan(value):
            return 0.0
        points = self._points
        index = bisect_right(self._levels, value)
        if index in (0, len(points)):
            return points[min(index, len(points) - 1)][1]
        (low, low_score), (high, high_score) = points[index - 1], points[index]
        score = low_score + (high_score - low_score) * _position(value, low, high)
        worse, better = min(low_score, high_score), max(low_score, high_score)
        return min(max(score, worse), better)  # rounding of logarithms must not lead beyond an anchor

    def limit(self, score: float) -> float:
        """Give the measure that has this score: the inverse of `score`, for telling a person the limit."""
        for (better_score, better), (worse_score, worse) in pairwise(self.anchors):
            if worse_score <= score <= better_score:
                share = (better_score - score) / (better_score - worse_score)
                return _between(better, worse, share)
        return self.anchors[0 if score > self.anchors[0][0] else -1][1]

    def number(self, value: float, finer: int = 0) -> str:
        """Give a measure as it is spoken of, without its unit: `3.1`; with `finer` so many digits more."""
        shown = value * self.factor
        digits = self.digits or int(shown < 1)  # 784 pixels are 0.8 kilopixels, and not 1 or 0
        return f"{shown:.{digits + finer}f}"

    def phrase(self, value: float, finer: int = 0) -> str:
        """Give a measure with its unit: `3.1 px`."""
        return f"{self.number(value, finer)} {self.unit}".rstrip()


def _position(value: float, low: float, high: float) -> float:
    if low <= 0:
        return (value - low) / (high - low)
    return math.log(value / low) / math.log(high / low)


def _between(start: float, end: float, share: float) -> float:
    if min(start, end) <= 0:
        return start + (end - start) * share
    return float(start * (end / start) ** share)


def _anchors(*measures: float) -> _Anchors:
    scores = (100.0, 75.0, 60.0, 50.0, 40.0, 30.0, 15.0, 0.0)
    return tuple(zip(scores, measures, strict=True))


_EXPOSURE_ANCHORS = ((100.0, 0.0), (40.0, 0.5), (0.0, 1.0))

SCALES: tuple[Scale, ...] = (
    Scale("blur", "blur_sigma_px", "blurry", _anchors(0.7, 1.15, 1.45, 1.75, 2.0, 2.5, 3.5, 8), "blur of", "px"),
    Scale(
        "resolution",
        "effective_pixels",
        "low_resolution",
        _anchors(1e6, 132e3, 40e3, 32e3, 25e3, 18e3, 9e3, 0),
        "effective size of",
        "kilopixels",
        factor=1e-3,
        digits=0,
    ),
    Scale("noise", "noise_sigma", "noisy", _anchors(2, 5, 8, 10, 12, 16, 25, 40), "noise of", "grey levels"),
    Scale(
        "exposure",
        "overexposure",
        "overexposed",
        _EXPOSURE_ANCHORS,
        "over-exposure of",
        "",
        digits=2,
        clipped="clipped_high",
    ),
    Scale(
        "exposure",
        "underexposure",
        "underexposed",
        _EXPOSURE_ANCHORS,
        "under-exposure of",
        "",
        digits=2,
        clipped="clipped_low",
    ),
    Scale(
        "compression",
        "jpeg_quality",
        "compressed",
        _anchors(90, 50, 30, 20, 15, 12, 7, 3),
        "looks like JPEG quality",
        "",
        digits=0,
    ),
    Scale(
        "pixelation",
        "enlargement",
        "pixelated",
        _anchors(1.0, 1.5, 1.8, 2.0, 2.5, 3, 5, 8),
        "enlarged about",
        "times",
    ),
)
BANDS: Mapping[str, tuple[float, float]] = {
    "blur_sigma_px": (6, 8),
    "effective_pixels": (0, 0),
    "noise_sigma": (4, 4),
    "overexposure": (8, 20),
    "underexposure": (8, 16),
    "jpeg_quality": (4, 2),
    "enlargement": (5, 2),
}
"""So many points of score below and above a threshold good and bad images mix; a size is a fact and mixes nothing.

Set on data sets that had been left out of training, so that 3 % of their good photos are in a band: wide where most bad
images are missed, which is above the limits of exposure.
"""

_MEASURES_OF: Mapping[str, tuple[str, ...]] = {
    f"{signal}_score": tuple(scale.measure for scale in SCALES if scale.signal == signal) for signal in SIGNALS
}
LIMITS: tuple[str, ...] = tuple(scale.threshold for scale in SCALES)
"""The names of the thresholds that decide, one for each scale."""


def scale_scores(measures: Measures) -> dict[str, float]:
    """Give the score of every scale by its measure's name; exposure has two scales."""
    return {scale.measure: scale.score(float(getattr(measures, scale.measure))) for scale in SCALES}


def signal_scores(by_measure: Mapping[str, float]) -> dict[str, float]:
    """Give the six scores, `blur_score` and so on: of a signal with two scales the worse one counts."""
    return {name: min([by_measure[measure] for measure in measures]) for name, measures in _MEASURES_OF.items()}


def ends_of_exposure(worse: float, measures: Mapping[str, Any]) -> dict[str, float]:
    """Give the scores of both ends of exposure by the names of their thresholds, from what a record has.

    `worse` is the recorded score, that of the worse end; of too much light, where the record has no measure of either.
    """
    ends = [scale for scale in SCALES if scale.clipped]
    try:
        over, under = (scale.score(float(measures[scale.measure])) for scale in ends)
    except (KeyError, TypeError, ValueError):
        over, under = worse, 100.0
    found = (worse, max(worse, under)) if over <= under else (max(worse, over), worse)
    return dict(zip((scale.threshold for scale in ends), found, strict=True))


def scores_by_threshold(scores: Mapping[str, float], measures: Mapping[str, Any]) -> dict[str, float]:
    """Give the score that each threshold is compared with, in the order of SCALES, from recorded values."""
    known = {**scores, **ends_of_exposure(scores["exposure_score"], measures)}
    return {scale.threshold: known[scale.threshold] for scale in SCALES}


def rounded(value: float, limit: float, digits: int = 0) -> float:
    """Round a score for people without taking it over a limit: 59.7 of 60 needed are 59, not 60."""
    near = round(value, digits)
    if (near < limit) == (value < limit):
        return near
    return round(near + (-1 if value < limit else 1) * 0.1**digits, digits)


def score_and_threshold(name: str, score: float, threshold: float) -> str:
    """Say a score with the one that was needed: `blur score 39.9, needed 40`."""
    return f"{name.removesuffix('_score')} score {rounded(score, threshold, 1):.1f}, needed {threshold:g}"
