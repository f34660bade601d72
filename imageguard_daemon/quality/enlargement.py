"""Features of enlargement: the rhythm that interpolation leaves along rows and columns; pure.

The second difference of an interpolated signal has a variance that repeats with the enlargement factor
(Gallagher, "Detection of linear and cubic interpolation in JPEG compressed images", CRV 2005). A factor
between 1 and 2 shows at the mirrored frequency, 1 - 1 / factor, so that the fineness of the detail has
to tell which one it was. Repeated pixels show as columns that equal their neighbour.
"""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from imageguard_daemon.quality.decoding import Grey
from imageguard_daemon.quality.tiles import Floats, mean_square

_LENGTH, _WIDTH = 2048, 512
_EXACTLY, _ROUGHLY = 0.001, 0.3
_SECOND_DIFFERENCE = np.array([[-1, 2, -1]], np.float32)
_BINS = 4096
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


def enlargement_features(grey: Grey) -> tuple[float, list[float]]:
    """Give the factor by which pixels repeat exactly, 1 if they don't, and the features named `NAMES`.

    `grey` is height x width uint8 luma at its native size.
    """
    strips = [_strip(grey), _strip(grey.T)]
    first, second = (_spectrum(_second_difference_profile(strip)) for strip in strips)
    spectrum = np.sqrt(first * second)
    median = max(float(np.median(spectrum[_SEARCHED])), 1e-6)
    peak = int(np.argmax(np.where(_SEARCHED & _OFF_GRID, spectrum, 0)))
    repeated = min(_repeated_share(strip, _ROUGHLY) for strip in strips)
    fineness = sorted(_fineness(strip, 1, 4) for strip in strips)
    across, down = (_bands(strip) for strip in strips)
    return 1 / (1 - min(_repeated_share(strip, _EXACTLY) for strip in strips)), [
        float(_FREQUENCIES[peak]),
        math.log(float(spectrum[peak]) / median + 0.1),
        float(spectrum[peak]),
        math.log(_line(spectrum, 2) / median + 0.1),
        math.log(_line(spectrum, 4) / median + 0.1),
        math.log(max(_line(spectrum, 1), _line(spectrum, 3)) / median + 0.1),
        repeated,
        math.log(min(1 / max(1 - repeated, 1e-3), 10)),
        *fineness,
        float(np.mean([_fineness(strip, 2, 8) for strip in strips])),
        *((across + down) / 2).tolist(),
        *np.abs(across - down)[::3].tolist(),
    ]


def _strip(grey: Grey) -> Floats:
    """Give a sample with consecutive columns from the middle and rows from everywhere."""
    height, width = grey.shape
    start = max(0, (width - _LENGTH) // 2)
    step = max(1, height // _WIDTH)
    return grey[::step, start : start + _LENGTH].astype(np.float32, order="C")


def _second_difference_profile(strip: Floats) -> Floats:
    if strip.shape[1] < 3:
        return np.zeros(1, np.float32)
    second = np.asarray(cv2.filter2D(strip, -1, _SECOND_DIFFERENCE), np.float32)
    return _mean_of_rows(_absolute(second[:, 1:-1]))


def _change(strip: Floats, reach: int) -> Floats:
    return np.asarray(cv2.subtract(strip[:, reach:], strip[:, :-reach]), np.float32)


def _absolute(values: Floats) -> Floats:
    return np.abs(values, out=values)


def _mean_of_rows(values: Floats) -> Floats:
    return np.asarray(cv2.reduce(values, 0, cv2.REDUCE_AVG), np.float32).ravel()


def _spectrum(profile: Floats) -> NDArray[np.float64]:
    if profile.size < 32:
        return np.full(_BINS // 2 + 1, 1e-6)
    nearby = cv2.blur(profile.reshape(1, -1), (17, 1), borderType=cv2.BORDER_REFLECT).ravel()
    relative = np.minimum(profile / (nearby + 0.05), 4).astype(np.float64)
    window = np.hanning(profile.size)
    amplitude = np.abs(np.fft.rfft((relative - relative.mean()) * window, _BINS))
    return np.asarray(amplitude / np.sqrt((window**2).sum()))


def _line(spectrum: NDArray[np.float64], eighths: int) -> float:
    middle = eighths * _BINS // 8
    return float(spectrum[max(0, middle - 3) : middle + 4].max())


def _repeated_share(strip: Floats, share: float) -> float:
    """Tell how many columns differ by no more than a `share` of what columns nearby differ by."""
    if strip.shape[1] < 32:
        return 0.0
    change = _mean_of_rows(_absolute(_change(strip, 1))).reshape(1, -1)
    highest_nearby = cv2.dilate(change, np.ones((1, 19), np.uint8))
    return float((change < share * highest_nearby).mean())


def _fineness(strip: Floats, near: int, far: int) -> float:
    """Give the log of the squared difference of near pixels relative to that of far ones: lower is smoother."""
    if strip.shape[1] < 2 * far:
        return 0.0
    powers = [mean_square(_change(strip, reach)) for reach in (near, far)]
    return math.log((powers[0] + 0.01) / (powers[1] + 0.01))


def _bands(strip: Floats) -> Floats:
    """Give the log power in bands of frequency along rows, relative to the lowest: enlarging empties the highest."""
    length = next((size for size in _STRIP_LENGTHS if size <= strip.shape[1]), 0)
    if not length:
        return np.zeros(len(_BAND_EDGES) - 1, np.float32)
    start = (strip.shape[1] - length) // 2
    rows = strip[:: max(1, len(strip) // 96), start : start + length]
    window = np.hanning(length).astype(np.float32)
    power = np.square(np.abs(np.fft.rfft((rows - rows.mean(axis=1, keepdims=True)) * window, axis=1)))
    total = power.mean(axis=0) / float((window**2).sum()) + 0.05
    frequencies = np.arange(len(total)) / length
    centres = (_BAND_EDGES[1:] + _BAND_EDGES[:-1]) / 2
    logs = np.interp(centres, frequencies, _smoothed(np.log(total), length))
    return np.asarray(logs - logs[0], np.float32)


def _smoothed(values: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    width = max(1, length // 32)
    padded = np.pad(values, width // 2, mode="edge")
    return np.convolve(padded, np.ones(width) / width, mode="same")[width // 2 :][: len(values)]
