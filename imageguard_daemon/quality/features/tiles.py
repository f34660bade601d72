"""Small squares of a picture, and the statistics that all features are made of; pure."""

from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
Pixels = TypeVar("Pixels", Floats, NDArray[np.uint8])

TILE = 24
"""Side of a tile in px at working size."""


_ROWS_AT_A_TIME = 256


def tile_means(values: Floats, tile: int, rows: int, columns: int) -> Floats:
    """Give the mean of `rows` x `columns` tiles from the upper left corner on."""
    whole = values[: rows * tile, : columns * tile]
    return np.asarray(cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_AREA), np.float32)


def tile_maxima(values: NDArray[np.uint8], tile: int, rows: int, columns: int) -> Floats:
    """Give the largest value of `rows` x `columns` tiles from the upper left corner on."""
    whole = values[: rows * tile, : columns * tile]
    by_row = whole.reshape(rows, tile, columns * tile).max(axis=1)
    return np.asarray(np.maximum.reduceat(by_row, np.arange(0, columns * tile, tile), axis=1), np.float32)


def grid(shape: tuple[int, ...], tile: int = TILE) -> tuple[int, int]:
    """Give how many tiles fit, with 8 px to spare for differences that reach over the edge."""
    return (shape[0] - 8) // tile, (shape[1] - 8) // tile


def quantiles(values: Floats, shares: tuple[float, ...]) -> list[float]:
    """Give the values below which these shares lie, without interpolation."""
    ordered = np.sort(values, axis=None)
    return [float(ordered[min(ordered.size - 1, int(share * ordered.size))]) for share in shares]


def row_quantiles(values: Floats, shares: tuple[float, ...]) -> Floats:
    """Give for each row the values below which these shares lie, without interpolation: row x share."""
    ordered = np.sort(values, axis=1)
    size = ordered.shape[1]
    return np.asarray(ordered[:, [min(size - 1, int(share * size)) for share in shares]], np.float32)


def row_medians(values: Floats) -> Floats:
    """Give the median of each row, as `numpy.median` does in several times the time."""
    ordered = np.sort(values, axis=1)
    size = ordered.shape[1]
    return np.asarray((ordered[:, size // 2] + ordered[:, (size - 1) // 2]) / 2, np.float32)


def quantile(values: NDArray[np.float32 | np.uint8], share: float) -> float:
    """Give the value below which a share lies, interpolated as by `numpy.quantile`, in a fraction of its time."""
    at = share * (values.size - 1)
    below = int(at)
    above = min(below + 1, values.size - 1)
    low, high = np.partition(values, (below, above), axis=None)[[below, above]].tolist()
    return float(low + (high - low) * (at - below))


def projections(rows: Floats, basis: Floats) -> Floats:
    """Give the product of each vector of a basis with each of many rows, a few hundred rows at a time.

    A linear algebra library would share out the whole among threads, which costs more than it gains, and many times
    as much where other processes want the processor.
    """
    parts = [basis @ rows[at : at + _ROWS_AT_A_TIME].T for at in range(0, len(rows), _ROWS_AT_A_TIME)]
    return np.concatenate(parts, axis=1) if parts else np.zeros((len(basis), 0), np.float32)


def dense(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lay a turned or flipped view out row by row, in a fraction of the time of `numpy.ascontiguousarray`."""
    if pixels.flags.c_contiguous or 1 not in map(abs, pixels.strides):
        return np.ascontiguousarray(pixels)
    is_turned = abs(pixels.strides[1]) != 1
    rows = pixels.T if is_turned else pixels
    down, right = (-1 if stride < 0 else 1 for stride in rows.strides)
    found: cv2.typing.MatLike = rows[::down, ::right]
    if down < 0 or right < 0:
        found = cv2.flip(found, -1 if down == right else int(right < 0))
    return np.ascontiguousarray(cv2.transpose(found) if is_turned else found)


def half_size(pixels: Pixels) -> Pixels:
    """Average 2 x 2 px to one; an odd last row or column is left out."""
    height, width = pixels.shape
    even = pixels[: height // 2 * 2, : width // 2 * 2]
    halved = cv2.resize(even, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    return np.asarray(halved, pixels.dtype)


def reduced(grey: NDArray[np.uint8], long_side: int) -> NDArray[np.uint8]:
    """Average the picture down to a long side of at most `long_side` pixels; a smaller one stays as it is."""
    while max(grey.shape) >= 2 * long_side and min(grey.shape) >= 2:  # halving is by far the fastest step
        grey = half_size(grey)
    scale = long_side / max(grey.shape)
    if scale >= 1:
        return grey
    height, width = (max(1, round(side * scale)) for side in grey.shape)
    return np.asarray(cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
