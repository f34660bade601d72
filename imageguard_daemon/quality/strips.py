"""A sample of lines through a picture at its native size, and how much neighbours along them differ; pure.

What compression and enlargement leave behind repeats along rows and along columns. Lines from everywhere show it
as well as the whole picture does, at a cost that does not grow with it.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from imageguard_daemon.quality.decoding import Grey
from imageguard_daemon.quality.tiles import Floats

_LENGTH, _LINES = 2048, 512


@dataclass(frozen=True, slots=True)
class Strip:
    """Lines of one direction, line x px uint8, and the mean size of the differences along them, for each place."""

    pixels: Grey
    change: Floats
    """Of first differences: the one at `i` lies between px `i` and `i + 1`."""
    bend: Floats
    """Of second differences: around px `i + 1`."""
    step: Floats
    """Of third differences, what a border adds to the slopes on either side: between px `i + 1` and `i + 2`."""


def strips(native: Grey) -> tuple[Strip, Strip]:
    """Take lines along the rows and along the columns of height x width uint8 luma.

    Lines are cut at a multiple of 8 px, so that blocks of 8 px lie in them as they do in the picture.
    """
    return _strip(_rows_from_everywhere(native)), _strip(_rows_from_everywhere(native.T))


def _rows_from_everywhere(native: Grey) -> Grey:
    height, width = native.shape
    start = max(0, (width - _LENGTH) // 2) // 8 * 8
    return np.ascontiguousarray(native[:: max(1, height // _LINES), start : start + _LENGTH])


def _strip(pixels: Grey) -> Strip:
    levels = pixels.astype(np.int16)
    first = cv2.subtract(levels[:, 1:], levels[:, :-1])
    second = cv2.subtract(first[:, 1:], first[:, :-1])
    change = cv2.absdiff(pixels[:, 1:], pixels[:, :-1])
    bend = cv2.absdiff(first[:, 1:], first[:, :-1])
    step = cv2.absdiff(second[:, 1:], second[:, :-1])
    return Strip(pixels, *(_mean_of_lines(np.asarray(sizes)) for sizes in (change, bend, step)))


def _mean_of_lines(sizes: NDArray[np.integer]) -> Floats:
    return np.asarray(cv2.reduce(sizes, 0, cv2.REDUCE_AVG, dtype=cv2.CV_32F), np.float32).ravel()
