"""Pixels to features: everything the readout may look at; pure."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from imageguard_daemon.quality.decode.luma import Grey
from imageguard_daemon.quality.decode.picture import Look, Picture
from imageguard_daemon.quality.features import blur, compression, exposure, noise, pixelation
from imageguard_daemon.quality.features.backends import FASTEST, Loops
from imageguard_daemon.quality.features.compression import GridFit
from imageguard_daemon.quality.features.exposure import Tones
from imageguard_daemon.quality.features.line_samples import lines
from imageguard_daemon.quality.features.tiles import Floats, dense, half_size

_SMALLEST_SIDE_PX = 40
"""Less is repeated in mirror image until there is so much."""

NAMES = (
    *blur.NAMES,
    *noise.NAMES,
    *exposure.NAMES,
    *compression.NAMES,
    *pixelation.NAMES,
    "log_pixels",
    "log_short_side",
    "log_scale",
)
"""What the numbers of `Features.vector` are, in their order."""
AT_WORKING_SIZE = (*blur.NAMES, *noise.NAMES, *exposure.NAMES, "log_short_side")
"""Those that say nothing of the picture's native pixels."""


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


def extract(picture: Picture, working_long_side: int, loops: Loops = FASTEST) -> Features:
    """Extract all features: compression and enlargement from native pixels, the rest at working size."""
    working = at_working_size(picture.grey, working_long_side)
    turn = upright(working)
    small = dense(_large_enough(turn(working)))
    native = small if working is picture.grey else _large_enough(turn(picture.grey))
    facts, tonal = loops.exposure(small)
    across, down = lines(native)
    along = loops.lines(across, down)
    grid, compressed = compression.compression_features(native, along.row, along.column, loops.blocks)
    vector = [
        *loops.blur(small),
        *loops.noise(small),
        *tonal,
        *compressed,
        *along.enlargement,
        math.log(picture.grey.size),
        math.log(min(small.shape)),
        math.log(max(picture.grey.shape) / max(small.shape)),
    ]
    numbers = np.array(vector, np.float32)
    return Features(
        width=picture.width,
        height=picture.height,
        table_quality=picture.table_quality,
        exposure=facts,
        grid=grid,
        repeated=along.repeated,
        vector=numbers if np.isfinite(numbers).all() else np.nan_to_num(numbers, nan=0.0, posinf=20.0, neginf=-20.0),
        glance=picture.glance,
    )


def upright(grey: Grey) -> Callable[[Grey], Grey]:
    """Give the turn or flip after which a picture is not higher than wide, and lightest at the top and on the left.

    Features are taken after it, so that they are the same whichever way the picture was put into the file.
    """
    height, width = grey.shape
    high, wide = (max(1, side // 2) for side in (height, width))
    (first, second), (third, last) = (
        [cv2.mean(grey[y : y + high, x : x + wide])[0] for x in (0, width - wide)] for y in (0, height - high)
    )
    below, right = (third + last) - (first + second), (second + last) - (first + third)
    rows, columns = slice(None, None, -1 if below > 0 else 1), slice(None, None, -1 if right > 0 else 1)
    lies = height > width or (height == width and abs(right) > abs(below))
    return (lambda other: other[rows, columns].T) if lies else (lambda other: other[rows, columns])


def at_working_size(grey: Grey, long_side: int) -> Grey:
    """Average the picture down to a long side of at most `long_side` pixels; a smaller one stays as it is."""
    while max(grey.shape) >= 2 * long_side and min(grey.shape) >= 2:  # halving is by far the fastest step
        grey = half_size(grey)
    scale = long_side / max(grey.shape)
    if scale >= 1:
        return grey
    height, width = (max(1, round(side * scale)) for side in grey.shape)
    return np.asarray(cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _large_enough(grey: Grey) -> Grey:
    down, right = (max(0, _SMALLEST_SIDE_PX - side) for side in grey.shape)
    if not down and not right:
        return grey
    return np.asarray(np.pad(grey, ((0, down), (0, right)), mode="symmetric"), np.uint8)
