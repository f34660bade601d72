"""Features of sharpness: how much of the contrast of small tiles lies between neighbouring pixels; pure.

Two views of the same thing. *Structure functions*: the mean squared difference of pixels at a distance, along
four directions and at five scales; a blur takes the short distances first, and motion only those along its
path. *Edges*: the largest difference of neighbours relative to that of pixels farther apart, which is what an
edge's width does to it, however few edges a tile has. Both are taken from many tiles and summed up by
quantiles, so that a small sharp subject shows beside a large soft background.
"""

from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from imageguard_daemon.quality.decoding import Grey
from imageguard_daemon.quality.tiles import TILE, Floats, Mask, grid, half_size, quantiles, tile_maxima, tile_means

_LEVELS = 4
_SCALES = _LEVELS + 1  # neighbours and next neighbours at full size, neighbours at each halving
_DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1))
_FLAT_ENERGY, _MEANINGFUL_SHARE = 1.0, 0.03
_EDGE_LEVELS = 16
_EDGE_REACHES = (1, 2, 4, 8)

_RATIO_SHARES = (0.03, 0.1, 0.25, 0.5, 0.8)
_EDGE_SHARES = (0.5, 0.8, 0.93, 0.98)


def _names() -> tuple[str, ...]:
    per_scale = [
        f"fade{scale}_{name}"
        for scale in range(_SCALES - 1)
        for name in (
            *(f"all_q{share}" for share in _RATIO_SHARES),
            *(f"softest_q{share}" for share in _RATIO_SHARES),
            "strong_median",
            "pooled_softest",
            "pooled_middle",
            "pooled_sharpest",
        )
    ]
    edges = [
        f"edge{near}_{far}_{way}_q{share}"
        for near, far in pairwise(_EDGE_REACHES)
        for way in ("sharper", "softer")
        for share in _EDGE_SHARES
    ]
    oriented = [f"oriented{scale}" for scale in range(_SCALES)]
    return (*per_scale, *oriented, *edges, "edge_share", "detail_share", "energy_q50", "energy_q98", "energy_noise")


NAMES = _names()


def sharpness_features(grey: Grey) -> list[float]:
    """Give the features named `NAMES` of height x width uint8 luma at working size, at least 40 px each."""
    rows, columns = grid(grey.shape)
    energies = _energies(grey.astype(np.float32), rows, columns)
    noise = float(np.quantile(energies[0].sum(axis=0), 0.03)) / 4
    clean = np.maximum(energies - (noise * _NOISE_AT_SCALE)[:, None, None], 0.02 * energies) + 1e-2
    meaningful, strong = _meaningful(clean[3].sum(axis=0))
    features: list[float] = []
    for near, far in pairwise(clean):
        features += _fading(near, far, meaningful, strong)
    features += [_orientation(scale[:, meaningful]) for scale in clean]
    features += _edges(grey, rows, columns)
    coarse = np.log(clean[3].sum(axis=0))
    return [*features, float(meaningful.mean()), *quantiles(coarse, (0.5, 0.98)), float(np.log(noise + 0.01))]


# White noise of variance v adds 2 v at full size whatever the distance, and a quarter of it with each halving.
_NOISE_AT_SCALE = np.array([1, 1, 1 / 4, 1 / 16, 1 / 64], np.float32)


def _energies(pixels: Floats, rows: int, columns: int) -> Floats:
    """Give mean squared differences: scale x direction x tile."""
    scales = []
    for level in range(_LEVELS):
        distances = (1, 2) if level == 0 else (1,)
        scales += [_directional(pixels, distance, TILE >> level, rows, columns) for distance in distances]
        pixels = half_size(pixels)
    return np.array(scales, np.float32)


def _directional(pixels: Floats, distance: int, tile: int, rows: int, columns: int) -> list[Floats]:
    height, width = rows * tile, columns * tile
    found = []
    for down, right in _DIRECTIONS:
        top, left = 0, distance if right < 0 else 0
        start = pixels[top : top + height, left : left + width]
        end = pixels[top + down * distance :, left + right * distance :][:height, :width]
        change = cv2.subtract(start, end)
        mean = tile_means(np.asarray(cv2.multiply(change, change), np.float32), tile, rows, columns)
        # Diagonal neighbours are farther apart.
        found.append(np.asarray(mean.ravel() / (2 if down and right else 1), np.float32))
    return found


def _meaningful(coarse: Floats) -> tuple[Mask, Mask]:
    keep = coarse > max(_FLAT_ENERGY, _MEANINGFUL_SHARE * float(np.quantile(coarse, 0.98)))
    if keep.sum() < 3:
        keep = coarse >= np.sort(coarse)[-min(3, coarse.size)]
    return keep, coarse >= np.quantile(coarse[keep], 0.85)


def _fading(near: Floats, far: Floats, meaningful: Mask, strong: Mask) -> list[float]:
    """Tell how much more contrast there is at the longer of two distances."""
    together = np.log(far.sum(axis=0) / near.sum(axis=0))
    softest = np.log(far[:, meaningful] / near[:, meaningful]).max(axis=0)
    # Each tile counts alike: one strong edge must not speak for the picture.
    weight = 1 / far[:, meaningful].sum(axis=0)
    pooled = np.sort(np.log((far[:, meaningful] * weight).sum(axis=1) / (near[:, meaningful] * weight).sum(axis=1)))
    return [
        *quantiles(together[meaningful], _RATIO_SHARES),
        *quantiles(softest, _RATIO_SHARES),
        float(np.median(together[strong])),
        float(pooled[3]),
        float(pooled[1] + pooled[2]) / 2,
        float(pooled[0]),
    ]


def _orientation(energies: Floats) -> float:
    """Tell how much the tiles' contrast points in one common direction, 0 to 1: motion leaves edges along its path."""
    total = energies.sum(axis=0)
    across = (energies[0] - energies[1]) / total
    diagonal = (energies[2] - energies[3]) / total
    return float(np.hypot(across.mean(), diagonal.mean()))


def _edges(grey: Grey, rows: int, columns: int) -> list[float]:
    sideways = [_steepest(grey, reach, rows, columns) for reach in _EDGE_REACHES]
    downwards = [_steepest(np.ascontiguousarray(grey.T), reach, columns, rows).T for reach in _EDGE_REACHES]
    contrast = np.maximum(sideways[-1], downwards[-1])
    seen = contrast >= max(_EDGE_LEVELS, 0.25 * float(np.quantile(contrast, 0.9)))
    features: list[float] = []
    for (near_x, far_x), (near_y, far_y) in zip(pairwise(sideways), pairwise(downwards), strict=True):
        ratios = np.stack([_ratio(near_x, far_x), _ratio(near_y, far_y)])
        enough = np.stack([sideways[-1] >= _EDGE_LEVELS, downwards[-1] >= _EDGE_LEVELS]) & seen
        found = [
            quantiles(ratio[where], _EDGE_SHARES) if where.any() else [1.0] * len(_EDGE_SHARES)
            for ratio, where in zip(ratios, enough, strict=True)
        ]
        features += [*map(max, *found), *map(min, *found)]
    return [*features, float(seen.mean())]


def _ratio(near: Floats, far: Floats) -> Floats:
    return np.asarray(np.minimum(near / np.maximum(far, 1), 1.5), np.float32)


def _steepest(grey: NDArray[np.uint8], reach: int, rows: int, columns: int) -> Floats:
    change = cv2.absdiff(grey[:, reach:], grey[:, :-reach])
    return tile_maxima(np.asarray(change), TILE, rows, columns)
