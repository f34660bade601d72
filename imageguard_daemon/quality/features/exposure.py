"""Tonal features: quantiles of luma, what lies at its ends, and what blown and crushed areas look like; pure.

Colours tell what luma leaves in doubt. Too much light leaves them partly clipped: two channels are full, and the third
is not. Leaves turn yellow, a sky turns cyan and skin orange long before luma is white, in as many shades as there are
in the scene. A white product, a page and a graphic may have pure colours, too, but few of them, or few shades of each.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from imageguard_daemon.quality.decode.luma import Grey
from imageguard_daemon.quality.features.tiles import Floats, quantile, reduced

BLACK, WHITE = 4, 251
_BLOWN, _CRUSHED = 250, 6
_SMALL_LONG_SIDE = 256
_ROUNDING = 1e-6  # of single precision, which must not look like contrast
_QUANTILES = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999)
_DARKER = (2, 8, 16, 24, 32, 48, 64, 96)
_BRIGHTER = (160, 192, 208, 224, 236, 244, 249, 253)
_NEARLY_WHITE = 240
"""What has all channels above is white, or the soft shadow of a white product, and no colour."""
_SHADES = 30
_MIN_COLOUR = 0.01
"""Share of the picture of which a share is taken at least: a few pixels of colour on a page say nothing of it."""
_AREA = ("area", "outline", "border", "largest", "islands", "other_end")

NAMES = (
    *(f"tone_q{share}" for share in _QUANTILES),
    *(f"darker_than_{level}" for level in _DARKER),
    *(f"brighter_than_{level}" for level in _BRIGHTER),
    "used_levels", "tallest_bin", "tallest_bin_at", "tone_spread", "tile_spread", "middle_minus_border",
    "local_contrast", "local_contrast_dark", "local_contrast_bright",
    *(f"blown_{name}" for name in _AREA),
    *(f"crushed_{name}" for name in _AREA),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tones:
    """What a person can check in any histogram: shares are 0 to 1 of all pixels, levels 0 to 255."""

    clipped_low: float
    clipped_high: float
    low: float
    median: float
    high: float


def exposure_features(grey: Grey) -> tuple[Tones, list[float]]:
    """Give the facts and the features named `NAMES` of height x width uint8 luma."""
    histogram = cv2.calcHist([grey], [0], None, [256], [0, 256]).ravel().astype(np.float64) / grey.size
    cumulative = np.cumsum(histogram, dtype=np.float64)
    cumulative[-1] = 1.0
    levels = np.searchsorted(cumulative, _QUANTILES)
    facts = Tones(
        clipped_low=float(cumulative[BLACK]),
        clipped_high=max(0.0, float(1 - cumulative[WHITE - 1])),
        low=float(levels[1]),
        median=float(levels[5]),
        high=float(levels[9]),
    )
    inside = histogram[levels[1] : levels[9] + 1]
    small = reduced(grey, _SMALL_LONG_SIDE)
    features = [
        *(float(level) / 255 for level in levels),
        *(float(cumulative[level]) ** 0.5 for level in _DARKER),
        *(float(max(0.0, 1 - cumulative[level])) ** 0.5 for level in _BRIGHTER),
        float((inside > 0.02 / 256).mean()),
        float(histogram.max()) ** 0.5,
        float(histogram.argmax()) / 255,
        *_spread(small),
        *_local_contrast(small.astype(np.float32) * np.float32(1 / 255)),
        *_area((small >= _BLOWN).view(np.uint8), small, bright=True),
        *_area((small <= _CRUSHED).view(np.uint8), small, bright=False),
    ]
    return facts, features


def _spread(small: Grey) -> list[float]:
    """Tell how the light is spread over the picture, and between middle and border."""
    pixels = small.astype(np.float32) * np.float32(1 / 255)
    tiles = np.asarray(cv2.resize(pixels, (12, 12), interpolation=cv2.INTER_AREA), np.float32)
    middle = tiles[3:-3, 3:-3]
    border = (tiles.sum() - middle.sum()) / (tiles.size - middle.size)
    return [float(cv2.meanStdDev(pixels)[1].item()), float(tiles.std()), float(middle.mean() - border)]


def _local_contrast(pixels: Floats) -> list[float]:
    """Tell how much levels differ within small areas: everywhere, where it is dark, where it is bright."""
    smooth = np.asarray(cv2.blur(pixels, (9, 9)), np.float32)
    variance = np.asarray(cv2.blur(pixels * pixels, (9, 9)), np.float32) - smooth * smooth
    local = np.sqrt(np.maximum(variance - _ROUNDING, 0))
    places = (local, local[smooth < 0.2], local[smooth > 0.8])
    return [float(place.mean()) ** 0.5 if place.size else 0.0 for place in places]


def _area(mask: Grey, small: Grey, *, bright: bool) -> list[float]:
    """Describe what is blown or crushed, in the order of `_AREA`.

    A plain background is one piece that lies along the border and has a clean outline; a badly exposed
    picture is eaten into, with islands left, and what is left is far from the other end.
    """
    count = cv2.countNonZero(mask)
    if count < 0.002 * mask.size:
        return [(count / mask.size) ** 0.5, 0.0, 0.0, 1.0, 0.0, 0.0]
    changes = sum(cv2.norm(way[1:], way[:-1], cv2.NORM_L1) for way in (mask, mask.T))
    border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]]).mean()
    rest = small[mask == 0]
    end = quantile(rest, 0.1 if bright else 0.9) / 255 if rest.size > 30 else 0.5
    return [
        (count / mask.size) ** 0.5,
        float(np.log(changes / count + 0.003)),
        float(border),
        float(_largest(mask) / count),
        float(np.log(_pieces(1 - mask) / count**0.5 + 0.003)),
        end,
    ]


def _largest(mask: NDArray[np.uint8]) -> int:
    _, _, statistics, _ = cv2.connectedComponentsWithStats(mask)
    return int(statistics[1:, cv2.CC_STAT_AREA].max())


def _pieces(mask: NDArray[np.uint8]) -> int:
    return int(cv2.connectedComponents(mask)[0]) - 1


def partly_clipped_share(pixels: Grey) -> float:
    """Give the share of partly clipped pixels, 0 to 1, among all that is not white of height x width x 3 uint8 pixels.

    The pixels are those of `Picture.glance`. The commonest shade is left out: it may be that of a button.
    """
    channels = cv2.split(pixels)
    third, second = _lowest_two(channels)
    is_coloured = third < _NEARLY_WHITE
    is_clipped = (is_coloured & (second >= WHITE)).view(np.uint8)
    commonest = max(
        cv2.calcHist([channel], [0], is_clipped, [_SHADES], [0, _NEARLY_WHITE]).max() for channel in channels
    )
    seen = max(np.count_nonzero(is_coloured), _MIN_COLOUR * third.size)
    return float((np.count_nonzero(is_clipped) - commonest) / seen)


def _lowest_two(channels: Sequence[cv2.typing.MatLike]) -> tuple[Grey, Grey]:
    """Give the lowest and the middle one of three channels, pixel by pixel."""
    red, green, blue = channels
    lower, higher = cv2.min(red, green), cv2.max(red, green)
    return np.asarray(cv2.min(lower, blue), np.uint8), np.asarray(cv2.max(lower, cv2.min(higher, blue)), np.uint8)
