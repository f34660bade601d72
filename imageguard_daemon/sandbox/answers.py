"""What processes answer: a confined one measures, pixels or areas of an image, a worker what became of a file.

What a confined process packs is read elsewhere as one would read a stranger's letter: what no honest process says
raises `ValueError`, and no image library is needed to find that out. A worker is one of us, and needs no distrust.
"""

import json
import math
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from imageguard_daemon.core import errors
from imageguard_daemon.core.errors import ImageguardError
from imageguard_daemon.core.model import FileIdentity, Measurement, Measures
from imageguard_daemon.quality.decode.formats import HANDLED
from imageguard_daemon.sandbox.losses import Cause, Loss

_TEXT_CHARACTERS = 2000
_ISSUES = frozenset({"blank", "corrupt", "unsupported", "too_large"})

THUMBNAIL_SIDE = 160
"""Pixels of the longer side at most."""
_SIZE = struct.Struct("<HH")

TILE_PX = 24
MAP_SIDE = 1024
_MAP_SIZE = struct.Struct("<HHHH")
"""Width and height at working size, rows and columns of tiles."""
BLUR_STEPS_PER_PX = 25
"""A blur of so many steps is one px; 0 is a tile in which nothing could be sharp."""
SHARE_STEPS = 200
NO_AREAS = _MAP_SIZE.pack(0, 0, 0, 0)
_FORMATS = frozenset({*HANDLED, ""})
_MEASURES = tuple(field.name for field in fields(Measures))
_PLAIN_FACTS = tuple(field.name for field in fields(Measurement) if field.name not in {"measures", "identity"})
Answer = Measurement | OSError | ImageguardError | Loss


def pack_measurement(measurement: Measurement) -> bytes:
    """Give the answer that says what was measured; what it hashes to is not found out where it was decoded."""
    facts = {
        "measures": measurement.measures and measurement.measures.as_dict(),
        "issue": measurement.issue,
        "image_format": measurement.image_format,
        "detail": measurement.detail[:_TEXT_CHARACTERS],
        "camera": measurement.camera[:_TEXT_CHARACTERS],
    }
    return json.dumps(facts).encode()


def read_measurement(answer: bytes) -> Measurement:
    """Read such an answer.

    Raises:
        ValueError: it is not what a decoder says.
    """
    try:
        return _measurement(json.loads(answer))
    except (TypeError, KeyError, RecursionError) as error:
        raise ValueError("no such answer") from error


def _measurement(said: Any) -> Measurement:
    issue, image_format = said["issue"], said["image_format"]
    measures = said["measures"] and _measures(said["measures"])
    is_one_of_both = bool(measures) != bool(issue)
    is_sensible = (not issue or issue in _ISSUES) and image_format in _FORMATS
    if not (is_one_of_both and is_sensible):
        raise ValueError("no such answer")
    if measures and not (measures.width >= 1 <= measures.height):
        raise ValueError("no such size")
    return Measurement("", measures, issue, _text(said["detail"]), _text(said["camera"]), image_format)


def _measures(said: Any) -> Measures:
    return Measures(**{name: _number(said[name]) for name in _MEASURES})


def _number(value: object) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError("not a number")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value[:_TEXT_CHARACTERS]


@dataclass(frozen=True, slots=True)
class Pixels:
    """A small picture: three bytes a pixel, row after row."""

    width: int
    height: int
    rgb: bytes


def pack_pixels(pixels: Pixels | None) -> bytes:
    """Give the answer that holds a small picture; of an image that cannot be decoded there is none."""
    return _SIZE.pack(pixels.width, pixels.height) + pixels.rgb if pixels else _SIZE.pack(0, 0)


def read_pixels(answer: bytes) -> Pixels | None:
    """Read such an answer.

    Raises:
        ValueError: its pixels do not fit its size, or its size is too large for a thumbnail.
    """
    if answer == _SIZE.pack(0, 0):
        return None
    if len(answer) <= _SIZE.size:
        raise ValueError("no such answer")
    width, height = _SIZE.unpack_from(answer)
    fits = 1 <= width <= THUMBNAIL_SIDE and 1 <= height <= THUMBNAIL_SIDE
    if not fits or len(answer) != _SIZE.size + 3 * width * height:
        raise ValueError("no such picture")
    return Pixels(width, height, answer[_SIZE.size :])


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


def pack_areas(size: tuple[int, int, int, int], steps: bytes) -> bytes:
    """Give the answer that says where an image is blurred, black and white: a byte a tile for each."""
    return _MAP_SIZE.pack(*size) + steps


def read_areas(answer: bytes) -> Areas | None:
    """Read such an answer; None where there are no tiles.

    Raises:
        ValueError: its tiles do not fit its picture.
    """
    if answer == NO_AREAS:
        return None
    if len(answer) <= _MAP_SIZE.size:
        raise ValueError("no such answer")
    width, height, rows, columns = _MAP_SIZE.unpack_from(answer)
    fits = 1 <= rows * TILE_PX <= height <= MAP_SIDE and 1 <= columns * TILE_PX <= width <= MAP_SIDE
    count, steps = rows * columns, answer[_MAP_SIZE.size :]
    if not fits or len(steps) != 3 * count:
        raise ValueError("no such map")
    blur, black, white = steps[:count], steps[count : 2 * count], steps[2 * count :]
    return Areas(
        width,
        height,
        columns,
        tuple(step / BLUR_STEPS_PER_PX or None for step in blur),
        tuple(step / SHARE_STEPS for step in black),
        tuple(step / SHARE_STEPS for step in white),
    )


def pack_answer(number: int, answer: Answer) -> dict[str, Any]:
    """Give the facts that say this about the file of a number."""
    if isinstance(answer, Measurement):
        facts = {name: getattr(answer, name) for name in _PLAIN_FACTS}  # asdict() takes ten times as long
        facts["measures"] = answer.measures and answer.measures.as_dict()
        facts["identity"] = answer.identity and [getattr(answer.identity, name) for name in FileIdentity.__slots__]
        return {"number": number, "measurement": facts}
    if isinstance(answer, Loss):
        return {"number": number, "loss": [answer.what, answer.cause.value]}
    if isinstance(answer, OSError):
        named = None if answer.filename is None else os.fsdecode(answer.filename)
        return {"number": number, "os_error": [answer.errno or 0, answer.strerror or str(answer), named]}
    return {"number": number, "error": [type(answer).__name__, list(answer.args)]}


def read_answer(facts: Mapping[str, Any]) -> Answer:
    """Read such facts; a worker is one of us, and needs no distrust."""
    if "measurement" in facts:
        plain = dict(facts["measurement"])
        measures, identity = plain.pop("measures"), plain.pop("identity")
        return Measurement(
            **plain,
            measures=Measures(**measures) if measures else None,
            identity=FileIdentity(*identity) if identity else None,
        )
    if "loss" in facts:
        return Loss(facts["loss"][0], Cause(facts["loss"][1]))
    if "os_error" in facts:
        return OSError(*facts["os_error"])
    name, arguments = facts["error"]
    error: ImageguardError = getattr(errors, name)(*arguments)
    return error
