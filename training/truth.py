"""What a damaged image's measures truly are, as far as it is known: an interval for each; pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from imageguard_daemon.quality.readout import TARGET_SCALES, TARGETS

Interval = tuple[float, float]
_ANYTHING = (-math.inf, math.inf)

# Stops away from the right exposure, and what that is as an index: 0.5 is where a picture becomes unusable.
_OVER = ((0.0, 0.0), (0.5, 0.1), (1.0, 0.25), (1.7, 0.5), (2.5, 0.68), (3.3, 0.84), (5.0, 1.0))
_UNDER = ((0.0, 0.0), (0.7, 0.1), (1.3, 0.25), (2.2, 0.5), (3.2, 0.68), (5.0, 0.88), (8.0, 1.0))
# The same by the share of detail that is lost: what photos lose at so many stops too much, in the median.
_LOST = ((0.0, 0.0), (0.02, 0.1), (0.06, 0.25), (0.16, 0.5), (0.31, 0.68), (0.44, 0.84), (0.55, 0.92), (0.7, 1.0))
_GOOD = {"blur_sigma_px": 1.6, "overexposure": 0.3, "underexposure": 0.3}
_FINE_QUALITY, _GOOD_ENLARGEMENT = 35, 1.6
_SLACK = 0.04
_INK, _PAPER, _MOST = 0.12, 0.85, 0.6
_SEEN_GRADIENT, _FEWEST_GRADIENTS = 0.02, 100


@dataclass
class Truth:
    """Intervals in the measures' own units; what is missing is unknown."""

    intervals: dict[str, Interval] = field(default_factory=dict)

    def scores(self) -> NDArray[np.float32]:
        """Give the lowest and the highest right score, as 0 to 1, for each of `TARGETS`: 6 x 2."""
        return np.array([self._score_interval(measure) for measure in TARGETS], np.float32)

    @property
    def is_good(self) -> bool:
        """Whether it is known to be sharp and well exposed, and nothing else is known to be wrong."""
        known = self.intervals
        sharp_and_lit = all(known.get(measure, _ANYTHING)[1] <= most for measure, most in _GOOD.items())
        is_fine = known.get("jpeg_quality", _ANYTHING)[1] >= _FINE_QUALITY
        return sharp_and_lit and is_fine and known.get("enlargement", (1.0, 1.0))[1] <= _GOOD_ENLARGEMENT

    def _score_interval(self, measure: str) -> tuple[float, float]:
        low, high = self.intervals.get(measure, _ANYTHING)
        ends = [_score(measure, value) for value in (low, high)]
        return min(ends), max(ends)


def _score(measure: str, value: float) -> float:
    if math.isinf(value):
        # JPEG quality is the one measure that is better when it is higher.
        better = (value > 0) == (measure == "jpeg_quality")
        return 9.0 if better else -9.0
    return TARGET_SCALES[measure].score(value) / 100


def overexposure(stops: float, median: float) -> float:
    """Give the index for `stops` too much light; a scene that is bright, by its median of 0 to 1, bears less."""
    brightness = math.log2(max(median, 0.02) ** 2.2 / 0.16)
    return _interpolate(max(0.0, stops + 0.3 * min(max(brightness, -2.0), 1.5) * min(stops, 1.0)), _OVER)


def overexposure_interval(stops: float, before: NDArray[np.float32], after: NDArray[np.float32]) -> Interval:
    """Give what is known of the index: how much light there was too much; of pages and drawings, what that cost.

    White paper stays white and its ink black: a page that lost nothing is not over-exposed, however much light it
    got. Lumas are of 0 to 1, height x width.
    """
    low = high = overexposure(stops, float(np.median(before)))
    if _is_page(before):
        by_loss = _interpolate(1 - detail_kept(before, after), _LOST)
        low, high = min(low, by_loss), (low + by_loss) / 2
    return max(0.0, low - _SLACK), min(1.0, high + _SLACK)


def _is_page(luma: NDArray[np.float32]) -> bool:
    """Tell whether most of it is about black or about white: pages, drawings, cut-outs, hardly ever photos."""
    return float(((luma < _INK) | (luma > _PAPER)).mean()) > _MOST


def detail_kept(before: NDArray[np.float32], after: NDArray[np.float32]) -> float:
    """Give the share of the gradients of a luma of 0 to 1 that is left, 0 to 1; a gradient that grew counts as 1."""
    was, now = (_gradients(luma) for luma in (before, after))
    seen = was > _SEEN_GRADIENT
    return float(np.minimum(now[seen] / was[seen], 1).mean()) if np.count_nonzero(seen) > _FEWEST_GRADIENTS else 1.0


def _gradients(luma: NDArray[np.float32]) -> NDArray[np.float32]:
    half = cv2.resize(luma, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    slopes = (cv2.Sobel(half, cv2.CV_32F, *way, scale=1 / 8) for way in ((1, 0), (0, 1)))
    return np.asarray(np.hypot(*slopes), np.float32)


def underexposure(stops: float) -> float:
    """Give the index for `stops` too little light."""
    return _interpolate(stops, _UNDER)


def _interpolate(value: float, points: tuple[tuple[float, float], ...]) -> float:
    xs, ys = zip(*points, strict=True)
    return float(np.interp(value, xs, ys))


def equivalent_quality(reference: NDArray[np.uint8], damaged: NDArray[np.uint8]) -> float:
    """Give the libjpeg quality that does as much harm to the luma of `reference` as `damaged` has suffered."""
    suffered = _error(reference, damaged)
    low, high = 2, 96
    while high - low > 1:
        middle = (low + high) // 2
        decoded = cv2.imdecode(
            cv2.imencode(".jpg", reference, [cv2.IMWRITE_JPEG_QUALITY, middle])[1], cv2.IMREAD_GRAYSCALE
        )
        low, high = (middle, high) if _error(reference, np.asarray(decoded, np.uint8)) > suffered else (low, middle)
    return float(high)


def _error(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    return float(np.square(one.astype(np.float32) - other).mean())


def from_labels(labels: Mapping[str, str]) -> Truth:
    """Give the truth that a row of a table of labels tells: `2.5`, or an interval `2.3..`, `..1.4`, `1.2..2.5`."""
    intervals = {}
    for measure in TARGETS:
        text = (labels.get(measure) or "").strip()
        if text:
            low, found, high = text.partition("..")
            intervals[measure] = (
                float(low) if low else -math.inf,
                (float(high) if high else math.inf) if found else float(low),
            )
    return Truth(intervals)
