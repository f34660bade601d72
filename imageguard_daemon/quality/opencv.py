"""Plain PNG and WebP stills, which OpenCV decodes in less time than Pillow; touches no disk.

Plain is 8 bits a sample, grey or RGB, one picture, nothing transparent. Everything else, and whatever OpenCV refuses,
is for Pillow: it knows more kinds, and has the last word on what is damaged.
"""

from collections.abc import Iterator

import cv2
import numpy as np

from imageguard_daemon.quality.luma import Grey, grey_of

_GREY_OR_RGB = (0, 2)
_NOT_PLAIN = frozenset({b"tRNS", b"acTL"})
_OLD_EXIF = b"Raw profile type"
_ANIMATION, _ALPHA = 0x02, 0x10


def plain_grey(data: bytes, name: str) -> Grey | None:
    """Give the luma of a plain still, height x width uint8; None when it is none, or damaged."""
    is_plain = (name == "PNG" and _is_plain_png(data)) or (name == "WEBP" and _is_plain_webp(data))
    if not is_plain:
        return None
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        return None
    return None if pixels is None else grey_of(np.asarray(pixels, np.uint8), bgr=True)


def png_exif(data: bytes) -> bytes:
    """Give the EXIF block of a PNG file whose chunks are whole; nothing when it has none."""
    return next((data[start:end] for kind, start, end in _png_chunks(data) if kind == b"eXIf"), b"")


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    at = 8
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : at + 8], at + 8, end
        at = end + 4


def _is_plain_png(data: bytes) -> bool:
    if data[24] != 8 or data[25] not in _GREY_OR_RGB:
        return False
    return not any(kind in _NOT_PLAIN or data.startswith(_OLD_EXIF, start) for kind, start, _ in _png_chunks(data))


def _is_plain_webp(data: bytes) -> bool:
    kind = data[12:16]
    if kind == b"VP8X":
        return not data[20] & (_ANIMATION | _ALPHA)
    # In a lossless stream, the bit after the signature and two sizes of 14 bits tells of transparency.
    return kind == b"VP8 " or (kind == b"VP8L" and len(data) > 24 and not data[24] & 0x10)
