"""Where in filed images it is sharp and clipped: a confined process looks, whoever asks meets no hostile bytes."""

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imageguard_daemon.sandbox.confined_process import ConfinedProcess, Work

if TYPE_CHECKING:
    from imageguard_daemon.config import Scoring

TILE_PX = 24
_HEADER = struct.Struct("<HHHH")
_MOST_SIDE, _MOST_TILES = 1024, 42 * 42
_STEPS_A_PIXEL, _STEPS_OF_ALL = 25, 200
_MODULE = "imageguard_daemon.sandbox.map_process"
_MOST_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Areas:
    """A picture of `width` x `height` px at working size in tiles of `TILE_PX`, row after row.

    `blur_sigma_px` is None for a tile in which nothing could be sharp; `black` and `white` are shares of its pixels.
    """

    width: int
    height: int
    columns: int
    blur_sigma_px: tuple[float | None, ...]
    black: tuple[float, ...]
    white: tuple[float, ...]


class MapMaker:
    """One confined process at a time; one that dies or hangs costs its image and is replaced."""

    def __init__(self, settings: "Scoring") -> None:
        limits = (settings.worker_memory_megabytes * 1024 * 1024, settings.max_pixels)
        self._process = ConfinedProcess(Work(_MODULE, limits, _MOST_SECONDS, _HEADER.size + 3 * _MOST_TILES))

    def make(self, data: bytes) -> bytes:
        """Give a map for `areas_of`, or nothing."""
        answer = self._process.ask(data)
        return answer if areas_of(answer) else b""

    def close(self) -> None:
        """End the process."""
        self._process.close()


def areas_of(answer: bytes) -> Areas | None:
    """Read an answer as one would read a stranger's letter: tiles that fit their picture, or nothing."""
    if len(answer) <= _HEADER.size:
        return None
    width, height, rows, columns = _HEADER.unpack_from(answer)
    fits = 1 <= rows * TILE_PX <= height <= _MOST_SIDE and 1 <= columns * TILE_PX <= width <= _MOST_SIDE
    if not fits or len(answer) != _HEADER.size + 3 * rows * columns:
        return None
    blur, black, white = (answer[_HEADER.size + at * rows * columns :][: rows * columns] for at in range(3))
    return Areas(
        width,
        height,
        columns,
        tuple(step / _STEPS_A_PIXEL or None for step in blur),
        tuple(step / _STEPS_OF_ALL for step in black),
        tuple(step / _STEPS_OF_ALL for step in white),
    )
