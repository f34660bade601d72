"""Features of sharpness: how much of the contrast of small tiles lies between neighbouring pixels; pure.

Two views of the same thing. *Structure functions*: the mean squared difference of pixels at a distance, along
four directions and at five scales; a blur takes the short distances first, and motion only those along its
path. *Edges*: the largest difference of neighbours relative to that of pixels farther apart, which is what an
edge's width does to it, however few edges a tile has. Both are taken from many tiles and summed up by
quantiles, so that a small sharp subject shows beside a large soft background.
"""

import math
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from imageguard_daemon.quality.decode.luma import Grey
from imageguard_daemon.quality.features.tiles import (
    TILE,
    Floats,
    Mask,
    grid,
    half_size,
    quantile,
    quantiles,
    row_medians,
    row_quantiles,
    tile_maxima,
)

_LEVELS = 4
_SCALES = _LEVELS + 1  # neighbours and next neighbours at full size, neighbours at each halving
_DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1))
_SQUARED_LENGTHS = np.array([[1], [1], [2], [2]], np.float32)  # diagonal neighbours are farther apart
_CACHED_PX = 100_000
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


def blur_features(grey: Grey) -> list[float]:
    """Give the features named `NAMES` of height x width uint8 luma at working size, at least 40 px each."""
    rows, columns = grid(grey.shape)
    clean, noise = _clean_energies(grey, rows, columns)
    coarse = clean[3].sum(axis=0)
    meaningful, strong = _meaningful(coarse)
    return [
        *_fading(clean, meaningful, strong),
        *_orientation(clean[:, :, meaningful]),
        *_edges(grey, rows, columns),
        float(meaningful.mean()),
        *quantiles(np.log(coarse), (0.5, 0.98)),
        math.log(noise + 0.01),
    ]


def tile_contrast(grey: Grey) -> tuple[Floats, Mask]:
    """Give the contrast without noise, scale x direction x tile, and which tiles have enough of it to be sharp."""
    clean, _noise = _clean_energies(grey, *grid(grey.shape))
    return clean, _meaningful(clean[3].sum(axis=0))[0]


def _clean_energies(grey: Grey, rows: int, columns: int) -> tuple[Floats, float]:
    energies = _energies(grey.astype(np.float32), rows, columns)
    noise = quantile(energies[0].sum(axis=0), 0.03) / 4
    clean = np.maximum(energies - (noise * _NOISE_AT_SCALE)[:, None, None], 0.02 * energies) + 1e-2
    return np.asarray(clean, np.float32), noise


# White noise of variance v adds 2 v at full size whatever the distance, and a quarter of it with each halving.
_NOISE_AT_SCALE = np.array([1, 1, 1 / 4, 1 / 16, 1 / 64], np.float32)


def _energies(pixels: Floats, rows: int, columns: int) -> Floats:
    """Give mean squared differences: scale x direction x tile."""
    scales = []
    for level in range(_LEVELS):
        tile = TILE >> level
        for distance in (1, 2) if level == 0 else (1,):
            by_row = _sums(pixels, distance, tile, (rows, columns)).reshape(len(_DIRECTIONS), -1, tile)
            scales.append(np.einsum("dtw->dt", by_row) / (tile**2 * _SQUARED_LENGTHS))
        pixels = half_size(pixels)
    return np.array(scales, np.float32)


def _sums(pixels: Floats, distance: int, tile: int, grid: tuple[int, int]) -> Floats:
    """Give squared differences, added up over the px rows of each row of tiles: direction x row of tiles x px."""
    rows, width = grid[0], grid[1] * tile
    sums = np.empty((len(_DIRECTIONS), rows, width), np.float32)
    # A few rows at a time stay in the processor's cache from one direction to the next.
    step = max(1, _CACHED_PX // (width * tile))
    for top in range(0, rows, step):
        band, here = pixels[top * tile :], sums[:, top : top + step]
        for (down, right), found in zip(_DIRECTIONS, here, strict=True):
            height, left = len(found) * tile, distance if right < 0 else 0
            start = band[:height, left : left + width]
            end = band[down * distance :, left + right * distance :][:height, :width]
            change = np.asarray(cv2.subtract(start, end), np.float32).reshape(len(found), tile, width)
            np.einsum("rkw,rkw->rw", change, change, out=found)
    return sums


def _meaningful(coarse: Floats) -> tuple[Mask, Mask]:
    keep = coarse > max(_FLAT_ENERGY, _MEANINGFUL_SHARE * quantile(coarse, 0.98))
    if keep.sum() < 3:
        keep = coarse >= np.sort(coarse)[-min(3, coarse.size)]
    return keep, coarse >= quantile(coarse[keep], 0.85)


def _fading(clean: Floats, meaningful: Mask, strong: Mask) -> list[float]:
    """Tell how much more contrast there is at the longer of two distances, for each two that follow one another."""
    totals, kept = clean.sum(axis=1), clean[:, :, meaningful]
    together = np.log(totals[1:] / totals[:-1])
    softest = np.log(kept[1:] / kept[:-1]).max(axis=1)
    # Each tile counts alike: one strong edge must not speak for the picture.
    weight = 1 / totals[1:, None, meaningful]
    pooled = np.sort(np.log((kept[1:] * weight).sum(axis=2) / (kept[:-1] * weight).sum(axis=2)), axis=1)
    found = [
        row_quantiles(together[:, meaningful], _RATIO_SHARES),
        row_quantiles(softest, _RATIO_SHARES),
        row_medians(together[:, strong])[:, None],
        pooled[:, 3:],
        (pooled[:, 1:2] + pooled[:, 2:3]) / 2,
        pooled[:, :1],
    ]
    values: list[float] = np.concatenate(found, axis=1).ravel().tolist()
    return values


def _orientation(energies: Floats) -> list[float]:
    """Tell how much the tiles' contrast points in one common direction, 0 to 1: motion leaves edges along its path."""
    total = energies.sum(axis=1)
    across = ((energies[:, 0] - energies[:, 1]) / total).mean(axis=1)
    diagonal = ((energies[:, 2] - energies[:, 3]) / total).mean(axis=1)
    values: list[float] = np.hypot(across, diagonal).tolist()
    return values


def _edges(grey: Grey, rows: int, columns: int) -> list[float]:
    """Give the quantiles of how steep edges are, of the way they are sharper and of the other."""
    steepest = [_steepest(grey, rows, columns, way) for way in (0, 1)]
    farthest = np.stack([way[-1] for way in steepest])
    contrast = farthest.max(axis=0)
    seen = contrast >= max(_EDGE_LEVELS, 0.25 * quantile(contrast, 0.9))
    found = [_edge_quantiles(way[:, seen & (far >= _EDGE_LEVELS)]) for way, far in zip(steepest, farthest, strict=True)]
    by_pair = np.stack([np.maximum(*found), np.minimum(*found)], axis=1)
    return [*by_pair.ravel().tolist(), float(seen.mean())]


def _edge_quantiles(steepest: Floats) -> Floats:
    """Give pair of reaches x share; 1, an edge of no width, where there is none."""
    if not steepest.shape[1]:
        return np.ones((len(_EDGE_REACHES) - 1, len(_EDGE_SHARES)), np.float32)
    ratios = np.minimum(steepest[:-1] / np.maximum(steepest[1:], 1), 1.5)
    return row_quantiles(ratios, _EDGE_SHARES)


def _steepest(grey: NDArray[np.uint8], rows: int, columns: int, way: int) -> Floats:
    """Give the largest change in each tile over each reach, to the right or downwards: reach x tile."""
    found = []
    for reach in _EDGE_REACHES:
        ahead, behind = (grey[:, reach:], grey[:, :-reach]) if way == 0 else (grey[reach:], grey[:-reach])
        found.append(tile_maxima(np.asarray(cv2.absdiff(ahead, behind)), TILE, rows, columns).ravel())
    return np.stack(found)
