"""Features of lines through a picture: block borders, and the rhythm that enlargement leaves along them; pure.

What compression and enlargement leave behind repeats along rows and along columns. Lines from everywhere show it
as well as the whole picture does, at a cost that does not grow with it.

The second difference of an interpolated signal has a variance that repeats with the enlargement factor
(Gallagher, "Detection of linear and cubic interpolation in JPEG compressed images", CRV 2005). A factor
between 1 and 2 shows at the mirrored frequency, 1 - 1 / factor, so that the fineness of the detail has
to tell which one it was. Repeated pixels show as columns that equal their neighbour.
"""

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from imageguard_daemon.quality.decode.luma import Grey
from imageguard_daemon.quality.features.tiles import Floats, dense

_LENGTH, _LINES = 2048, 512
_EQUAL = 1e-4

_EXACTLY, _ROUGHLY = 0.001, 0.3001  # no simple fraction, so that rounding does not decide
_NEARBY = np.ones((1, 19), np.uint8)
_BINS = 4096
_NO_RHYTHM = 1e-3  # less is rounding
_FREQUENCIES = np.arange(_BINS // 2 + 1) / _BINS
_LOWEST, _HIGHEST = 0.105, 0.47
# JPEG blocks, and cameras' colour filters at 1/2, have rhythms of their own.
_OFF_GRID = np.abs(_FREQUENCIES * 8 - np.round(_FREQUENCIES * 8)) / 8 >= 0.006
_SEARCHED = (_FREQUENCIES > _LOWEST) & (_FREQUENCIES < _HIGHEST)


_BAND_EDGES = np.array([0.015, *np.arange(0.04, 0.47, 0.03), 0.501])
_STRIP_LENGTHS = (256, 128, 64, 32)

NAMES = (
    "rhythm_frequency", "rhythm_strength", "rhythm_amplitude", "quarter_strength", "half_strength", "eighth_strength",
    "repeated_share", "repeated_factor", "fineness_softer", "fineness_sharper", "fineness_far",
    *(f"band{band}" for band in range(len(_BAND_EDGES) - 1)),
    *(f"band{band}_apart" for band in range(0, len(_BAND_EDGES) - 1, 3)),
)  # fmt: skip


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


@dataclass(frozen=True, slots=True)
class LineFeatures:
    """What the lines through a picture tell."""

    row: Grid
    """The block borders that lie between rows."""
    column: Grid
    repeated: float
    """Factor by which pixels repeat exactly, 1 if they don't."""
    enlargement: list[float]
    """The features named `NAMES`."""


def line_features(across: Grey, down: Grey) -> LineFeatures:
    """Look at lines along the rows and along the columns of a picture at its native size, line x px uint8."""
    along = (across, down)
    both = [profiles(way) for way in along]
    first, second = (_spectrum(way.bend) for way in both)
    spectrum = np.sqrt(first * second)
    median = max(float(np.median(spectrum[_SEARCHED])), 1e-6)
    peak = int(np.argmax(np.where(_SEARCHED & _OFF_GRID, spectrum, 0)))
    exactly, roughly = (min(pair) for pair in zip(*(_repeated_shares(way.change) for way in both), strict=True))
    powers = [_powers(way) for way in along]
    fineness = sorted(_fineness(power, 1, 4) for power in powers)
    bands_across, bands_down = (_bands(way) for way in along)
    found = [
        float(_FREQUENCIES[peak]),
        math.log(float(spectrum[peak]) / median + 0.1),
        float(spectrum[peak]),
        math.log(_line(spectrum, 2) / median + 0.1),
        math.log(_line(spectrum, 4) / median + 0.1),
        math.log(max(_line(spectrum, 1), _line(spectrum, 3)) / median + 0.1),
        roughly,
        math.log(min(1 / max(1 - roughly, 1e-3), 10)),
        *fineness,
        sum(_fineness(power, 2, 8) for power in powers) / 2,
        *((bands_across + bands_down) / 2).tolist(),
        *np.abs(bands_across - bands_down)[::3].tolist(),
    ]
    column, row = (find_grid(way.step) for way in both)
    return LineFeatures(row, column, 1 / (1 - exactly), found)


def _spectrum(profile: Floats) -> NDArray[np.float64]:
    if profile.size < 32:
        return np.full(_BINS // 2 + 1, _NO_RHYTHM)
    nearby = cv2.blur(profile.reshape(1, -1), (17, 1), borderType=cv2.BORDER_REFLECT).ravel()
    relative = np.minimum(profile / (nearby + 0.05), 4).astype(np.float64)
    window = _window(profile.size)
    amplitude = np.abs(np.fft.rfft((relative - relative.mean()) * window, _BINS))
    return np.asarray(np.maximum(amplitude / np.sqrt((window**2).sum()), _NO_RHYTHM))


@functools.lru_cache(maxsize=64)
def _window(length: int) -> Floats:
    return np.hanning(length).astype(np.float32)


def _line(spectrum: NDArray[np.float64], eighths: int) -> float:
    middle = eighths * _BINS // 8
    return float(spectrum[max(0, middle - 3) : middle + 4].max())


def _repeated_shares(change: Floats) -> tuple[float, float]:
    """Tell how many places differ from the next by next to nothing, and by little, of what places nearby do."""
    if change.size < 31:
        return 0.0, 0.0
    highest_nearby = cv2.dilate(change.reshape(1, -1), _NEARBY).ravel()
    exactly, roughly = (np.count_nonzero(change < share * highest_nearby) for share in (_EXACTLY, _ROUGHLY))
    return exactly / change.size, roughly / change.size


def _powers(lines: Grey) -> dict[int, float]:
    """Give the mean squared difference of pixels at each of four distances."""
    return {
        reach: float(cv2.norm(lines[:, reach:], lines[:, :-reach], cv2.NORM_L2SQR)) / (len(lines) * (length - reach))
        for reach in (1, 2, 4, 8)
        if (length := lines.shape[1]) >= 2 * reach
    }


def _fineness(powers: Mapping[int, float], near: int, far: int) -> float:
    """Give the log of the squared difference of near pixels relative to that of far ones: lower is smoother."""
    return math.log((powers[near] + 0.01) / (powers[far] + 0.01)) if far in powers else 0.0


def _bands(lines: Grey) -> Floats:
    """Give the log power in bands of frequency along rows, relative to the lowest: enlarging empties the highest."""
    length = next((size for size in _STRIP_LENGTHS if size <= lines.shape[1]), 0)
    if not length:
        return np.zeros(len(_BAND_EDGES) - 1, np.float32)
    start = (lines.shape[1] - length) // 2
    rows = lines[:: max(1, len(lines) // 96), start : start + length].astype(np.float32)
    window = _window(length)
    found = np.fft.rfft((rows - rows.mean(axis=1, keepdims=True)) * window, axis=1)
    power = np.einsum("rf,rf->f", found.real, found.real) + np.einsum("rf,rf->f", found.imag, found.imag)
    total = power / (len(rows) * float((window**2).sum())) + 0.05
    frequencies = np.arange(len(total)) / length
    centres = (_BAND_EDGES[1:] + _BAND_EDGES[:-1]) / 2
    logs = np.interp(centres, frequencies, _smoothed(np.log(total), length))
    return np.asarray(logs - logs[0], np.float32)


def _smoothed(values: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    width = max(1, length // 32)
    padded = np.pad(values, width // 2, mode="edge")
    return np.convolve(padded, np.ones(width) / width, mode="same")[width // 2 :][: len(values)]
