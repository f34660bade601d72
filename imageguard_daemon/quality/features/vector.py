"""Pixels to features: everything the readout may look at; pure.

The steps that look at every pixel exist twice: as NumPy and OpenCV do them, and compiled (`native/`, in C). Both give
the same numbers; the compiled ones in a fraction of the time. What lies between the steps is compiled, too, since a
small picture would spend a sixth of its time there. A package that was built without a compiler does without them.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from imageguard_daemon.quality.decode.luma import Grey
from imageguard_daemon.quality.decode.picture import Look, Picture
from imageguard_daemon.quality.features import blur, compression, exposure, noise
from imageguard_daemon.quality.features.compression import GridFit, LookAtBlocks
from imageguard_daemon.quality.features.exposure import Tones
from imageguard_daemon.quality.features.lines import NAMES as LINE_NAMES
from imageguard_daemon.quality.features.lines import Grid, LineFeatures, line_features, lines
from imageguard_daemon.quality.features.tiles import Floats, dense, reduced
from imageguard_daemon.quality.version import compiled_features

_SMALLEST_SIDE_PX = 40
"""Less is repeated in mirror image until there is so much."""

NAMES = (
    *blur.NAMES,
    *noise.NAMES,
    *exposure.NAMES,
    *compression.NAMES,
    *LINE_NAMES,
    "log_pixels",
    "log_short_side",
    "log_scale",
)
"""What the numbers of `Features.vector` are, in their order."""
AT_WORKING_SIZE = (*blur.NAMES, *noise.NAMES, *exposure.NAMES, "log_short_side")
"""Those that say nothing of the picture's native pixels."""

_NARROW = 20
"""Of a picture that is narrower, fewer than the 12 rows are left that are compared."""
_native = compiled_features()


@dataclass(frozen=True, slots=True)
class Backend:
    """One way to take the features that cost most."""

    blur: Callable[[Grey], list[float]]
    noise: Callable[[Grey], list[float]]
    exposure: Callable[[Grey], tuple[Tones, list[float]]]
    lines: Callable[[Grey, Grey], LineFeatures]
    blocks: LookAtBlocks
    whole: "Callable[[Grey, Grey], Taken | None]"
    """Takes all of them at once, of native pixels and of those at working size; None where it can't be done at once."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What is taken from pixels; the names are those of `Features`."""

    exposure: Tones
    grid: GridFit
    repeated: float
    vector: Floats


NUMPY = Backend(
    blur.blur_features,
    noise.noise_features,
    exposure.exposure_features,
    line_features,
    compression.block_features,
    lambda _native, _working: None,
)


def _tones(working: Grey) -> tuple[Tones, list[float]]:
    if max(working.shape) > _NARROW * min(working.shape):
        return exposure.exposure_features(working)
    facts, features = _native.exposure(working)
    return Tones(*facts), features


def _lines(across: Grey, down: Grey) -> LineFeatures:
    column, row, repeated, enlargement = _native.lines(across, down)
    return LineFeatures(Grid(int(row[0]), *row[1:]), Grid(int(column[0]), *column[1:]), repeated, enlargement)


def _blocks(grey: Grey, row: int, column: int) -> tuple[GridFit, list[float]]:
    grey = grey if 1 in map(abs, grey.strides) else np.ascontiguousarray(grey)
    (quality, fit, evidence), features = _native.compression(grey, row, column)
    return GridFit(quality, fit, math.floor(evidence)), features


def _whole(native: Grey, working: Grey) -> Taken | None:
    if not _native_reads(native) or not _native_reads(working) or max(working.shape) > _NARROW * min(working.shape):
        return None
    tones, (quality, fit, evidence), repeated, vector = _native.features(native, working)
    return Taken(
        Tones(*tones), GridFit(quality, fit, math.floor(evidence)), repeated, np.frombuffer(vector, np.float32)
    )


def _native_reads(grey: Grey) -> bool:
    return grey.flags.c_contiguous and min(grey.shape) >= _SMALLEST_SIDE_PX


COMPILED = Backend(_native.blur, _native.noise, _tones, _lines, _blocks, _whole) if _native else None
"""None where the package was built without a compiler."""

FASTEST = COMPILED or NUMPY


@dataclass(frozen=True, slots=True)
class Features:
    """Facts of one image, and what the trained readout reads."""

    width: int
    height: int
    table_quality: int | None
    """libjpeg quality of the file's own quantisation table; None when it is not a JPEG."""
    exposure: Tones
    grid: GridFit
    repeated: float
    """Factor by which pixels repeat exactly, 1 if they don't."""
    vector: Floats
    """One number for each of `NAMES`."""
    glance: Look
    """Gives its colours, for what luma leaves in doubt; see `Picture.glance`."""


def extract(picture: Picture, working_long_side: int, backend: Backend = FASTEST) -> Features:
    """Extract all features: compression and enlargement from native pixels, the rest at working size."""
    working = reduced(picture.grey, working_long_side)
    taken = backend.whole(picture.grey, working) or _step_by_step(picture.grey, working, backend)
    return Features(
        width=picture.width,
        height=picture.height,
        table_quality=picture.table_quality,
        exposure=taken.exposure,
        grid=taken.grid,
        repeated=taken.repeated,
        vector=taken.vector,
        glance=picture.glance,
    )


def _step_by_step(grey: Grey, working: Grey, backend: Backend) -> Taken:
    # Turned by what the small picture shows, and the native one with it: both must be looked at from the same side.
    turn = upright(working)
    small = dense(_large_enough(turn(working)))
    native = small if working is grey else _large_enough(turn(grey))
    facts, tonal = backend.exposure(small)
    across, down = lines(native)
    along = backend.lines(across, down)
    grid, compressed = compression.compression_features(native, along.row, along.column, backend.blocks)
    vector = [
        *backend.blur(small),
        *backend.noise(small),
        *tonal,
        *compressed,
        *along.enlargement,
        math.log(grey.size),
        math.log(min(small.shape)),
        math.log(max(grey.shape) / max(small.shape)),
    ]
    # In single precision, as the networks were trained: they must not see more digits than they have learned from.
    numbers = np.array(vector, np.float32)
    finite = numbers if np.isfinite(numbers).all() else np.nan_to_num(numbers, nan=0.0, posinf=20.0, neginf=-20.0)
    return Taken(facts, grid, along.repeated, finite)


def upright(grey: Grey) -> Callable[[Grey], Grey]:
    """Give the turn or flip after which a picture is not higher than wide, and lightest at the top and on the left.

    Features are taken after it, so that they are the same whichever way the picture was put into the file.
    """
    height, width = grey.shape
    first, second, third, last = _light(grey)
    below, right = (third + last) - (first + second), (second + last) - (first + third)
    rows, columns = slice(None, None, -1 if below > 0 else 1), slice(None, None, -1 if right > 0 else 1)
    lies = height > width or (height == width and abs(right) > abs(below))
    return (lambda other: other[rows, columns].T) if lies else (lambda other: other[rows, columns])


def _light(grey: Grey) -> Sequence[float]:
    """Give the light of the four quarters, the upper ones first; of an odd side the middle is left out."""
    height, width = grey.shape
    if _native is not None and _native_reads(grey):
        sums: tuple[int, int, int, int] = _native.light(grey)
        return sums
    high, wide = (max(1, side // 2) for side in (height, width))
    corners = [(y, x) for y in (0, height - high) for x in (0, width - wide)]
    return [cv2.sumElems(grey[y : y + high, x : x + wide])[0] for y, x in corners]


def _large_enough(grey: Grey) -> Grey:
    down, right = (max(0, _SMALLEST_SIDE_PX - side) for side in grey.shape)
    if not down and not right:
        return grey
    return np.asarray(np.pad(grey, ((0, down), (0, right)), mode="symmetric"), np.uint8)
