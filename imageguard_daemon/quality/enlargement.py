"""Features of enlargement: the rhythm that interpolation leaves along rows and columns; pure.

The second difference of an interpolated signal has a variance that repeats with the enlargement factor
(Gallagher, "Detection of linear and cubic interpolation in JPEG compressed images", CRV 2005). A factor
between 1 and 2 shows at the mirrored frequency, 1 - 1 / factor, so that the fineness of the detail has
to tell which one it was. Repeated pixels show as columns that equal their neighbour.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from imageguard_daemon.quality.decoding import Grey

Floats = NDArray[np.float32]

_LENGTH, _WIDTH = 2048, 512
_BINS = 4096
_FREQUENCIES = np.arange(_BINS // 2 + 1) / _BINS
_LOWEST, _HIGHEST = 0.105, 0.47
# JPEG blocks, and cameras' colour filters at 1/2, have rhythms of their own.
_OFF_GRID = np.abs(_FREQUENCIES * 8 - np.round(_FREQUENCIES * 8)) / 8 >= 0.006
_SEARCHED = (_FREQUENCIES > _LOWEST) & (_FREQUENCIES < _HIGHEST)


@dataclass(frozen=True, slots=True)
class EnlargementFeatures:
    """Frequencies in cycles per px; strengths relative to the median of the spectrum."""

    frequency: float
    strength: float
    amplitude: float
    quarter_strength: float
    """At 1/4 exactly: fourfold enlargement, unless `eighth_strength` shows a JPEG grid."""
    eighth_strength: float
    repeated_share: float
    """Columns and rows that nearly equal their neighbour while others close by do not; the lesser of both."""
    fineness: float
    """Squared difference of neighbours relative to that of pixels four apart: lower is smoother."""


def enlargement_features(grey: Grey) -> EnlargementFeatures:
    """Give the features of height x width uint8 luma at its native size."""
    strips = [_strip(grey), _strip(grey.T)]
    first, second = (_spectrum(_second_difference_profile(strip)) for strip in strips)
    spectrum = np.sqrt(first * second)
    median = max(float(np.median(spectrum[_SEARCHED])), 1e-6)
    peak = int(np.argmax(np.where(_SEARCHED & _OFF_GRID, spectrum, 0)))
    return EnlargementFeatures(
        frequency=float(_FREQUENCIES[peak]),
        strength=float(spectrum[peak]) / median,
        amplitude=float(spectrum[peak]),
        quarter_strength=_line(spectrum, 2) / median,
        eighth_strength=max(_line(spectrum, 1), _line(spectrum, 3)) / median,
        repeated_share=min(_repeated_share(strip) for strip in strips),
        fineness=float(np.mean([_fineness(strip) for strip in strips])),
    )


def _strip(grey: Grey) -> Floats:
    """Give a sample with consecutive columns from the middle and rows from everywhere."""
    height, width = grey.shape
    start = max(0, (width - _LENGTH) // 2)
    step = max(1, height // _WIDTH)
    return grey[::step, start : start + _LENGTH].astype(np.float32)


def _second_difference_profile(strip: Floats) -> Floats:
    if strip.shape[1] < 3:
        return np.zeros(1, np.float32)
    second = 2 * strip[:, 1:-1] - strip[:, :-2] - strip[:, 2:]
    return np.asarray(np.abs(second).mean(axis=0), np.float32)


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
    return float(spectrum[middle - 3 : middle + 4].max())


def _repeated_share(strip: Floats) -> float:
    if strip.shape[1] < 32:
        return 0.0
    change = np.abs(np.diff(strip, axis=1)).mean(axis=0, dtype=np.float32).reshape(1, -1)
    highest_nearby = cv2.dilate(change, np.ones((1, 19), np.uint8))
    return float((change < 0.3 * highest_nearby).mean())


def _fineness(strip: Floats) -> float:
    if strip.shape[1] < 8:
        return 1.0
    near = strip[:, 1:] - strip[:, :-1]
    far = strip[:, 4:] - strip[:, :-4]
    return float((near * near).mean() / max(float((far * far).mean()), 1e-3))
