"""Features of noise, from the flattest tiles, where texture can't fake it; pure.

Immerkaer, "Fast noise variance estimation", Computer Vision and Image Understanding 64, 1996: the
kernel (1 -2 1; -2 4 -2; 1 -2 1) sums to zero, ignores planes and ramps, and has a noise gain of 6.
White noise halves when the picture is averaged to half its size and texture does not, which tells them
apart.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from imageguard_daemon.quality.decoding import Grey
from imageguard_daemon.quality.sharpness import tile_means

Floats = NDArray[np.float32]

_KERNEL = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32) / 6
_TILE = 16
_FLATTEST_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class NoiseFeatures:
    """Standard deviations in grey levels, of the flattest tenth of the tiles that are not clipped."""

    sigma: float
    half_size_sigma: float
    usable_share: float


def noise_features(grey: Grey) -> NoiseFeatures:
    """Give the features of noise of height x width uint8 luma at working size."""
    if min(grey.shape) < 2 * _TILE:
        return NoiseFeatures(0.0, 0.0, 0.0)
    pixels = grey.astype(np.float32)
    half_size = grey.shape[1] // 2, grey.shape[0] // 2
    half = np.asarray(cv2.resize(pixels, half_size, interpolation=cv2.INTER_AREA), np.float32)
    full_variance, half_variance = _variance(pixels, _TILE), _variance(half, _TILE // 2)
    rows = min(full_variance.shape[0], half_variance.shape[0])
    columns = min(full_variance.shape[1], half_variance.shape[1])
    unclipped = tile_means(((grey > 5) & (grey < 250)).astype(np.float32), _TILE)[:rows, :columns] > 0.95
    if unclipped.sum() < 4:
        return NoiseFeatures(0.0, 0.0, float(unclipped.mean()))
    fine, coarse = full_variance[:rows, :columns][unclipped], half_variance[:rows, :columns][unclipped]
    flattest = np.argsort(fine + 4 * coarse)[: max(4, int(_FLATTEST_SHARE * fine.size))]
    sigma, half_size_sigma = (float(np.sqrt(np.median(variance[flattest]))) for variance in (fine, coarse))
    return NoiseFeatures(sigma, half_size_sigma, float(unclipped.mean()))


def _variance(pixels: Floats, tile: int) -> Floats:
    response = np.asarray(cv2.filter2D(pixels, -1, _KERNEL), np.float32)
    return tile_means(response * response, tile)
