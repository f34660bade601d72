"""Faults that spoil photos, at a known strength: RGB pixels in, RGB pixels out.

What a lens, a shutter or a sensor does happens in linear light (sRGB, IEC 61966-2-1); what software does happens
to the values as stored. All chance comes from the generator that is passed in.
"""

import io
import math
from collections.abc import Callable

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

Rgb = NDArray[np.uint8]
Floats = NDArray[np.float32]
Apply = Callable[[Rgb, float, Generator], Rgb]

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_MID_GREY_SLOPE = 255 * 1.055 / 2.4 * 0.18 ** (1 / 2.4 - 1)
"""Stored levels for each unit of linear light, at the mid grey of 18 %."""


def to_light(rgb: Rgb) -> Floats:
    """Give linear light, 0 to 1, of stored values."""
    levels = np.arange(256) / 255
    table = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    return table.astype(np.float32)[rgb]


def to_rgb(light: Floats) -> Rgb:
    """Give stored values of linear light; what is beyond black and white is cut off."""
    light = np.clip(light, 0, 1)
    values = np.where(light <= 0.0031308, light * 12.92, 1.055 * np.power(light, 1 / 2.4) - 0.055)
    return (values * 255 + 0.5).astype(np.uint8)


def _smeared(rgb: Rgb, kernel: Floats) -> Rgb:
    light = cv2.filter2D(to_light(rgb), -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT_101)
    return to_rgb(np.asarray(light, np.float32))


def gaussian(rgb: Rgb, sigma_px: float, _: Generator) -> Rgb:
    """Blur by a Gaussian: what haze, a soft lens and many editors do."""
    light = cv2.GaussianBlur(to_light(rgb), (0, 0), sigma_px, borderType=cv2.BORDER_REFLECT_101)
    return to_rgb(np.asarray(light, np.float32))


def defocus(rgb: Rgb, radius_px: float, _: Generator) -> Rgb:
    """Blur by an evenly lit disc, the picture that a lens out of focus makes of a point."""
    reach = math.ceil(radius_px) + 1
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return _smeared(rgb, np.clip(radius_px + 0.5 - np.hypot(x, y), 0, 1).astype(np.float32))


def motion(rgb: Rgb, length_px: float, rng: Generator) -> Rgb:
    """Smear along a path in any direction, bent a little and not evenly fast, as by a moving hand."""
    along = np.linspace(-0.5, 0.5, 60 + int(8 * length_px))
    bend, direction = rng.uniform(-0.6, 0.6), rng.uniform(0, math.pi)
    dwell = 1 + rng.uniform(0, 0.5) * np.sin(2 * math.pi * along + rng.uniform(0, 2 * math.pi))
    path = length_px * (along + 1j * bend * (along * along - 1 / 12)) * np.exp(1j * direction)
    reach = math.ceil(length_px * 0.6) + 2
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    x, y = path.real + reach, path.imag + reach
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    for right, below in ((0, 0), (0, 1), (1, 0), (1, 1)):
        share = np.abs(1 - right - (x - left)) * np.abs(1 - below - (y - top))
        np.add.at(kernel, (top + below, left + right), share * dwell)
    return _smeared(rgb, kernel)


def _white(shape: tuple[int, ...], size_px: float, rng: Generator) -> Floats:
    """Give noise of standard deviation 1 whose grains are `size_px` wide; 0 for independent pixels."""
    noise = rng.standard_normal(shape, np.float32)
    if size_px > 0.2:
        noise = np.asarray(cv2.GaussianBlur(noise, (0, 0), size_px), np.float32)
        noise /= noise.std()
    return noise


def grain(rgb: Rgb, sigma: float, rng: Generator) -> Rgb:
    """Add noise of `sigma` levels to luma, the same everywhere; grains of one pixel or slightly more."""
    noise = _white(rgb.shape[:2], rng.uniform(0, 0.5), rng)
    return np.clip(rgb + sigma * noise[..., None] + 0.5, 0, 255).astype(np.uint8)


def high_iso(rgb: Rgb, sigma: float, rng: Generator) -> Rgb:
    """Add photon and read noise in linear light, coarser in colour than in luma; `sigma` levels of luma at mid grey."""
    noise = _white(rgb.shape, 0, rng)
    luma = (noise @ _LUMA)[..., None]
    colour = np.asarray(cv2.GaussianBlur(noise - luma, (0, 0), 1.0), np.float32)
    unit = (luma + colour) / np.float32(np.sqrt(np.square(_LUMA).sum()))
    light = to_light(rgb)
    variance = (sigma / _MID_GREY_SLOPE) ** 2 * (0.95 * light / 0.18 + 0.05)
    return to_rgb(light + unit * np.sqrt(variance))


def jpeg(rgb: Rgb, quality: float, rng: Generator) -> Rgb:
    """Compress with libjpeg's tables, colour at full or at half size, and decode again."""
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=round(quality), subsampling=int(rng.choice([0, 2])))
    with Image.open(buffer) as image:
        return np.asarray(image.convert("RGB"))


def _reduced(rgb: Rgb, factor: float) -> Rgb:
    height, width = (max(round(side / factor), 1) for side in rgb.shape[:2])
    return np.asarray(cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _restored(small: Rgb, like: Rgb, interpolation: int) -> Rgb:
    size = like.shape[1], like.shape[0]
    return np.asarray(cv2.resize(small, size, interpolation=interpolation), np.uint8)


def pixelation(rgb: Rgb, factor: float, _: Generator) -> Rgb:
    """Make blocks of `factor` pixels: enlarge by repeating pixels, to the size it had."""
    return _restored(_reduced(rgb, factor), rgb, cv2.INTER_NEAREST)


def enlargement(rgb: Rgb, factor: float, rng: Generator) -> Rgb:
    """Enlarge smoothly by `factor`, to the size it had, in one of the usual ways."""
    ways = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)
    return _restored(_reduced(rgb, factor), rgb, int(rng.choice(ways)))


def over(rgb: Rgb, stops: float, _: Generator) -> Rgb:
    """Expose `stops` longer; what is brighter than white is lost."""
    return to_rgb(to_light(rgb) * np.float32(2**stops))


def under(rgb: Rgb, stops: float, _: Generator) -> Rgb:
    """Expose `stops` shorter; what falls below one level is lost."""
    return to_rgb(to_light(rgb) * np.float32(2**-stops))


def thumbnail(rgb: Rgb, kilopixels: float, _: Generator) -> Rgb:
    """Reduce to so many thousand pixels; a smaller image stays as it is."""
    factor = math.sqrt(rgb.shape[0] * rgb.shape[1] / (1000 * kilopixels))
    return _reduced(rgb, factor) if factor > 1 else rgb
