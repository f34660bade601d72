"""The task of saying where in an image it is sharp and clipped."""

import io
from dataclasses import replace

import numpy as np

from imageguard_daemon.core.errors import ImageError
from imageguard_daemon.core.model import Limits
from imageguard_daemon.quality.area_map import AreaMap, area_map, turned
from imageguard_daemon.quality.decode import heif
from imageguard_daemon.quality.decode.decoder import decode
from imageguard_daemon.quality.decode.pillow import Image
from imageguard_daemon.quality.decode.pillow_pixels import facts_of_image
from imageguard_daemon.quality.features.tiles import Floats
from imageguard_daemon.quality.measurement import prepare_worker
from imageguard_daemon.sandbox.answers import (
    BLUR_STEPS_PER_PX,
    MAP_SIDE,
    NO_AREAS,
    SHARE_STEPS,
    Areas,
    pack_areas,
    read_areas,
)
from imageguard_daemon.sandbox.tasks import KNOWN_PICTURE, Task, size_complaint

_TURNED_BY_DECODER = {"HEIC", "TIFF"}


def task(_readout: bytes | None = None) -> Task[Areas | None]:
    """Give the task."""
    return Task(run=run, read=read_areas, prepare=prepare, prove=prove, threads_needed=heif.is_available())


def run(data: bytes, limits: Limits) -> bytes:
    """Give an image's map, packed; a bad or tiny image gives one without tiles."""
    try:
        picture = decode(data, replace(limits, working_long_side=MAP_SIDE))
        tiles = area_map(picture.grey, MAP_SIDE)
        if tiles is not None and picture.image_format not in _TURNED_BY_DECODER:
            with Image.open(io.BytesIO(data), formats=[picture.image_format]) as image:
                tiles = turned(tiles, facts_of_image(image)[0])
    except ImageError:
        tiles = None
    except Exception:  # noqa: BLE001 - whatever a decoder says of hostile bytes, there is no map
        tiles = None
    return _packed(tiles) if tiles is not None else NO_AREAS


def prepare() -> None:
    """Load what is needed."""
    prepare_worker()
    area_map(np.zeros((64, 64), np.uint8), MAP_SIDE)


def prove() -> str:
    """Decode a known picture; say what is wrong, if anything is."""
    picture = decode(KNOWN_PICTURE, Limits())
    return size_complaint((picture.width, picture.height))


def _packed(tiles: AreaMap) -> bytes:
    rows, columns = tiles.blur_sigma_px.shape
    blur = np.nan_to_num(tiles.blur_sigma_px * BLUR_STEPS_PER_PX)
    parts = (blur, tiles.black * SHARE_STEPS, tiles.white * SHARE_STEPS)
    steps = b"".join(map(_bytes, parts))
    return pack_areas((tiles.width, tiles.height, rows, columns), steps)


def _bytes(values: Floats) -> bytes:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8).tobytes()
