"""Tonal features: the quantiles of luma, what lies at its ends, and what blown areas look like; pure."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from imageguard_daemon.quality.decoding import Grey

_BLACK, _WHITE = 4, 251
_BLOWN = 250
_SMALL_LONG_SIDE = 512
_WORTH_A_LOOK = 0.01


@dataclass(frozen=True, slots=True)
class ToneFeatures:
    """Shares are 0 to 1 of all pixels, levels 0 to 255."""

    clipped_low: float
    clipped_high: float
    low: float
    median: float
    high: float
    blown: "BlownFeatures"


@dataclass(frozen=True, slots=True)
class BlownFeatures:
    """The white areas, at a long side of at most 512 px.

    A plain white background is one piece that lies along the border and has a clean outline; an over-exposed
    picture is eaten into, with islands of the darkest things left in the white.
    """

    area: float
    outline: float
    """Changes between white and not, per white pixel."""
    border: float
    """White share of the picture's border."""
    largest: float
    """Share of the white that is in one piece."""
    islands: float
    """Pieces that are not white, in proportion to the square root of the white area."""
    dark_level: float
    """The level, 0 to 1, below which a tenth of what is not white lies."""


_NOTHING_BLOWN = BlownFeatures(0.0, 0.0, 0.0, 1.0, 0.0, 0.0)


def tone_features(grey: Grey) -> ToneFeatures:
    """Give the tonal features of height x width uint8 luma."""
    histogram = cv2.calcHist([grey], [0], None, [256], [0, 256]).ravel()
    cumulative = np.cumsum(histogram, dtype=np.float64) / grey.size
    low, median, high = (float(np.searchsorted(cumulative, share)) for share in (0.01, 0.5, 0.99))
    return ToneFeatures(
        clipped_low=float(cumulative[_BLACK]),
        clipped_high=float(1 - cumulative[_WHITE - 1]),
        low=low,
        median=median,
        high=high,
        blown=_blown_features(grey),
    )


def _blown_features(grey: Grey) -> BlownFeatures:
    scale = _SMALL_LONG_SIDE / max(grey.shape)
    if scale < 1:
        grey = np.asarray(cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    white = (grey >= _BLOWN).astype(np.uint8)
    count = int(white.sum())
    if count < _WORTH_A_LOOK * grey.size:
        return replace(_NOTHING_BLOWN, area=count / grey.size)
    changes = np.count_nonzero(white[1:] != white[:-1]) + np.count_nonzero(white[:, 1:] != white[:, :-1])
    return BlownFeatures(
        area=count / grey.size,
        outline=changes / count,
        border=float(np.concatenate([white[0], white[-1], white[:, 0], white[:, -1]]).mean()),
        largest=float(_pieces(white).max() / count),
        islands=_pieces(1 - white).size / count**0.5,
        dark_level=_dark_level(grey),
    )


def _dark_level(grey: Grey) -> float:
    darker = np.cumsum(cv2.calcHist([grey], [0], None, [_BLOWN], [0, _BLOWN]), dtype=np.float64)
    return float(np.searchsorted(darker, 0.1 * darker[-1])) / 255 if darker[-1] > 30 else 1.0


def _pieces(mask: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Give the size in pixels of each connected piece."""
    _, _, statistics, _ = cv2.connectedComponentsWithStats(mask)
    return np.asarray(statistics[1:, cv2.CC_STAT_AREA], np.int32)
