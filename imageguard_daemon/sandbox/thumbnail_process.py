"""The confined process that makes thumbnails; its arguments are a socket, bytes of memory and a limit of pixels.

It is sent sealed memory files and answers with plain pixels: width and height (two bytes each), then RGB. It holds
nothing but its socket, and after `confine` it can open nothing.
"""

import io
import struct
import sys

from PIL import AvifImagePlugin, Image, ImageOps

from imageguard_daemon.quality.decode.formats import HANDLED
from imageguard_daemon.sandbox import confinement
from imageguard_daemon.sandbox.answering import answer_all

SIDE = 160
"""Pixels of the longer side at most."""
HEADER = struct.Struct("<HH")


def main() -> None:
    """Serve until the other side is gone."""
    socket_number, memory_bytes, max_pixels = map(int, sys.argv[1:])
    Image.MAX_IMAGE_PIXELS = None
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    _load_what_comes_late(max_pixels)
    confinement.confine(memory_bytes)
    answer_all(socket_number, lambda data: thumbnail(data, max_pixels))


def thumbnail(data: bytes, max_pixels: int) -> bytes:
    """Give an image's thumbnail in the form of the answer; a bad image gives one without pixels."""
    Image.init()
    try:
        with Image.open(io.BytesIO(data), formats=_formats()) as image:
            if image.width * image.height > max_pixels:
                return HEADER.pack(0, 0)
            image.draft("RGB", (SIDE * 2, SIDE * 2))
            image.thumbnail((SIDE, SIDE))
            small = ImageOps.exif_transpose(image).convert("RGB")
    except Exception:  # noqa: BLE001 - whatever a decoder says of hostile bytes, there is no picture
        return HEADER.pack(0, 0)
    return HEADER.pack(*small.size) + small.tobytes()


def _formats() -> list[str]:
    """Name the formats that are handled and that Pillow reads by itself; of others there are no pictures."""
    return sorted(HANDLED & set(Image.OPEN))


def _load_what_comes_late(max_pixels: int) -> None:
    """Read an image of each format once: what libraries load at first use must be there when files are out of reach."""
    Image.init()
    for name in sorted({*_formats()} & set(Image.SAVE)):
        buffer = io.BytesIO()
        Image.new("RGB", (SIDE * 2, SIDE)).save(buffer, name)
        thumbnail(buffer.getvalue(), max_pixels)


if __name__ == "__main__":
    main()
