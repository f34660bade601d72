"""Pixels of any depth and channels as 8-bit luma; pure.

- 16-bit samples are scaled by the smallest of 8, 10, 12, 14, 16 bits that holds the largest one, because
  cameras and scanners store 12-bit data in 16-bit files; floating point by its own largest value, at least 1.
- One channel whose samples lie in a narrow band away from zero, or partly below it, is a measurement (thermal,
  elevation), not a brightness: it is scaled from one end of its range to the other.
- Transparent pixels are laid over middle grey, which is neither blown nor crushed whatever the subject is: a
  cut-out is judged for what is visible.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8]

_MIDDLE_GREY = 128
_OUTLIERS = 0.005
"""Share of the samples at either end that make no range: dead pixels, and what lies beside the sensor."""
_NARROW, _AWAY_FROM_ZERO = 1 / 4, 1 / 16
"""Shares of the white level: a band this narrow, that begins so far up."""


def scaled_to_8_bit(pixels: NDArray[np.generic]) -> Grey:
    """Scale samples deeper than 8 bits, by the rule in the module's docstring; of uint8 nothing changes."""
    if pixels.dtype == np.uint8:
        return pixels.astype(np.uint8, copy=False)
    if pixels.dtype == np.bool_:
        return pixels.astype(np.uint8) * np.uint8(255)
    values = np.nan_to_num(pixels.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    largest = float(values.max(initial=0.0))
    if pixels.ndim == 2 or pixels.shape[2] == 1:
        is_real = np.issubdtype(pixels.dtype, np.floating)
        low, high = _range_of_measurement(values[np.isfinite(pixels)] if is_real else values, largest)
        if high > low:
            return np.asarray(np.clip((values - low) * (255.0 / (high - low)) + 0.5, 0, 255), np.uint8)
    if np.issubdtype(pixels.dtype, np.floating):
        white = max(largest, 1.0)
    else:
        white = next((2.0**bits - 1 for bits in (8, 10, 12, 14, 16) if largest < 2**bits), largest)
    return np.asarray(np.clip(values * (255.0 / white) + 0.5, 0, 255), np.uint8)


def _range_of_measurement(values: NDArray[np.float32], largest: float) -> tuple[float, float]:
    """Give the range of samples that are no brightness, or an empty one when they are."""
    if values.size < 2 or largest <= 1.0:  # 0 to 1 is brightness in floating point
        return 0.0, 0.0
    low, high = (float(value) for value in np.quantile(values, (_OUTLIERS, 1 - _OUTLIERS)))
    is_narrow = high - low < _NARROW * largest and low > _AWAY_FROM_ZERO * largest
    return (low, high) if low < 0 or is_narrow else (0.0, 0.0)


def grey_of(pixels: Grey, *, bgr: bool = False) -> Grey:
    """Give the luma (ITU-R BT.601) of uint8 pixels with 0, 1, 2, 3 or 4 channels, alpha over middle grey."""
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    if channels == 1:
        return np.asarray(np.ascontiguousarray(pixels).reshape(pixels.shape[:2]), np.uint8)
    if channels == 2:
        return _over_middle_grey(pixels[:, :, 0], pixels[:, :, 1])
    colour = np.ascontiguousarray(pixels[:, :, :3])
    grey = np.asarray(cv2.cvtColor(colour, cv2.COLOR_BGR2GRAY if bgr else cv2.COLOR_RGB2GRAY), np.uint8)
    return grey if channels == 3 else _over_middle_grey(grey, pixels[:, :, 3])


def grey_of_inverted_inks(inks: Grey) -> Grey:
    """Give the luma of CMYK as JPEG files store it: 255 is no ink (Adobe's convention, which all writers follow)."""
    black = np.ascontiguousarray(inks[:, :, 3])
    light = [cv2.multiply(np.ascontiguousarray(inks[:, :, ink]), black, scale=1 / 255) for ink in range(3)]
    return np.asarray(cv2.cvtColor(cv2.merge(light), cv2.COLOR_RGB2GRAY), np.uint8)


def _over_middle_grey(grey: Grey, alpha: Grey) -> Grey:
    if alpha.min() == 255:
        return np.ascontiguousarray(grey)
    share = alpha.astype(np.float32) / 255
    return (_MIDDLE_GREY + (grey.astype(np.float32) - _MIDDLE_GREY) * share + 0.5).astype(np.uint8)
