"""The steps that look at every pixel: as NumPy and OpenCV do them, and compiled; pure.

The compiled ones (`native/`, in C) give the same numbers in a fraction of the time, most of which is spent between
calls when a picture is small. A package that was built without a compiler does without them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from imageguard_daemon.quality.decode.luma import Grey
from imageguard_daemon.quality.features import blur, compression, exposure, noise, pixelation
from imageguard_daemon.quality.features.compression import GridFit, LookAtBlocks
from imageguard_daemon.quality.features.exposure import Tones
from imageguard_daemon.quality.features.line_samples import Grid
from imageguard_daemon.quality.features.pixelation import LineFeatures
from imageguard_daemon.quality.version import compiled_loops

_native = compiled_loops()


@dataclass(frozen=True, slots=True)
class Loops:
    """One way to take the features that cost most."""

    blur: Callable[[Grey], list[float]]
    noise: Callable[[Grey], list[float]]
    exposure: Callable[[Grey], tuple[Tones, list[float]]]
    lines: Callable[[Grey, Grey], LineFeatures]
    blocks: LookAtBlocks


NUMPY = Loops(
    blur.blur_features,
    noise.noise_features,
    exposure.exposure_features,
    pixelation.line_features,
    compression.block_features,
)


_NARROW = 20
"""Of a picture that is narrower, fewer than the 12 rows are left that are compared."""


def _tones(working: Grey) -> tuple[Tones, list[float]]:
    if max(working.shape) > _NARROW * min(working.shape):
        return exposure.exposure_features(working)
    facts, found = _native.exposure(working)
    return Tones(*facts), found


def _lines(across: Grey, down: Grey) -> LineFeatures:
    column, row, repeated, found = _native.lines(across, down)
    return LineFeatures(Grid(int(row[0]), *row[1:]), Grid(int(column[0]), *column[1:]), repeated, found)


def _blocks(grey: Grey, row: int, column: int) -> tuple[GridFit, list[float]]:
    grey = grey if 1 in map(abs, grey.strides) else np.ascontiguousarray(grey)
    (quality, fit, evidence), found = _native.compression(grey, row, column)
    return GridFit(quality, fit, math.floor(evidence)), found


COMPILED = Loops(_native.blur, _native.noise, _tones, _lines, _blocks) if _native else None
"""None where the package was built without a compiler."""

FASTEST = COMPILED or NUMPY
