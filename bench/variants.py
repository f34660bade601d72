"""One picture as a file of every kind that is judged, those included that Pillow reads but does not write."""

import io
import struct
import zlib
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Rgb = NDArray[np.uint8]
# Adam7: first row, first column, row step, column step of each of the seven passes (PNG, clause 8.2).
_ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
_LONG, _SHORT = 4, 3


def encoded(image: Image.Image, image_format: str, **options: object) -> bytes:
    """Give a Pillow image as a file; the options are Pillow's."""
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def _by_pillow(image_format: str, mode: str = "RGB", **options: object) -> Callable[[Rgb], bytes]:
    return lambda rgb: encoded(Image.fromarray(rgb).convert(mode), image_format, **options)


def _by_opencv(suffix: str) -> Callable[[Rgb], bytes]:
    """Write 16-bit samples, which Pillow writes in grey only."""
    return lambda rgb: cv2.imencode(suffix, rgb[..., ::-1].astype(np.uint16) * 257)[1].tobytes()


def _of_two(image_format: str, **options: object) -> Callable[[Rgb], bytes]:
    """Write an animation or pages: the picture, then a darker one."""

    def encode(rgb: Rgb) -> bytes:
        second = Image.fromarray((rgb * 0.7).astype(np.uint8))
        return encoded(Image.fromarray(rgb), image_format, save_all=True, append_images=[second], **options)

    return encode


def _half_transparent(rgb: Rgb) -> Image.Image:
    alpha = np.full(rgb.shape[:2], 255, np.uint8)
    alpha[:, : rgb.shape[1] // 8] = 96
    return Image.fromarray(np.dstack([rgb, alpha]))


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """Give one chunk with its length and checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def interlaced_png(rgb: Rgb) -> bytes:
    """Write PNG with Adam7 interlacing and no row filter."""
    height, width = rgb.shape[:2]
    passes = (rgb[row::down, column::right] for row, column, down, right in _ADAM7)
    rows = b"".join(b"\0" + line.tobytes() for part in passes if part.size for line in part)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 1)
    compressed = zlib.compress(rows)
    split = range(0, len(compressed), 8192)
    data = b"".join(png_chunk(b"IDAT", compressed[at : at + 8192]) for at in split)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + data + png_chunk(b"IEND", b"")


def tiled_tiff(rgb: Rgb, *, deflate: bool = False) -> bytes:
    """Write TIFF in tiles of 128 x 128 (TIFF 6.0, section 15)."""
    height, width = rgb.shape[:2]
    padded = np.pad(rgb, ((0, -height % 128), (0, -width % 128), (0, 0)), mode="edge")
    tiles = [
        padded[y : y + 128, x : x + 128].tobytes()
        for y in range(0, padded.shape[0], 128)
        for x in range(0, padded.shape[1], 128)
    ]
    tiles = [zlib.compress(tile) if deflate else tile for tile in tiles]
    offsets = [8 + sum(map(len, tiles[:number])) for number in range(len(tiles))]
    entries = {
        256: (_LONG, [width]), 257: (_LONG, [height]), 258: (_SHORT, [8, 8, 8]), 259: (_SHORT, [8 if deflate else 1]),
        262: (_SHORT, [2]), 277: (_SHORT, [3]), 284: (_SHORT, [1]), 322: (_LONG, [128]), 323: (_LONG, [128]),
        324: (_LONG, offsets), 325: (_LONG, [len(tile) for tile in tiles]),
    }  # fmt: skip
    return _tiff(b"".join(tiles), entries)


def _tiff(body: bytes, entries: dict[int, tuple[int, list[int]]]) -> bytes:
    directory_at = 8 + len(body) + len(body) % 2
    values_at = directory_at + 2 + 12 * len(entries) + 4
    directory, values = struct.pack("<H", len(entries)), b""
    for tag, (kind, numbers) in entries.items():
        packed = struct.pack(f"<{len(numbers)}{'I' if kind == _LONG else 'H'}", *numbers)
        where = packed.ljust(4, b"\0") if len(packed) <= 4 else struct.pack("<I", values_at + len(values))
        values += packed if len(packed) > 4 else b""
        directory += struct.pack("<HHI", tag, kind, len(numbers)) + where
    head = b"II*\0" + struct.pack("<I", directory_at)
    return head + body.ljust(directory_at - 8, b"\0") + directory + bytes(4) + values


def rle_bmp(rgb: Rgb) -> bytes:
    """Write BMP with a palette and runs (BI_RLE8)."""
    image = Image.fromarray(rgb).quantize(256)
    palette = np.zeros((256, 4), np.uint8)
    colours = np.array(image.getpalette(), np.uint8).reshape(-1, 3)
    palette[: len(colours), :3] = colours[:, ::-1]
    rows = b"".join(_runs(line) + b"\0\0" for line in np.asarray(image)[::-1])[:-2] + b"\0\1"
    offset = 14 + 40 + 1024
    info = struct.pack("<IiiHHIIiiII", 40, image.width, image.height, 1, 8, 1, len(rows), 2835, 2835, 256, 0)
    return b"BM" + struct.pack("<IHHI", offset + len(rows), 0, 0, offset) + info + palette.tobytes() + rows


def _runs(line: NDArray[np.uint8]) -> bytes:
    starts = np.flatnonzero(np.diff(line.astype(int), prepend=-1))
    lengths = np.diff(starts, append=len(line))
    out = bytearray()
    for value, length in zip(line[starts].tolist(), lengths.tolist(), strict=True):
        for at in range(0, length, 255):
            out += bytes((min(255, length - at), value))
    return bytes(out)


VARIANTS: dict[str, Callable[[Rgb], bytes]] = {
    "jpeg": _by_pillow("JPEG", quality=90),
    "jpeg optimized": _by_pillow("JPEG", quality=85, optimize=True),
    "jpeg 4:4:4 q60": _by_pillow("JPEG", quality=60, subsampling=0),
    "jpeg progressive": _by_pillow("JPEG", quality=90, progressive=True),
    "jpeg restarts": _by_pillow("JPEG", quality=90, restart_marker_rows=1),
    "jpeg grey": _by_pillow("JPEG", "L", quality=90),
    "jpeg cmyk": _by_pillow("JPEG", "CMYK", quality=90),
    "png": _by_pillow("PNG", compress_level=2),
    "png 16 bit": _by_opencv(".png"),
    "png interlaced": interlaced_png,
    "png palette": _by_pillow("PNG", "P"),
    "webp": _by_pillow("WEBP", quality=80, method=1),
    "webp lossless": _by_pillow("WEBP", lossless=True, quality=20, method=1),
    "webp alpha": lambda rgb: encoded(_half_transparent(rgb), "WEBP", quality=80, method=1),
    "webp animated": _of_two("WEBP", quality=80, method=0),
    "tiff": _by_pillow("TIFF"),
    "tiff 16 bit": _by_opencv(".tiff"),
    "tiff lzw": _by_pillow("TIFF", compression="tiff_lzw"),
    "tiff deflate": _by_pillow("TIFF", compression="tiff_adobe_deflate"),
    "tiff jpeg": _by_pillow("TIFF", compression="jpeg", quality=90),
    "tiff g4": _by_pillow("TIFF", "1", compression="group4"),
    "tiff tiles": tiled_tiff,
    "tiff tiles deflate": lambda rgb: tiled_tiff(rgb, deflate=True),
    "tiff two pages": _of_two("TIFF", compression="tiff_lzw"),
    "gif": _by_pillow("GIF"),
    "gif animated": _of_two("GIF"),
    "bmp": _by_pillow("BMP"),
    "bmp rle": rle_bmp,
    "avif": _by_pillow("AVIF", quality=75, speed=9),
}
