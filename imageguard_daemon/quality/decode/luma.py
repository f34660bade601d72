"""Pixels of any depth and channels as 8-bit luma; pure.

- 16-bit samples are scaled by the smallest of 8, 10, 12, 14, 16 bits that holds them, because cameras and scanners
  store 12-bit data in 16-bit files; floating point by its own largest value, at least 1. One sample in a thousand
  may lie above: dead pixels make no range. Neither does transparency, which has a range of its own.
- Samples that stand for no data (GDAL's tag) make no range either, and become middle grey.
- One channel whose samples lie in a narrow band away from zero, or partly below it, is a measurement (thermal,
  elevation), not a brightness: it is scaled from one end of its range to the other.
- Transparent pixels are laid over middle grey, which is neither blown nor crushed whatever the subject is: a
  cut-out is judged for what is visible.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8]

_MIDDLE_GREY = 128
_OUTLIERS = 0.005
"""Share of the samples at either end that make no range: dead pixels, and what lies beside the sensor."""
_DEAD = 0.001
"""Share of the samples that may lie above the white level."""
_SAMPLES_ASKED = 200_000
_DEPTHS = (8, 10, 12, 14, 16)
_WITH_CHANNELS = 3
_NARROW, _AWAY_FROM_ZERO = 1 / 4, 1 / 16
"""Shares of the white level: a band this narrow, that begins so far up."""


def scaled_to_8_bit(pixels: NDArray[np.generic], *, no_data: float | None = None) -> Grey:
    """Scale samples deeper than 8 bits, by the rules in the module's docstring; of uint8 nothing changes.

    The last of 2 or 4 channels is transparency.
    """
    if pixels.dtype == np.uint8:
        return pixels.astype(np.uint8, copy=False)
    if pixels.dtype == np.bool_:
        return pixels.astype(np.uint8) * np.uint8(255)
    # Floating point of a damaged file may be anything. NumPy would warn, and the program around us hear of it.
    with np.errstate(invalid="ignore", over="ignore"):
        if pixels.ndim == _WITH_CHANNELS and pixels.shape[2] in (2, 4):
            colour = _scaled(pixels[:, :, :-1], no_data)
            return np.dstack([colour, _scaled_alpha(pixels[:, :, -1])])
        return _scaled(pixels, no_data)


def _scaled(pixels: NDArray[np.generic], no_data: float | None) -> Grey:
    values = pixels.astype(np.float32)
    missing = _missing(values, pixels.dtype, no_data)
    low, high = _range(values if missing is None else values[~missing], pixels)
    scaled = _stretched(values - low, 255.0 / (high - low))
    if missing is not None:  # before they become bytes, which NaN cannot
        scaled[missing] = _MIDDLE_GREY
    return scaled.astype(np.uint8)


def _missing(values: NDArray[np.float32], dtype: np.dtype[Any], no_data: float | None) -> NDArray[np.bool_] | None:
    """Say which samples stand for no data; None when each has some, as nearly always."""
    missing: NDArray[np.bool_] | None = None
    if np.issubdtype(dtype, np.floating):
        missing = ~np.isfinite(values)
    if no_data is not None:
        unset = np.isclose(values, np.float32(no_data), rtol=1e-6)
        missing = unset if missing is None else missing | unset
    return missing if missing is not None and missing.any() else None


def _stretched(values: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    """Give values times a factor, within 0 and 255, half a level up: bytes are made by cutting off, and so rounded."""
    return np.asarray(np.clip(values * factor + 0.5, 0, 255), np.float32)


def _range(seen: NDArray[np.float32], pixels: NDArray[np.generic]) -> tuple[float, float]:
    """Give the values that become black and white."""
    if not seen.size:
        return 0.0, 1.0
    is_signed = not np.issubdtype(pixels.dtype, np.unsignedinteger)
    if pixels.ndim < _WITH_CHANNELS or pixels.shape[2] == 1 or (is_signed and seen.min() < 0):
        low, high = _range_of_measurement(seen)
        if high > low:
            return low, high
    if np.issubdtype(pixels.dtype, np.floating):
        return 0.0, max(1.0, _quantiles(seen, 1 - _DEAD)[0])
    return 0.0, _white_level(seen, float(seen.max()))


def _quantiles(values: NDArray[np.float32], *shares: float) -> list[float]:
    """Give quantiles, of at most some hundred thousand samples."""
    some = values.ravel()[:: max(1, values.size // _SAMPLES_ASKED)]
    return [float(value) for value in np.quantile(some, shares)]


def _white_level(seen: NDArray[np.float32], largest: float) -> float:
    """Give the white of the smallest depth in use that holds all samples but dead ones."""
    white = _white_of_depth(largest)
    for bits in reversed(_DEPTHS):
        if white >= 2**bits:
            if np.count_nonzero(seen >= 2**bits) > _DEAD * seen.size:
                break
            white = 2.0**bits - 1
    return white


def _white_of_depth(largest: float) -> float:
    """Give the largest sample of the smallest depth that holds this one; itself, where none does."""
    return next((2.0**bits - 1 for bits in _DEPTHS if largest < 2**bits), largest)


def _scaled_alpha(alpha: NDArray[np.generic]) -> Grey:
    """Scale transparency: opaque is the white of the smallest depth in use, in floating point 1."""
    largest = float(alpha.max(initial=0))
    opaque = 1.0 if largest <= 1.0 else _white_of_depth(largest)
    return _stretched(alpha.astype(np.float32), 255.0 / opaque).astype(np.uint8)


def _range_of_measurement(values: NDArray[np.float32]) -> tuple[float, float]:
    """Give the range of samples that are not brightness, or an empty one when they are."""
    low, middle, high, largest = _quantiles(values, _OUTLIERS, 0.5, 1 - _OUTLIERS, 1 - _DEAD)
    if middle >= 0 and largest <= 1.0:  # 0 to 1 is brightness in floating point
        return 0.0, 0.0
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
    """Give the luma of CMYK as JPEG files store it: 255 is not ink (Adobe's convention, which all writers follow)."""
    cyan, magenta, yellow, black = (np.ascontiguousarray(inks[:, :, ink]) for ink in range(4))
    light = [cv2.multiply(ink, black, scale=1 / 255) for ink in (cyan, magenta, yellow)]  # as red, green, blue
    return np.asarray(cv2.cvtColor(cv2.merge(light), cv2.COLOR_RGB2GRAY), np.uint8)


def _over_middle_grey(grey: Grey, alpha: Grey) -> Grey:
    if alpha.min() == 255:
        return np.ascontiguousarray(grey)
    share = alpha.astype(np.float32) / 255
    return (_MIDDLE_GREY + (grey.astype(np.float32) - _MIDDLE_GREY) * share + 0.5).astype(np.uint8)
