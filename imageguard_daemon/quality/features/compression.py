"""Features of JPEG compression that the pixels still show, whatever the container is now; pure.

A JPEG's DCT coefficients are multiples of the steps in its quantisation table. Decoded and looked at on
the same grid of 8 x 8 px, they still gather there (Fan and de Queiroz, "Identification of bitmap
compression history: JPEG detection and quantizer estimation", IEEE Transactions on Image Processing 12,
2003). Every libjpeg quality is tried; of those that fit, the worst one did the damage.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from imageguard_daemon.quality.decode.jpeg import ZIGZAG, luma_table
from imageguard_daemon.quality.decode.luma import Grey
from imageguard_daemon.quality.features.lines import Grid
from imageguard_daemon.quality.features.tiles import Floats, projections

_QUALITIES = np.arange(3, 89)
_COEFFICIENTS = 15  # from the second in zigzag order on; higher ones are mostly zero when it matters
_MAX_BLOCKS = 2048
_MAX_LOOKED_AT = 768
_LARGEST = 512
_FEWEST = 40
_CERTAIN = 0.8
_HALF, _ONE = 0.501, 0.999  # some coefficients are whole eighths: rounding errors must not decide


@dataclass(frozen=True, slots=True)
class GridFit:
    """How well the best libjpeg quality fits."""

    quality: float
    fit: float
    """Mean cosine of the coefficients' phase in the steps: 1 exactly on them, about 0 or less by chance."""
    evidence: int
    """How many coefficients that is taken from."""

    @property
    def is_found(self) -> bool:
        """Whether that is not an accident."""
        return self.fit > 0.5 and self.evidence >= _FEWEST


_BANDS = (1, 6, 15, 36)
_BAND_SIZES = np.diff([*_BANDS, 64])
_SAMPLE = 1024
_NOT_FOUND = 1.5
_NO_BLOCKS = [0.0] * len(_BANDS) + [1.0] * len(_BANDS)

NAMES = (
    "grid_quality", "grid_fit", "grid_evidence", "grid_found", "blockiness", "blockiness4",
    *(f"{what}_{band}_{place}" for place in ("on", "off") for what in ("energy", "silent") for band in range(4)),
    "flat_on", "flat_off", "unchanged", "bent_little",  # the last: neighbours that differ by 2 levels at most
)  # fmt: skip
"""The names stand in every readout that was trained, the operators' own among them: they cannot be renamed."""


LookAtBlocks = Callable[[Grey, int, int], tuple[GridFit, list[float]]]


def compression_features(
    grey: Grey, row: Grid, column: Grid, look_at_blocks: LookAtBlocks
) -> tuple[GridFit, list[float]]:
    """Give the grid's fit and the features named `NAMES` of height x width uint8 luma at its native size.

    `row` and `column` are the borders found along columns and along rows; `look_at_blocks` is `block_features` or as
    good.
    """
    best, blocks = look_at_blocks(grey, row.offset, column.offset)
    return best, [
        _quality_position(best.quality) if best.fit > 0.3 else _NOT_FOUND,
        best.fit,
        math.log(best.evidence + 1),
        float(best.is_found),
        math.log(min(row.borders8, column.borders8) + 0.02),
        math.log(min(row.borders4, column.borders4) + 0.02),
        *blocks,
    ]


def block_features(grey: Grey, row: int, column: int) -> tuple[GridFit, list[float]]:
    """Give the grid's fit, and all features from the energy of blocks on.

    `row` and `column` are where the first block seems to begin, 0 to 7.
    """
    best, top, left = _fit(grey, row, column)
    sample = _middle(grey, top, left)
    change = cv2.absdiff(sample[:, 1:], sample[:, :-1])
    on, still_on = _spectrum(_blocks(sample))
    off, still_off = _spectrum(_blocks(sample[4:, 4:]))
    return best, [
        *on,
        *off,
        still_on,
        still_off,
        1 - cv2.countNonZero(change) / change.size,
        np.count_nonzero(change <= 2) / change.size,
    ]


def _fit(grey: Grey, row: int, column: int) -> tuple[GridFit, int, int]:
    """Fit the grid that block borders show, and the one from the corner unless the first fits well; give the better."""
    best = _best_fit(_coefficients(grey[row:, column:]))
    if (row, column) == (0, 0) or best.fit > _CERTAIN:
        return best, row, column
    from_corner = _best_fit(_coefficients(grey))
    return (best, row, column) if best.fit > from_corner.fit else (from_corner, 0, 0)


def _quality_position(quality: float) -> float:
    """Give 0 for the worst quality looked for and 1.4 for the best, by the size of the steps."""
    step = 50 / quality if quality < 50 else 2 - quality / 50
    return 1 - math.log(step + 0.1) / math.log(50 / 3 + 0.1)


def _middle(grey: Grey, top: int, left: int) -> Grey:
    """Take a piece from the middle, cut at the grid that was found."""
    height, width = (min(side - 8, _SAMPLE) // 8 * 8 + 4 for side in grey.shape)
    down, right = (((side - size) // 2) // 8 * 8 for side, size in zip(grey.shape, (height, width), strict=True))
    return np.ascontiguousarray(grey[down + top :, right + left :][:height, :width])


def _blocks(sample: Grey) -> Floats:
    """Give the DCT coefficients, 64 in zigzag order x block, of blocks from everywhere."""
    return projections(_sampled(sample, _MAX_LOOKED_AT), _zigzag_basis())


def _sampled(grey: Grey, most: int) -> Floats:
    """Give block x 64 px from rows of blocks all over, so that not many more than `most` are left.

    Blocks with blown or crushed pixels were clipped after decoding, lie beside the steps and are left out.
    """
    rows, columns = grey.shape[0] // 8, grey.shape[1] // 8
    chosen = np.arange(0, rows, max(1, rows * columns // most))[:, None] * 8 + np.arange(8)
    lines = np.ascontiguousarray(grey[chosen, : columns * 8])
    # Eight pixels are moved as one. Of a single row of blocks the reshaping alone would not be a copy.
    blocks = np.ascontiguousarray(lines.view(np.uint64).swapaxes(1, 2)).reshape(-1, 8).view(np.uint8)
    clipped_px = np.einsum("bw->b", ((blocks == 0) | (blocks == 255)).view(np.uint64))
    return np.asarray(blocks[clipped_px == 0], np.float32)


def _spectrum(coefficients: Floats) -> tuple[list[float], float]:
    """Tell for four bands of frequency how strong it is, and how often silent where there is detail.

    The last number is the share of blocks without any detail.
    """
    blocks = coefficients.shape[1]
    if not blocks:
        return _NO_BLOCKS, 0.0
    sizes = np.abs(coefficients)
    still = np.count_nonzero(sizes[1:].max(axis=0) < _ONE) / blocks
    if blocks < 4:
        return _NO_BLOCKS, still
    power = np.einsum("fb,fb->f", sizes, sizes) / blocks
    busy = sizes[1:6].sum(axis=0) > 8
    looked_at = (busy if np.count_nonzero(busy) >= 4 else np.ones_like(busy)).astype(np.float32)
    silent = np.einsum("fb,b->f", (sizes < 0.8).astype(np.float32), looked_at) / looked_at.sum()
    energies = np.log(np.add.reduceat(power, _BANDS) / _BAND_SIZES + 0.02)
    return [*energies.tolist(), *(np.add.reduceat(silent, _BANDS) / _BAND_SIZES).tolist()], still


@functools.cache
def _zigzag_basis() -> Floats:
    """Give the orthonormal 8 x 8 DCT-II basis, 64 coefficients in zigzag order x 64 pixels."""
    angles = (2 * np.arange(8) + 1) * np.pi / 16
    waves = [np.cos(k * angles) * (0.5 if k else 0.125**0.5) for k in range(8)]
    basis = [np.outer(waves[at // 8], waves[at % 8]).ravel() for at in ZIGZAG]
    return np.array(basis, np.float32)


def _coefficients(grey: Grey) -> Floats:
    # The mean of a block is left out: in a dark picture all of them are alike, and one level fits many steps.
    return projections(_sampled(grey, _MAX_BLOCKS), _zigzag_basis()[1 : _COEFFICIENTS + 1])


@functools.cache
def _phase_table() -> Floats:
    """Give cosines, (coefficient and level) x quality; 0 for levels that are rounded to 0, a multiple of everything."""
    levels = np.arange(_LARGEST, dtype=np.float32)[None, :, None]
    steps = _steps()[:, None, :]
    cosine = np.cos(2 * np.pi * levels / steps) * (levels > steps / 2)
    return np.asarray(cosine.reshape(_COEFFICIENTS * _LARGEST, -1), np.float32)


@functools.cache
def _steps() -> Floats:
    """Give the steps of the quantisation tables: coefficient x quality."""
    return np.array([luma_table(int(quality))[1 : _COEFFICIENTS + 1] for quality in _QUALITIES], np.float32).T


@functools.cache
def _first_levels() -> NDArray[np.intp]:
    """Give the lowest level that is not rounded to 0: coefficient x quality."""
    return (_steps() / 2).astype(np.intp) + 1


def _best_fit(coefficients: Floats) -> GridFit:
    levels = np.minimum(np.abs(coefficients) + _HALF, _LARGEST - 1).astype(np.uint16)
    index = levels + np.arange(0, _COEFFICIENTS * _LARGEST, _LARGEST, dtype=np.uint16)[:, None]
    counts = np.bincount(index.ravel(), minlength=_COEFFICIENTS * _LARGEST).astype(np.float32)
    present = np.flatnonzero(counts)
    cosines = np.einsum("l,lq->q", counts[present], _phase_table()[present])
    above = counts.reshape(_COEFFICIENTS, _LARGEST)[:, ::-1].cumsum(axis=1)[:, ::-1]
    evidence = np.take_along_axis(above, _first_levels(), axis=1).sum(axis=0)
    fits = cosines / np.maximum(evidence, _FEWEST)
    # A step's divisors fit as well as the step: of all that fit nearly as well as the best, take the worst.
    worst = int(np.argmax(fits >= 0.85 * fits.max()))
    while worst + 1 < len(fits) and fits[worst + 1] > fits[worst]:
        worst += 1
    return GridFit(float(_QUALITIES[worst]), float(fits[worst]), int(evidence[worst]))
