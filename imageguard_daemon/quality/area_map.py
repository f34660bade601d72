"""Where in a picture it is sharp, and where it is clipped; pure.

What the scorer measures, tile by tile instead of for the whole: the same structure functions (`blur.py`), the same
levels of black and white (`exposure.py`), at the same working size.
"""

import functools
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from imageguard_daemon.quality.decode.luma import Grey
from imageguard_daemon.quality.features.blur import tile_contrast
from imageguard_daemon.quality.features.exposure import BLACK, WHITE
from imageguard_daemon.quality.features.tiles import TILE, Floats, grid, reduced, tile_means

SMALLEST_SIDE_PX = 40
_SIGMAS = np.geomspace(0.5, 8.0, 33, dtype=np.float32)
_TILES, _APART = 20, 4


@dataclass(frozen=True, slots=True)
class AreaMap:
    """Tiles of `TILE` px of a picture of `width` x `height` px at working size, from the upper left on: row x column.

    `blur_sigma_px` is that of the Gaussian which makes a sharp edge as soft as what is in the tile, 0.5 at least
    and 8 at most, NaN where there is nothing to be sharp. `black` and `white` are shares of pixels, 0 to 1.
    """

    width: int
    height: int
    blur_sigma_px: Floats
    black: Floats
    white: Floats


def area_map(grey: Grey, working_long_side: int) -> AreaMap | None:
    """Look at height x width uint8 luma; None for a picture too small to have tiles."""
    working = np.ascontiguousarray(reduced(grey, working_long_side))
    if min(working.shape) < SMALLEST_SIDE_PX:
        return None
    height, width = working.shape
    rows, columns = grid(working.shape)
    contrast, meaningful = tile_contrast(working)
    sigmas = np.where(meaningful, _SIGMAS[_nearest_edge(_fade(contrast))], np.nan)
    return AreaMap(
        width,
        height,
        np.asarray(sigmas.reshape(rows, columns), np.float32),
        tile_means((working <= BLACK).astype(np.float32), TILE, rows, columns),
        tile_means((working >= WHITE).astype(np.float32), TILE, rows, columns),
    )


def turned(found: AreaMap, orientation: int) -> AreaMap:
    """Turn it as EXIF's `orientation` (1 to 8) has the picture shown; tiles at the far edges are cut by as much."""
    turn = _TURNS.get(orientation)
    if turn is None:
        return found
    flips_rows, flips_columns, lies = turn

    def of(values: Floats) -> Floats:
        turned_values = values[:: -1 if flips_rows else 1, :: -1 if flips_columns else 1]
        return np.ascontiguousarray(turned_values.T if lies else turned_values)

    width, height = (found.height, found.width) if lies else (found.width, found.height)
    return AreaMap(width, height, of(found.blur_sigma_px), of(found.black), of(found.white))


# Whether rows and columns are reversed, then exchanged (Exif 2.32, tag 0x0112).
_TURNS = {
    2: (False, True, False),
    3: (True, True, False),
    4: (True, False, False),
    5: (False, False, True),
    6: (True, False, True),
    7: (True, True, True),
    8: (False, True, True),
}


def _fade(contrast: Floats) -> Floats:
    """Give how contrast grows from each distance to the next, which is what a blur changes: pair x tile."""
    totals = contrast.sum(axis=1)
    return np.asarray(np.log(totals[1:] / totals[:-1]), np.float32)


def _nearest_edge(fade: Floats) -> NDArray[np.int64]:
    """Say of each tile which blurred edge it is most like."""
    differences = fade[:, :, None] - _fades_of_edges()[:, None, :]
    return np.asarray((differences**2).sum(axis=0).argmin(axis=1), np.int64)


@functools.cache
def _fades_of_edges() -> Floats:
    """Give the same for edges of each blur: pair x sigma, the middle of edges that lie differently between pixels."""
    return np.stack([_fade_of_edge(float(sigma)) for sigma in _SIGMAS], axis=1)


def _fade_of_edge(sigma: float) -> Floats:
    """Measure a picture of edges that lean a little, and so cross pixels everywhere, with flat tiles between them."""
    side = _TILES * TILE + 8
    down, across = np.mgrid[:side, :side].astype(np.float32)
    steps = ((across + down / 8) // (_APART * TILE)) % 2
    blurred = cv2.GaussianBlur((40 + 160 * steps).astype(np.float32), (0, 0), sigma)
    contrast, meaningful = tile_contrast(np.asarray(np.rint(blurred), np.uint8))
    strength = contrast[0].sum(axis=0)
    clear = meaningful & (strength >= np.median(strength[meaningful]))
    return np.asarray(np.median(_fade(contrast)[:, clear], axis=1), np.float32)
