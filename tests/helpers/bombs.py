"""Files of a few hundred bytes of each format that claim billions of pixels; made here, as no scanner likes them."""

import functools
import zlib

from PIL import Image

from tests.helpers.images import encoded, jpeg, photo

SIDE = 60_000
WEBP_SIDE = 16_383  # what its header can hold


@functools.cache
def bombs() -> dict[str, bytes]:
    """Give a file of each format, by its suffix, that claims `SIDE` x `SIDE` pixels."""
    return {
        "jpeg": _jpeg(),
        "png": _png(),
        "gif": _gif(),
        "bmp": b"BM"
        + bytes(8)
        + b"\x36\0\0\0\x28\0\0\0"
        + SIDE.to_bytes(4, "little") * 2
        + b"\x01\0\x18\0"
        + bytes(24),
        "tif": _tiff(),
        "webp": _webp(),
        "avif": _avif(),
    }


def _jpeg() -> bytes:
    good, side = jpeg(photo(64, 64)), SIDE.to_bytes(2, "big")
    at = good.index(b"\xff\xc0") + 5
    return good[:at] + side * 2 + good[at + 4 :]


def _png() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = SIDE.to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])
    pixels = zlib.compress(bytes(50_000_000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def _gif() -> bytes:
    size = SIDE.to_bytes(2, "little") * 2
    return b"GIF89a" + size + bytes(3) + b"," + bytes(4) + size + b"\0\x08\0;"


def _tiff() -> bytes:
    values = {256: SIDE, 257: SIDE, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: SIDE, 279: SIDE}
    entries = [
        tag.to_bytes(2, "little") + b"\x04\0\x01\0\0\0" + value.to_bytes(4, "little") for tag, value in values.items()
    ]
    return b"II*\0\x08\0\0\0" + len(entries).to_bytes(2, "little") + b"".join(entries) + bytes(4)


def _webp() -> bytes:
    webp = bytearray(encoded(Image.new("RGB", (64, 64)), "WEBP", lossless=True))
    less_one = WEBP_SIDE - 1  # two sizes less one, of 14 bits each
    webp[21:25] = (less_one | less_one << 14).to_bytes(4, "little")
    return bytes(webp)


def _avif() -> bytes:
    good = encoded(Image.new("RGB", (64, 64)), "AVIF", speed=10)
    at = good.index(b"ispe") + 8  # the image's spatial extents
    return good[:at] + SIDE.to_bytes(4, "big") * 2 + good[at + 8 :]
