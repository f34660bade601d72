"""Partly clipped colours, as too much light leaves them: two channels are full, and the third is not; pure.

Leaves turn yellow, a sky turns cyan and skin orange long before luma is white, in as many shades as there are in the
scene. A white product, a page and a graphic may have pure colours, too, but few of them, or few shades of each.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from imageguard_daemon.quality.decode.luma import Grey
from imageguard_daemon.quality.features.exposure import WHITE

_NEARLY_WHITE = 240
"""What has all channels above is white, or the soft shadow of a white product, and no colour."""
_SHADES = 30
_LEAST_COLOUR = 0.01
"""Share of the picture of which a share is taken at least: a few pixels of colour on a page say nothing of it."""


def partly_clipped_share(pixels: Grey) -> float:
    """Give the share of partly clipped pixels, 0 to 1, among all that is not white of height x width x 3 uint8 pixels.

    The pixels are those of `Picture.glance`. The commonest shade is left out: it may be that of a button.
    """
    channels = cv2.split(pixels)
    third, second = _lowest_two(channels)
    is_coloured = third < _NEARLY_WHITE
    is_clipped = (is_coloured & (second >= WHITE)).view(np.uint8)
    commonest = max(cv2.calcHist([one], [0], is_clipped, [_SHADES], [0, _NEARLY_WHITE]).max() for one in channels)
    seen = max(np.count_nonzero(is_coloured), _LEAST_COLOUR * third.size)
    return float((np.count_nonzero(is_clipped) - commonest) / seen)


def _lowest_two(channels: Sequence[cv2.typing.MatLike]) -> tuple[Grey, Grey]:
    """Give the lowest and the middle one of three channels, pixel by pixel."""
    red, green, blue = channels
    lower, higher = cv2.min(red, green), cv2.max(red, green)
    return np.asarray(cv2.min(lower, blue), np.uint8), np.asarray(cv2.max(lower, cv2.min(higher, blue)), np.uint8)
