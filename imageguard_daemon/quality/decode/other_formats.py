"""WebP, GIF and BMP: by Pillow, or by OpenCV where it is quicker; with the damage that both pass over."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from imageguard_daemon.core.errors import ImageError
from imageguard_daemon.core.model import Limits
from imageguard_daemon.quality.decode.luma import Grey, grey_of
from imageguard_daemon.quality.decode.opencv import IN_COLOUR, colours_by_opencv, grey_by_opencv
from imageguard_daemon.quality.decode.picture import Look, Picture, in_colour, require_no_hole, require_size
from imageguard_daemon.quality.decode.pillow import Image
from imageguard_daemon.quality.decode.pillow_pixels import (
    as_displayed,
    colours_of_file,
    facts_of_image,
    grey_of_image,
    opened,
    pillow_guard,
)

_ANIMATION, _ALPHA = 0x02, 0x10
_BGR, _RAW = 3, 3
"""Bytes of a pixel; what Pillow says of raw rows: their kind, their bytes, and whether the last one comes first."""


def decode_webp(data: bytes, limits: Limits) -> Picture:
    """Decode a WebP file, of an animation the first picture.

    Raises:
        ImageError: `corrupt` or `too_large`.
    """
    with pillow_guard("WEBP"), opened(data, "WEBP") as image:
        require_size(*image.size, limits)
        grey = quick_grey(data)
        whole: Look = partial(colours_by_opencv, data, IN_COLOUR)
        if grey is None:
            grey, whole = grey_of_image(image), partial(colours_of_file, data, "WEBP")
        require_intact_webp(data)
        # Only now: Pillow decodes the file when asked for its EXIF, and would swallow what is wrong with it.
        orientation, camera = facts_of_image(image)
        picture = Picture(grey, *as_displayed(*image.size, orientation), "WEBP", camera)
    return in_colour(picture, whole)


def quick_grey(data: bytes) -> Grey | None:
    """Give the luma of a WebP still in which nothing is transparent, by OpenCV; None when it is none, or damaged."""
    return grey_by_opencv(data, IN_COLOUR) if _is_plain_webp(data) else None


def _is_plain_webp(data: bytes) -> bool:
    kind = data[12:16]
    if kind == b"VP8X":
        return not data[20] & (_ANIMATION | _ALPHA)
    # In a lossless stream, the bit after the signature and two sizes of 14 bits tells of transparency.
    return kind == b"VP8 " or (kind == b"VP8L" and len(data) > 24 and not data[24] & 0x10)


def decode_gif(data: bytes, limits: Limits) -> Picture:
    """Decode a GIF file, of an animation the first picture.

    Raises:
        ImageError: `corrupt` or `too_large`.
    """
    with pillow_guard("GIF"):
        picture = _decode_by_pillow(data, limits, "GIF")
        require_intact_gif(data)
    return in_colour(picture, partial(colours_of_file, data, "GIF"))


def decode_bmp(data: bytes, limits: Limits) -> Picture:
    """Decode a BMP file.

    Raises:
        ImageError: `corrupt` or `too_large`.
    """
    return in_colour(_decode_by_pillow(data, limits, "BMP", _grey_as_it_lies), partial(colours_of_file, data, "BMP"))


def _grey_as_it_lies(data: bytes, image: Image.Image) -> Grey | None:
    """Give the luma of a file that is whole and has nothing but rows of blue, green and red; else None."""
    tiles = getattr(image, "tile", [])
    if image.mode != "RGB" or len(tiles) != 1:
        return None
    codec, extents, offset, how = tiles[0]
    if codec != "raw" or extents != (0, 0, *image.size) or how[0] != "BGR" or len(how) != _RAW:
        return None
    (width, height), (_, row_bytes, direction) = image.size, how
    if row_bytes < _BGR * width or offset + row_bytes * height > len(data):
        return None
    rows = np.frombuffer(data, np.uint8, row_bytes * height, offset).reshape(height, row_bytes)
    grey = grey_of(rows[:, : _BGR * width].reshape(height, width, _BGR), bgr=True)
    return np.ascontiguousarray(grey[::-1]) if direction < 0 else grey


def _decode_by_pillow(
    data: bytes,
    limits: Limits,
    name: str,
    at_once: Callable[[bytes, Image.Image], Grey | None] = lambda _data, _image: None,
) -> Picture:
    with pillow_guard(name), opened(data, name) as image:
        require_size(*image.size, limits)
        found = at_once(data, image)
        grey = grey_of_image(image) if found is None else found
        orientation, camera = facts_of_image(image)
        return Picture(grey, *as_displayed(*image.size, orientation), name, camera)


def require_intact_webp(data: bytes) -> None:
    """Look for holes in the bit streams of a WebP file, of an animation in all frames.

    Raises:
        ImageError: `corrupt`.
    """
    for kind, start, end in _riff_chunks(data, 12, len(data)):
        if kind in (b"VP8 ", b"VP8L", b"ALPH"):
            require_no_hole(data, start, end, "WEBP")


def _riff_chunks(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    while at + 8 <= end:
        kind = data[at : at + 4]
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        stop = min(at + 8 + size, end)
        if kind == b"ANMF":  # one picture of an animation: 16 bytes on where it stands, then chunks of its own
            yield from _riff_chunks(data, at + 24, stop)
        else:
            yield kind, at + 8, stop
        at += 8 + size + size % 2  # chunks begin at even places


def require_intact_gif(data: bytes) -> None:
    """Walk the blocks of a GIF: one that ends within a block, in whichever frame, was cut; a missing trailer is none.

    Raises:
        ImageError: `corrupt`.
    """
    at = 13 + _colours(data[10])  # signature, screen, and the colours of all pictures
    while at < len(data) and data[at : at + 1] in (b"!", b","):
        if data[at : at + 1] == b"!":
            at += 2
        else:  # a picture: its place and size, its own colours if it has some, and one byte for LZW
            at += 11 + (_colours(data[at + 9]) if at + 9 < len(data) else 0)
        while at < len(data) and data[at]:
            at += 1 + data[at]
        at += 1  # the empty block that ends the others
    if at > len(data):
        raise ImageError("corrupt", "GIF: the file ends too early")


def _colours(flags: int) -> int:
    """Give the bytes of a colour table, if there is one."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0
