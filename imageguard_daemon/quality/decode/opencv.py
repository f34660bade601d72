"""What OpenCV decodes, in less time than Pillow or where Pillow does not; touches no disk.

Whatever it refuses is for Pillow, which has the last word on what is damaged.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from imageguard_daemon.quality.decode.luma import Grey, grey_of, scaled_to_8_bit
from imageguard_daemon.quality.decode.png import Png, is_flawless

_ANIMATION, _ALPHA = 0x02, 0x10
_COLOURS = 3
"""Channels of a picture in colour, and axes of its array."""
_must_be_quiet = True


def prepare_worker() -> None:
    """Let libpng say what it likes: a process that does nothing else has a standard error of its own."""
    global _must_be_quiet  # noqa: PLW0603 - so is libpng's output
    _must_be_quiet = False


def pixels_of(data: bytes, flags: int = cv2.IMREAD_UNCHANGED) -> NDArray[np.generic] | None:
    """Decode to height x width or height x width x channels (BGR, BGRA), of any depth; None when it refuses.

    Raises:
        MemoryError: there is not enough.
    """
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise MemoryError from error
        return None


def png_grey(png: Png) -> Grey | None:
    """Give the luma of a PNG file, height x width uint8; None when OpenCV does not read it, or not to the last row.

    In somebody else's process it is not asked to read what its libpng would print something about.
    """
    if png.has_transparent_grey or (_must_be_quiet and not is_flawless(png)):
        return None
    return _grey(png.pixels, _flags(png))


def png_colours(png: Png) -> Grey | None:
    """Give the colours, height x width x 3, of a PNG file whose luma `png_grey` gave, from the same samples."""
    return _colours(png.pixels, _flags(png)) if png.has_colours else None


def _flags(png: Png) -> int:
    return _IN_COLOUR if png.depth <= 8 and png.is_opaque else cv2.IMREAD_UNCHANGED


def webp_grey(data: bytes) -> Grey | None:
    """Give the luma of a WebP still in which nothing is transparent; None when it is none, or damaged."""
    return _grey(data, _IN_COLOUR) if _is_plain_webp(data) else None


def webp_colours(data: bytes) -> Grey | None:
    """Give the colours, height x width x 3, of a WebP still whose luma `webp_grey` gave."""
    return _colours(data, _IN_COLOUR)


_IN_COLOUR = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION


def _grey(data: bytes, flags: int) -> Grey | None:
    pixels = pixels_of(data, flags)
    return None if pixels is None else grey_of(scaled_to_8_bit(pixels), bgr=True)


def _colours(data: bytes, flags: int) -> Grey | None:
    pixels = pixels_of(data, flags)
    return None if pixels is None else rgb_of(scaled_to_8_bit(pixels))


def rgb_of(pixels: Grey) -> Grey | None:
    """Give pixels as OpenCV has them in the order of everybody else; None when they are grey or transparent."""
    if pixels.ndim != _COLOURS or pixels.shape[2] != _COLOURS:
        return None
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8)


def _is_plain_webp(data: bytes) -> bool:
    kind = data[12:16]
    if kind == b"VP8X":
        return not data[20] & (_ANIMATION | _ALPHA)
    # In a lossless stream, the bit after the signature and two sizes of 14 bits tells of transparency.
    return kind == b"VP8 " or (kind == b"VP8L" and len(data) > 24 and not data[24] & 0x10)
