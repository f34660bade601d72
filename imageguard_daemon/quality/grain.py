"""Features of noise, from the flattest tiles, where texture can't fake it; pure.

Immerkaer, "Fast noise variance estimation", Computer Vision and Image Understanding 64, 1996: the kernel
(1 -2 1; -2 4 -2; 1 -2 1) sums to zero, ignores planes and ramps, and has a noise gain of 6. White noise halves
when the picture is averaged to half its size and texture does not; what a camera has smoothed fades more slowly.
"""

import cv2
import numpy as np

from imageguard_daemon.quality.decoding import Grey
from imageguard_daemon.quality.tiles import Floats, half_size, quantiles, tile_means

_KERNEL = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32) / 6
_TILE = 16
_LEVELS = 3
_SHARES = (0.02, 0.1, 0.3, 0.6)

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
    response = np.asarray(cv2.filter2D(pixels, -1, _KERNEL), np.float32)
    power = [tile_means(response * response, _TILE, rows, columns)]
    power += _coarser(pixels, rows, columns)
    level = tile_means(pixels, _TILE, rows, columns)
    clipped = tile_means(((grey < 6) | (grey > 249)).astype(np.float32), _TILE, rows, columns)
    usable = clipped < 0.05
    if usable.sum() < 4:
        usable = clipped <= np.sort(clipped, axis=None)[min(3, clipped.size - 1)]
    variances = [values[usable] for values in power]
    features = [value for variance in variances for value in quantiles(_log(variance), _SHARES)]
    order = np.argsort(variances[0] + 2 * variances[1] + 4 * variances[2])
    flattest = order[: max(4, order.size // 10)]
    size = tile_means(np.abs(response), _TILE, rows, columns)[usable][flattest]
    along = tile_means(response[:, :-1] * response[:, 1:], _TILE, rows, columns)[usable][flattest]
    still = tile_means((np.abs(response) < 0.2).astype(np.float32), _TILE, rows, columns)
    fine = variances[0][flattest]
    features += [float(_log(float(np.median(variance[flattest])))) for variance in variances]
    return [
        *features,
        float((size.mean() ** 2 + 1e-3) / (fine.mean() + 1e-3)),
        float(along.mean() / (fine.mean() + 1e-2)),
        float(level[usable][flattest].mean()) / 255,
        float(still[usable][flattest].mean()),
        float(still.mean()),
        float(usable.mean()),
        *_by_brightness(variances[0], level[usable]),
    ]


def _coarser(pixels: Floats, rows: int, columns: int) -> list[Floats]:
    found = []
    for level in range(1, _LEVELS):
        pixels = half_size(pixels)
        response = np.asarray(cv2.filter2D(pixels, -1, _KERNEL), np.float32)
        found.append(tile_means(response * response, _TILE >> level, rows, columns))
    return found


def _by_brightness(variance: Floats, level: Floats) -> list[float]:
    """Give the noise of the flattest tiles of the darker and of the brighter half."""
    dark = level <= np.median(level)
    bright = ~dark if not dark.all() else dark
    return [float(_log(quantiles(variance[half], (0.1,))[0])) for half in (dark, bright)]


def _log(variance: Floats | float) -> Floats:
    return np.asarray(np.log(np.asarray(variance) + 0.02) / 2, np.float32)
