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


def tile_means(values: Floats, tile: int, rows: int, columns: int) -> Floats:
    """Give the mean of `rows` x `columns` tiles from the upper left corner on."""
    whole = values[: rows * tile, : columns * tile]
    return np.asarray(cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_AREA), np.float32)


def tile_maxima(values: NDArray[np.uint8], tile: int, rows: int, columns: int) -> Floats:
    """Give the largest value of `rows` x `columns` tiles from the upper left corner on."""
    whole = values[: rows * tile, : columns * tile]
    by_row = whole.reshape(rows, tile, columns * tile).max(axis=1)
    return np.asarray(by_row.reshape(rows, columns, tile).max(axis=2), np.float32)


def grid(shape: tuple[int, ...], tile: int = TILE) -> tuple[int, int]:
    """Give how many tiles fit, with 8 px to spare for differences that reach over the edge."""
    return (shape[0] - 8) // tile, (shape[1] - 8) // tile


def quantiles(values: Floats, shares: tuple[float, ...]) -> list[float]:
    """Give the values below which these shares lie, without interpolation."""
    ordered = np.sort(values, axis=None)
    return [float(ordered[min(ordered.size - 1, int(share * ordered.size))]) for share in shares]


def mean_square(values: Floats) -> float:
    """Give the mean of the squares, 0 of nothing."""
    return float(cv2.norm(values, cv2.NORM_L2SQR)) / max(values.size, 1)


def half_size(pixels: Pixels) -> Pixels:
    """Average 2 x 2 px to one; an odd last row or column is left out."""
    height, width = pixels.shape
    even = pixels[: height // 2 * 2, : width // 2 * 2]
    halved = cv2.resize(even, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    return np.asarray(halved, pixels.dtype)
