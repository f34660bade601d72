"""Features of JPEG compression that the pixels still show, whatever the container is now; pure.

A JPEG's DCT coefficients are multiples of the steps in its quantisation table. Decoded and looked at on
the same grid of 8 x 8 px, they still gather there (Fan and de Queiroz, "Identification of bitmap
compression history: JPEG detection and quantizer estimation", IEEE Transactions on Image Processing 12,
2003). Every libjpeg quality is tried; of those that fit, the worst one did the damage.
"""

import functools
import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imageguard_daemon.quality.decoding import Grey
from imageguard_daemon.quality.jpeg import luma_table

Floats = NDArray[np.float32]

_QUALITIES = np.arange(3, 71)
_COEFFICIENTS = 15  # from the second in zigzag order on; higher ones are mostly zero when it matters
_MAX_BLOCKS = 2048
_LARGEST = 512
_FEWEST = 40


@dataclass(frozen=True, slots=True)
class CompressionFeatures:
    """How well the best libjpeg quality fits, and how visible the block grid is."""

    quality: float
    fit: float
    """Mean cosine of the coefficients' phase in the steps: 1 exactly on them, about 0 or less by chance."""
    evidence: int
    """How many coefficients that is taken from."""
    blockiness: float
    """Steps across the block borders relative to those inside the blocks; 1 without a grid."""


def compression_features(grey: Grey) -> CompressionFeatures:
    """Give the features of height x width uint8 luma at its native size."""
    if min(grey.shape) < 24:
        return CompressionFeatures(100.0, 0.0, 0, 1.0)
    (row, row_step), (column, column_step) = _grid_phase(grey), _grid_phase(grey.T)
    phases = {(0, 0), (row, column)}
    fits = [_best_fit(_coefficients(grey[top:, left:])) for top, left in sorted(phases)]
    quality, fit, evidence = max(fits, key=lambda found: found[1])
    return CompressionFeatures(quality, fit, evidence, float(np.sqrt(row_step * column_step)))


def _grid_phase(grey: Grey) -> tuple[int, float]:
    """Give where the first block border lies along axis 0, and how much it stands out."""
    columns = grey[:, :: max(1, grey.shape[1] // 512)][:2048].astype(np.float32)
    # The step between two rows beyond what the slopes on either side explain.
    steps = np.abs(3 * (columns[1:-2] - columns[2:-1]) - columns[:-3] + columns[3:])
    profile = steps.mean(axis=1)
    whole = profile[: len(profile) // 8 * 8].reshape(-1, 8).mean(axis=0)
    phase = int(np.argmax(whole))
    # Entry i spans rows i to i + 3: its border lies before row i + 2.
    return (phase + 2) % 8, float(whole[phase] / max(float(np.median(whole)), 0.05))


@functools.cache
def _zigzag_basis() -> Floats:
    """Give the orthonormal 8 x 8 DCT-II basis, 64 x coefficients, in zigzag order.

    The mean of a block is left out: in a dark picture all of them are alike, and one level fits many steps.
    """
    order = sorted(
        itertools.product(range(8), repeat=2),
        key=lambda rc: (sum(rc), rc[0] if sum(rc) % 2 else rc[1]),
    )
    angles = (2 * np.arange(8) + 1) * np.pi / 16
    waves = [np.cos(k * angles) * (0.5 if k else 0.125**0.5) for k in range(8)]
    basis = [np.outer(waves[r], waves[c]).ravel() for r, c in order[1 : _COEFFICIENTS + 1]]
    return np.array(basis, np.float32).T.copy()


def _coefficients(grey: Grey) -> Floats:
    rows, columns = grey.shape[0] // 8, grey.shape[1] // 8
    blocks = grey[: rows * 8, : columns * 8].reshape(rows, 8, columns, 8)
    sampled = blocks[:: max(1, rows * columns // _MAX_BLOCKS)].swapaxes(1, 2).reshape(-1, 64)
    # Blown or crushed blocks were clipped after decoding and lie beside the steps.
    inside = sampled[(sampled.min(axis=1) > 0) & (sampled.max(axis=1) < 255)]
    return np.asarray(inside.astype(np.float32) @ _zigzag_basis(), np.float32)


@functools.cache
def _phase_table() -> Floats:
    """Give cosines and, after them, weights: (coefficient and level) x 2 qualities.

    Only levels that are not rounded to 0 count, as 0 is a multiple of everything.
    """
    steps = np.array([luma_table(int(quality))[1 : _COEFFICIENTS + 1] for quality in _QUALITIES], np.float32).T
    levels = np.arange(_LARGEST, dtype=np.float32)[None, :, None]
    weight = (levels > steps[:, None, :] / 2).astype(np.float32)
    cosine = np.cos(2 * np.pi * levels / steps[:, None, :]) * weight
    return np.concatenate([cosine, weight], axis=2).reshape(_COEFFICIENTS * _LARGEST, -1).astype(np.float32)


def _best_fit(coefficients: Floats) -> tuple[float, float, int]:
    levels = np.minimum(np.abs(coefficients) + 0.5, _LARGEST - 1).astype(np.int32)
    index = levels + np.arange(_COEFFICIENTS, dtype=np.int32) * _LARGEST
    counts = np.bincount(index.ravel(), minlength=_COEFFICIENTS * _LARGEST).astype(np.float32)
    present = np.flatnonzero(counts)
    cosines, evidence = np.split(counts[present] @ _phase_table()[present], 2)
    fits = cosines / np.maximum(evidence, _FEWEST)
    # A step's divisors fit as well as the step: of all that fit nearly as well as the best, take the worst.
    worst = int(np.argmax(fits >= 0.85 * fits.max()))
    while worst + 1 < len(fits) and fits[worst + 1] > fits[worst]:
        worst += 1
    return float(_QUALITIES[worst]), float(fits[worst]), int(evidence[worst])
