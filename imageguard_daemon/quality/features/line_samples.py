"""A sample of lines through a picture at its native size, and how much neighbours along them differ; pure.

What compression and enlargement leave behind repeats along rows and along columns. Lines from everywhere show it
as well as the whole picture does, at a cost that does not grow with it.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from imageguard_daemon.quality.decode.luma import Grey
from imageguard_daemon.quality.features.tiles import Floats, dense

_LENGTH, _LINES = 2048, 512
_EQUAL = 1e-4


def lines(native: Grey) -> tuple[Grey, Grey]:
    """Take lines along the rows and along the columns of height x width uint8 luma: line x px, at most 2048 px long.

    They are cut at a multiple of 8 px, so that blocks of 8 px lie in them as they do in the picture.
    """
    return _rows_from_everywhere(native), _rows_from_everywhere(native.T)


def _rows_from_everywhere(native: Grey) -> Grey:
    height, width = native.shape
    start = max(0, (width - _LENGTH) // 2) // 8 * 8
    return dense(native[:: max(1, height // _LINES), start : start + _LENGTH])


@dataclass(frozen=True, slots=True)
class Profiles:
    """The mean size of the differences along lines, for each place."""

    change: Floats
    """Of first differences: the one at `i` lies between px `i` and `i + 1`."""
    bend: Floats
    """Of second differences: around px `i + 1`."""
    step: Floats
    """Of third differences, what a border adds to the slopes on either side: between px `i + 1` and `i + 2`."""


def profiles(along: Grey) -> Profiles:
    """Compare the neighbours along lines, line x px."""
    levels = along.astype(np.int16)
    first = cv2.subtract(levels[:, 1:], levels[:, :-1])
    second = cv2.subtract(first[:, 1:], first[:, :-1])
    change = cv2.absdiff(along[:, 1:], along[:, :-1])
    bend = cv2.absdiff(first[:, 1:], first[:, :-1])
    step = cv2.absdiff(second[:, 1:], second[:, :-1])
    return Profiles(_mean_of_lines(change), _mean_of_lines(bend), _mean_of_lines(step))


def _mean_of_lines(sizes: cv2.typing.MatLike) -> Floats:
    return np.asarray(cv2.reduce(sizes, 0, cv2.REDUCE_AVG, dtype=cv2.CV_32F), np.float32).ravel()


@dataclass(frozen=True, slots=True)
class Grid:
    """Block borders along lines."""

    offset: int
    """Where the first one lies, 0 to 7 px."""
    borders8: float
    """How much borders of 8 px stand out: 1 where they don't."""
    borders4: float
    """How much those in the middle between them do."""


def find_grid(step: Floats) -> Grid:
    """Find the block borders in the profile of third differences."""
    whole: list[float] = step[: len(step) // 8 * 8].reshape(-1, 8).mean(axis=0).tolist()
    phase = 0
    for other in range(1, 8):  # of equals the first, whatever rounding makes of them
        phase = other if whole[other] > whole[phase] + _EQUAL else phase
    usual = max(sum(sorted(whole)[3:5]) / 2, 0.05)
    # Entry i spans px i to i + 3: its border lies before px i + 2.
    return Grid((phase + 2) % 8, whole[phase] / usual, whole[(phase + 4) % 8] / usual)
