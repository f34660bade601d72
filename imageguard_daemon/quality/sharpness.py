"""Features of sharpness: how fast the gradients of small tiles fade when blurred a little more; pure.

An edge that a Gaussian of `s` px has softened has gradient energy in proportion to 1 / s. Blurring it
on purpose by `a` and by `b` gives energies whose ratio is sqrt((s^2 + b^2) / (s^2 + a^2)), whatever the
contrast, so that `s` follows from the ratio (the idea of Zhuo and Sim, "Defocus map estimation from a
single image", Pattern Recognition 44, 2011, here for whole tiles instead of edge pixels). It is taken
along twelve directions, because motion leaves edges along its path sharp.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from imageguard_daemon.quality.decoding import Grey

Floats = NDArray[np.float32]

_NARROW, _WIDE = 0.6, 1.2
_TILE = 32
_ANGLES = np.arange(12) * (np.pi / 12)
_COS2, _SIN2 = np.cos(_ANGLES) ** 2, np.sin(_ANGLES) ** 2
_COS_SIN = 2 * np.cos(_ANGLES) * np.sin(_ANGLES)
# Gradient energy below which a tile is flat, and its share of that of the strongest tiles below which it is
# not where the picture is looked at.
_FLAT_ENERGY, _MEANINGFUL_SHARE = 0.2, 0.03
_SHARPEST_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class SharpnessFeatures:
    """Sigmas in px of the picture given; 0 where there is nothing to see."""

    sharpest_sigma: float
    """Along its softest direction, of the tile at the sharpest fifth."""
    softest_direction_sigma: float
    """Of all meaningful tiles together, along the direction in which it is largest, at half size."""
    sharpest_direction_sigma: float
    """The same along the direction in which it is smallest."""
    detail_share: float
    """Share of the tiles that are not flat."""


_TOO_SMALL = SharpnessFeatures(0.5, 0.5, 0.5, 1.0)
"""Too few pixels to tell; resolution has its own signal."""


def sharpness_features(grey: Grey) -> SharpnessFeatures:
    """Give the features of sharpness of height x width uint8 luma at working size."""
    if min(grey.shape) < _TILE // 2:
        return _TOO_SMALL
    pixels = grey.astype(np.float32)
    energies = _energies(pixels, _TILE)
    detail_share = float((energies[0].mean(axis=0) > _FLAT_ENERGY).mean())
    per_tile = _sigma(*_meaningful(*energies)).max(axis=0)
    half = np.asarray(cv2.resize(pixels, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.float32)
    together = 2 * _together(*_meaningful(*_energies(half, _TILE // 2)))
    sharpest = float(np.quantile(per_tile, _SHARPEST_SHARE))
    return SharpnessFeatures(sharpest, float(together.max()), float(together.min()), detail_share)


def _energies(pixels: Floats, tile: int) -> tuple[Floats, Floats]:
    narrow, wide = (np.asarray(cv2.GaussianBlur(pixels, (0, 0), sigma), np.float32) for sigma in (_NARROW, _WIDE))
    return _directional_energy(narrow, tile), _directional_energy(wide, tile)


def _directional_energy(pixels: Floats, tile: int) -> Floats:
    """Give the mean squared gradient, 12 directions x tiles, from each tile's structure tensor."""
    dx = cv2.Sobel(pixels, cv2.CV_32F, 1, 0, ksize=1, scale=0.5)
    dy = cv2.Sobel(pixels, cv2.CV_32F, 0, 1, ksize=1, scale=0.5)
    xx, yy, xy = (tile_means(np.asarray(product, np.float32), tile).ravel() for product in (dx * dx, dy * dy, dx * dy))
    energy = np.outer(_COS2, xx) + np.outer(_SIN2, yy) + np.outer(_COS_SIN, xy)
    return np.asarray(np.maximum(energy, 1e-4), np.float32)


def tile_means(values: Floats, tile: int) -> Floats:
    """Give the mean of every whole tile; of everything, where the picture is smaller than one."""
    rows, columns = values.shape[0] // tile, values.shape[1] // tile
    if not rows or not columns:
        return np.asarray(values.mean(keepdims=True), np.float32)
    whole = values[: rows * tile, : columns * tile]
    return np.asarray(cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_AREA), np.float32)


def _meaningful(sharp: Floats, soft: Floats) -> tuple[Floats, Floats]:
    total = sharp.mean(axis=0)
    keep = total > max(_FLAT_ENERGY, _MEANINGFUL_SHARE * float(np.quantile(total, 0.98)))
    if keep.sum() < 3:
        keep = total >= np.sort(total)[-min(3, total.size)]
    return sharp[:, keep], soft[:, keep]


def _together(sharp: Floats, soft: Floats) -> Floats:
    # Each tile counts alike: one strong edge must not speak for the picture.
    weight = 1 / sharp.mean(axis=0)
    return _sigma((sharp * weight).sum(axis=1), (soft * weight).sum(axis=1))


def _sigma(sharp: Floats, soft: Floats) -> Floats:
    ratio = np.maximum((sharp / soft) ** 2, 1.0001)
    variance = (_WIDE**2 - ratio * _NARROW**2) / (ratio - 1)
    return np.asarray(np.sqrt(np.clip(variance, 0.02, 400)), np.float32)
