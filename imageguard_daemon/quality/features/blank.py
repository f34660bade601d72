"""Frames that show nothing: one colour, a covered lens, a picture of which a decoder has made only the beginning. Pure.

Rows are looked at as stored, before any turning: that is the order in which a file ends too early. A few of them tell
nearly every picture that shows something, so that it costs no more.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from imageguard_daemon.quality.decode.luma import Grey

_SAME = 2
"""Grey levels by which an encoder spoils one value."""
_SAMPLED_ROWS = 7
_MAX_NOISE = 64
"""Levels between the extremes of some rows of a covered lens, amplified and compressed."""
_LEVELS, _LEVELS_AT_ENDS = 1, 4
"""So far apart may the means of blocks lie: of any colour, and where no light came or all of it."""
_NEAR_BLACK, _NEAR_WHITE = 24, 248
_SMALLEST_BLOCK_PX, _BLOCKS_ALONG = 16, 32
_SPECK = 32
"""A spot of 3 x 3 px that differs by so many levels from the whole is a star, or a letter."""
_MASK_BORDERS, _MASK_CONTENT = 0.02, 0.001
"""Shares of pixels that differ from their neighbour, at most, and from the commonest value, at least."""
_MIN_REST = 0.25
_PAPER = 225
"""From here on a flat rest may be paper, which may end anywhere."""
_SMALLEST_SIDE_PX = 32
_STRAIGHT = 0.85
"""Share of the columns that must end where a decoder has stopped."""
_BLOCK_ROWS = (0, 8, 16)
"""So many rows further up a column may end, where a decoder has stopped within a row of blocks."""
_TEXTURE = 6.0
"""Standard deviation along a row that no flat area has."""
_GRAIN = 0.4
"""Mean difference of neighbours that no drawn gradient has."""
_Rows = NDArray[np.bool_]


def nothing_shown(grey: Grey) -> str:
    """Say in words why a picture, height x width uint8, shows nothing; empty when it shows something."""
    return _one_colour(grey) or _flat_rest(grey)


def _one_colour(grey: Grey) -> str:
    if _some_rows_show_more_than_noise(grey):
        return ""
    low, high, _, _ = cv2.minMaxLoc(grey)
    if low == high:
        return "one colour: all pixels are alike"
    if min(grey.shape) < _SMALLEST_BLOCK_PX:
        return ""
    if high - low <= _SAME:
        return "" if _is_mask(grey) else f"one colour: all pixels are within {_SAME} grey levels"
    return _no_light_or_all_of_it(grey, high - low)


def _some_rows_show_more_than_noise(grey: Grey) -> bool:
    """Look at a few rows from all over, and at no more of them than it takes to know: of most pictures one."""
    last, darkest, brightest = grey.shape[0] - 1, 255, 0
    for step in range(_SAMPLED_ROWS):
        row = grey[last * step // (_SAMPLED_ROWS - 1)]
        darkest, brightest = min(darkest, int(row.min())), max(brightest, int(row.max()))
        if brightest - darkest > _MAX_NOISE:
            return True
    return False


def _no_light_or_all_of_it(grey: Grey, span: float) -> str:
    side = max(_SMALLEST_BLOCK_PX, max(grey.shape) // _BLOCKS_ALONG)
    high, wide = (max(1, length // side) for length in grey.shape)
    some = grey[:: side // _SMALLEST_BLOCK_PX, :: side // _SMALLEST_BLOCK_PX]  # enough for a mean
    means = cv2.resize(some, (wide, high), interpolation=cv2.INTER_AREA)
    middle, apart = float(means.mean()), int(means.max()) - int(means.min())
    name = "black" if middle < _NEAR_BLACK else "white" if middle > _NEAR_WHITE else ""
    if apart > (_LEVELS_AT_ENDS if name else _LEVELS) or (not name and span > 4 * _SAME):
        return ""
    darkest, brightest, _, _ = cv2.minMaxLoc(cv2.blur(grey, (3, 3)))
    if max(brightest - middle, middle - darkest) > _SPECK or _is_mask(grey):
        return ""
    return f"nothing but {name or 'one colour'}: its parts differ by {apart} of 255 grey levels"


def _is_mask(grey: Grey) -> bool:
    """Tell labels, which are small numbers in areas with sharp outlines, from noise and from steps of a codec."""
    borders = np.asarray(grey[:, 1:] != grey[:, :-1])
    columns = np.flatnonzero(borders.any(axis=0)) + 1
    if borders.mean() > _MASK_BORDERS or not (columns % 8).any():
        return False
    counts = cv2.calcHist([grey], [0], None, [256], [0, 256])
    return bool(1 - counts.max() / grey.size > _MASK_CONTENT)


def _flat_rest(grey: Grey) -> str:
    """Look for what a decoder leaves of a file that ends too early: below a straight line, one value to the end."""
    height, value = grey.shape[0], int(grey[-1, 0])
    if value >= _PAPER or min(grey.shape) < _SMALLEST_SIDE_PX:
        return ""
    if not all(_is_flat(grey[row], value) for row in (-1, -int(height * _MIN_REST))):
        return ""
    flat = _is(grey, value)
    flat_rows = np.asarray(flat.all(axis=1))
    start = height - int(np.argmin(flat_rows[::-1]))
    rest = (height - start) / height
    if rest < _MIN_REST or flat_rows[0] or not _ends_straight(flat, start) or not _is_textured(grey, start):
        return ""
    return f"the last {rest:.0%} of the rows are one flat value".replace("%", " %")


def _is_flat(row: Grey, value: int) -> bool:
    return int(row.max()) <= value + _SAME and int(row.min()) >= value - _SAME


def _is(pixels: Grey, value: int) -> _Rows:
    return np.asarray((pixels >= max(value - _SAME, 0)) & (pixels <= min(value + _SAME, 255)))


def _ends_straight(flat: _Rows, start: int) -> bool:
    """Check whether nearly all columns end at the same row, or in part at a row of blocks further up."""
    above: _Rows = ~flat[max(0, start - max(_BLOCK_ROWS) - 4) : start][::-1]
    missing = np.where(above.any(axis=0), above.argmax(axis=0), len(above))
    fits = np.isin(missing, [rows + more for rows in _BLOCK_ROWS for more in (0, 1, 2)])
    return bool(fits.mean() >= _STRAIGHT)


def _is_textured(grey: Grey, start: int) -> bool:
    """Check whether there is a picture right above, and nearly everywhere above."""
    rows = grey[:start].astype(np.float32)
    deviations = rows.std(axis=1)
    near = slice(max(0, start - 24), max(1, start - 2))
    grain = float(np.abs(np.diff(rows[near], axis=1)).mean())
    return bool(
        np.median(deviations[near]) >= _TEXTURE and grain >= _GRAIN and np.mean(deviations >= _TEXTURE / 2) >= 0.8
    )
