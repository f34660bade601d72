"""The confined process that says where in an image it is sharp and clipped.

Its arguments are a socket, bytes of memory and a limit of pixels. It is sent sealed memory files and answers with a
header, then one byte a tile for each of blur, black and white. It holds nothing but its socket, and after `confine` it
can open nothing.
"""

import io
import struct
import sys

import numpy as np

from imageguard_daemon.core.errors import ImageError
from imageguard_daemon.quality.area_map import AreaMap, area_map, turned
from imageguard_daemon.quality.decode import heif
from imageguard_daemon.quality.decode.decoder import Limits, decode
from imageguard_daemon.quality.decode.exif import facts_of_image
from imageguard_daemon.quality.decode.pillow import Image
from imageguard_daemon.quality.features.tiles import Floats
from imageguard_daemon.quality.measurement import prepare_worker
from imageguard_daemon.sandbox import confinement
from imageguard_daemon.sandbox.answering import answer_all

HEADER = struct.Struct("<HHHH")
"""Width and height at working size, rows and columns of tiles."""
MOST_SIDE = 1024
MOST_TILES = 42 * 42
STEPS_A_PIXEL = 25
"""A blur of so many steps is one px; 0 is a tile in which nothing could be sharp."""
STEPS_OF_ALL = 200
_TURNED_BY_DECODER = {"HEIC", "TIFF"}


def main() -> None:
    """Serve until the other side is gone."""
    socket_number, memory_bytes, max_pixels = map(int, sys.argv[1:])
    prepare_worker()
    area_map(np.zeros((64, 64), np.uint8), MOST_SIDE)
    confinement.confine(memory_bytes, threads_needed=heif.is_available())
    limits = Limits(max_pixels=max_pixels, working_long_side=MOST_SIDE)
    answer_all(socket_number, lambda data: answer(data, limits))


def answer(data: bytes, limits: Limits) -> bytes:
    """Give an image's map in the form of the answer; a bad or tiny image gives one without tiles."""
    try:
        picture = decode(data, limits)
        found = area_map(picture.grey, limits.working_long_side)
        if found is not None and picture.image_format not in _TURNED_BY_DECODER:
            with Image.open(io.BytesIO(data), formats=[picture.image_format]) as image:
                found = turned(found, facts_of_image(image)[0])
    except ImageError:
        found = None
    except Exception:  # noqa: BLE001 - whatever a decoder says of hostile bytes, there is no map
        found = None
    return _packed(found) if found is not None else HEADER.pack(0, 0, 0, 0)


def _packed(found: AreaMap) -> bytes:
    rows, columns = found.blur_sigma_px.shape
    blur = np.nan_to_num(found.blur_sigma_px * STEPS_A_PIXEL)
    parts = (blur, found.black * STEPS_OF_ALL, found.white * STEPS_OF_ALL)
    return HEADER.pack(found.width, found.height, rows, columns) + b"".join(map(_bytes, parts))


def _bytes(values: Floats) -> bytes:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8).tobytes()


if __name__ == "__main__":
    main()
