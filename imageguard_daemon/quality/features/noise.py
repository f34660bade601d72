"""Features of noise, from the flattest tiles, where texture can't fake it; pure.

Immerkaer, "Fast noise variance estimation", Computer Vision and Image Understanding 64, 1996: the kernel
(1 -2 1; -2 4 -2; 1 -2 1) sums to zero, ignores planes and ramps, and has a noise gain of 6. White noise halves
when the picture is averaged to half its size and texture does not; what a camera has smoothed fades more slowly.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from imageguard_daemon.quality.decode.luma import Grey
from imageguard_daemon.quality.features.tiles import (
    Floats,
    Mask,
    half_size,
    quantile,
    quantiles,
    row_medians,
    row_quantiles,
    tile_means,
)

_KERNEL = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32) / 6
_TILE = 16
_LEVELS = 3
_SHARES = (0.02, 0.1, 0.3, 0.6)
_STILL = 0.2

NAMES = (
    *(f"noise{level}_q{share}" for level in range(_LEVELS) for share in _SHARES),
    *(f"flattest{level}" for level in range(_LEVELS)),
    "flattest_peakedness",
    "flattest_along",
    "flattest_brightness",
    "flattest_still",
    "still_share",
    "usable_share",
    "dark_noise",
    "bright_noise",
)


def noise_features(grey: Grey) -> list[float]:
    """Give the features named `NAMES` of height x width uint8 luma at working size, at least 40 px each."""
    rows, columns = (grey.shape[0] - 8) // _TILE, (grey.shape[1] - 8) // _TILE
    pixels = grey.astype(np.float32)
    response = _response(pixels)
    level = tile_means(pixels, _TILE, rows, columns).ravel()
    usable = _usable(grey, rows, columns)
    powers = [_power(response, _TILE, rows, columns), *_coarser(pixels, rows, columns)]
    variances = np.stack(powers)[:, usable]
    order = np.argsort(variances[0] + 2 * variances[1] + 4 * variances[2], kind="stable")
    flattest = order[: max(4, order.size // 10)]
    fine = variances[0, flattest].mean()
    size, along, still = _texture(response, np.flatnonzero(usable)[flattest], columns)
    whole = response[: rows * _TILE, : columns * _TILE]
    return [
        *row_quantiles(_log(variances), _SHARES).ravel().tolist(),
        *_log(row_medians(variances[:, flattest])).tolist(),
        float((size**2 + 1e-3) / (fine + 1e-3)),
        float(along / (fine + 1e-2)),
        float(level[usable][flattest].mean()) / 255,
        still,
        cv2.countNonZero(cv2.inRange(whole, -_STILL, _STILL)) / whole.size,
        np.count_nonzero(usable) / usable.size,
        *_by_brightness(variances[0], level[usable]),
    ]


def _response(pixels: Floats) -> Floats:
    return np.asarray(cv2.filter2D(pixels, -1, _KERNEL), np.float32)


def _power(response: Floats, tile: int, rows: int, columns: int) -> Floats:
    """Give the mean square of each tile."""
    whole = response[: rows * tile, : columns * tile].reshape(rows, tile, columns * tile)
    by_row = np.einsum("rkw,rkw->rw", whole, whole)
    return np.asarray(np.einsum("tw->t", by_row.reshape(rows * columns, tile)) / tile**2, np.float32)


def _coarser(pixels: Floats, rows: int, columns: int) -> list[Floats]:
    found = []
    for level in range(1, _LEVELS):
        pixels = half_size(pixels)
        found.append(_power(_response(pixels), _TILE >> level, rows, columns))
    return found


def _usable(grey: Grey, rows: int, columns: int) -> Mask:
    """Tell which tiles are not clipped, or which four are least."""
    unclipped = np.asarray(cv2.inRange(grey, 6, 249))[: rows * _TILE, : columns * _TILE]
    clipped = 1 - np.asarray(cv2.resize(unclipped, (columns, rows), interpolation=cv2.INTER_AREA)).ravel() / 255
    usable = clipped < 0.05
    if np.count_nonzero(usable) < 4:
        usable = clipped <= np.sort(clipped)[min(3, clipped.size - 1)]
    return np.asarray(usable, np.bool_)


def _texture(response: Floats, tiles: NDArray[np.intp], columns: int) -> tuple[float, float, float]:
    """Give the mean size of the response in some tiles, its product with the next pixel's, and the share of none."""
    down, right = np.divmod(tiles, columns)
    lines = (down[:, None] * _TILE + np.arange(_TILE))[:, :, None]
    found = response[lines, (right[:, None] * _TILE + np.arange(_TILE + 1))[:, None, :]]
    inside, after = found[:, :, :-1], found[:, :, 1:]
    size = np.abs(inside)
    return float(size.mean()), float((inside * after).mean()), np.count_nonzero(size < _STILL) / size.size


def _by_brightness(variance: Floats, level: Floats) -> list[float]:
    """Give the noise of the flattest tiles of the darker and of the brighter half."""
    dark = level <= quantile(level, 0.5)
    bright = ~dark if not dark.all() else dark
    return [float(_log(quantiles(variance[half], (0.1,))[0])) for half in (dark, bright)]


def _log(variance: Floats | float) -> Floats:
    return np.asarray(np.log(np.asarray(variance) + 0.02) / 2, np.float32)
