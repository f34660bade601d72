"""Percentiles of each signal's score, and of the measure behind it in its unit."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imageguard_daemon.core.model import SCORE_NAMES
from imageguard_daemon.quality.scoring import SCALES, Scale
from imageguard_daemon.reporting.score_stats import BINS_A_POINT

SHARES = (0.05, 0.25, 0.50, 0.75, 0.95)
_SCALES = {f"{scale.signal}_score": scale for scale in reversed(SCALES)}


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
