"""Files of every format, colour type and depth, and damage that leaves the container in order; all seeded.

A kind is made of its coded data by a function, so that data can be cut, garbled or of fewer rows while every length
and checksum around it is right.
"""

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import numpy as np
from PIL import Image

from bench.variants import Rgb, png_chunk, rle_bmp
from imageguard_daemon.quality.decode import heif
from tests.helpers.images import encoded, noisy, photo

WIDTH, HEIGHT = 240, 176
RGB = noisy(photo(WIDTH, HEIGHT), 4)
_HUGE = 2_000_000
_TENTH = HEIGHT // 10
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class Kind:
    """One column of the matrix: how its file is made, of all rows or fewer, and where its coded data lies."""

    whole: bytes
    fewer_rows: bytes
    cut: bytes
    garbled: bytes
    metadata_broken: bytes | None = None
    metadata_huge: bytes | None = None


def _draw(seed: int = 1) -> Random:
    return Random(seed)  # noqa: S311 - damage is no secret


def _garbled(coded: bytes) -> bytes:
    """Put other bytes in the middle; none is 0xFF, which begins a marker in JPEG."""
    at, size = len(coded) // 2, min(400, len(coded) // 4)
    return coded[:at] + _draw().randbytes(size).replace(b"\xff", b"\x7f") + coded[at + size :]


# --- PNG


def _png(
    width: int, depth: int, colour_type: int, coded: bytes, extra: bytes = b"", *, interlaced: bool = False
) -> bytes:
    header = struct.pack(">IIBBBBB", width, HEIGHT, depth, colour_type, 0, 0, interlaced)
    palette = png_chunk(b"PLTE", bytes(range(256)) * 3) if colour_type == 3 else b""
    split = b"".join(png_chunk(b"IDAT", coded[at : at + 8192]) for at in range(0, len(coded), 8192))
    return _SIGNATURE + png_chunk(b"IHDR", header) + extra + palette + split + png_chunk(b"IEND", b"")


def _png_samples(depth: int, colour_type: int) -> np.ndarray:
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour_type]
    samples = np.dstack([RGB, RGB[:, :, 0]])[
        :, :, [1] if channels == 1 else [1, 3] if channels == 2 else range(channels)
    ]
    return samples.astype(np.uint16) * 257 if depth == 16 else samples >> (8 - depth)


def _png_rows(samples: np.ndarray, depth: int) -> list[bytes]:
    if depth == 16:
        lines = samples.astype(">u2")
    elif depth == 8:
        lines = samples
    else:
        bits = np.unpackbits(samples.astype(np.uint8), axis=2)[:, :, -depth:]
        lines = np.packbits(bits.reshape(len(samples), -1), axis=1)
    return [b"\0" + line.tobytes() for line in lines]


_PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def png_kind(depth: int, colour_type: int, *, interlaced: bool = False) -> Kind:
    """Give a PNG of one depth and colour type."""
    samples = _png_samples(depth, colour_type)
    parts = [samples[y::down, x::right] for y, x, down, right in _PASSES] if interlaced else [samples]
    rows = [row for part in parts for row in _png_rows(part, depth)]
    coded = zlib.compress(b"".join(rows), 1)

    def file(data: bytes, extra: bytes = b"") -> bytes:
        return _png(WIDTH, depth, colour_type, data, extra, interlaced=interlaced)

    broken = b"".join(
        png_chunk(k, b"\0\1") for k in (b"gAMA", b"cHRM", b"pHYs", b"sRGB", b"iCCP", b"zTXt", b"eXIf", b"tIME")
    )
    huge = png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(_HUGE))) + png_chunk(b"tEXt", b"b\0" + b"x" * _HUGE)
    return Kind(
        file(coded),
        file(zlib.compress(b"".join(rows[: len(rows) // 10]), 1)),
        file(coded[: len(coded) // 2]),
        file(_garbled(coded)),
        file(coded, broken),
        file(coded, huge),
    )


# --- JPEG


def jpeg_kind(mode: str = "RGB", **options: object) -> Kind:
    """Give a JPEG of one colour model and kind of coding."""
    image = Image.fromarray(RGB).convert(mode)
    whole = encoded(image, "JPEG", quality=90, **options)
    few = bytearray(encoded(image.crop((0, 0, WIDTH, _TENTH)), "JPEG", quality=90, **options))
    frame = max(few.find(b"\xff\xc0"), few.find(b"\xff\xc2"))
    few[frame + 5 : frame + 7] = HEIGHT.to_bytes(2, "big")
    start = whole.rindex(b"\xff\xda") + 14
    coded = whole[start:-2]
    exif = b"\xff\xe1\x00\x10Exif\0\0" + b"\xfe" * 8 + b"junk between segments"
    profile = b"\xff\xe2\x00\x14ICC_PROFILE\0\x09\x01aa"
    huge = (b"\xff\xe2\xff\xff" + b"x" * 65533) * 32
    return Kind(
        whole,
        bytes(few),
        whole[:start] + coded[: len(coded) // 2] + b"\xff\xd9",
        whole[:start] + _garbled(coded) + b"\xff\xd9",
        whole[:2] + exif + profile + whole[2:],
        whole[:2] + huge + whole[2:],
    )


# --- WebP


def _riff(chunks: list[tuple[bytes, bytes]]) -> bytes:
    body = b"".join(k + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for k, data in chunks)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def _chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    at, found = 12, []
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        found.append((data[at : at + 4], data[at + 8 : at + 8 + size]))
        at += 8 + size + size % 2
    return found


def webp_kind(mode: str = "RGB", **options: object) -> Kind:
    """Give a WebP of one coding."""
    image = Image.fromarray(RGB if mode == "RGB" else np.dstack([RGB, RGB[:, :, 0]]))
    chunks = _chunks(encoded(image, "WEBP", method=0, **options))
    few = _chunks(encoded(image.crop((0, 0, WIDTH, _TENTH)), "WEBP", method=0, **options))

    def file(change: Callable[[bytes], bytes], extra: bytes = b"") -> bytes:
        coded = [(k, change(body) if k in (b"VP8 ", b"VP8L") else body) for k, body in chunks]
        if extra and coded[0][0] != b"VP8X":
            size = (WIDTH - 1).to_bytes(3, "little") + (HEIGHT - 1).to_bytes(3, "little")
            coded.insert(0, (b"VP8X", (b"\x08" if mode == "RGB" else b"\x18") + bytes(3) + size))
        return _riff([*coded, (b"EXIF", extra)] if extra else coded)

    return Kind(
        file(lambda body: body),
        _riff([(k, _with_all_rows(k, body)) for k, body in few]),
        file(lambda body: body[: len(body) // 2]),
        file(_garbled),
        file(lambda body: body, b"II\xfe\xfe\xfe"),
        file(lambda body: body, bytes(_HUGE)),
    )


def _with_all_rows(kind: bytes, body: bytes) -> bytes:
    """Have the header of a coded picture of few rows claim all of them."""
    if kind == b"VP8 ":
        return body[:8] + HEIGHT.to_bytes(2, "little") + body[10:]
    if kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little") & ~(0x3FFF << 14) | (HEIGHT - 1) << 14
        return body[:1] + bits.to_bytes(4, "little") + body[5:]
    return body[:7] + (HEIGHT - 1).to_bytes(3, "little") if kind == b"VP8X" else body


# --- TIFF


def _tiff(parts: list[bytes], tags: dict[int, tuple[int, ...]], extra: tuple[int, int, int] | None = None) -> bytes:
    """Write one page of strips; all values are of 32 bits. `extra` is a tag of text: number, count, offset."""
    offsets = tuple(8 + sum(map(len, parts[:number])) for number in range(len(parts)))
    entries = tags | {273: offsets, 279: tuple(map(len, parts))}
    body = b"".join(parts)
    body += b"\0" * (len(body) % 2)
    at = 8 + len(body)
    count = len(entries) + bool(extra)
    values_at, values = at + 2 + 12 * count + 4, b""
    written = {}
    for tag, numbers in entries.items():
        packed = struct.pack(f"<{len(numbers)}I", *numbers)
        where = packed if len(numbers) == 1 else struct.pack("<I", values_at + len(values))
        values += packed if len(numbers) > 1 else b""
        written[tag] = struct.pack("<HHI", tag, 4, len(numbers)) + where
    if extra:
        number, size, offset = extra
        written[number] = struct.pack("<HHII", number, 2, size, offset or values_at + len(values))
        values += b"x" * (size if not offset else 0)
    directory = b"".join(data for _, data in sorted(written.items()))
    return b"II*\0" + struct.pack("<I", at) + body + struct.pack("<H", count) + directory + bytes(4) + values


def tiff_kind(
    samples: np.ndarray, bits: int, compression: int, *, sample_format: int = 1, planar: bool = False
) -> Kind:
    """Give a TIFF of strips of 16 rows from height x width x bands; compression 1 (none), 7 (JPEG) or 8 (Deflate)."""
    bands = samples.shape[2]
    tags: dict[int, tuple[int, ...]] = {
        256: (samples.shape[1],), 257: (samples.shape[0],), 258: (bits,) * bands, 259: (compression,),
        262: (2 if bands >= 3 else 1,),
        277: (bands,), 278: (16,), 284: (2 if planar else 1,), 339: (sample_format,) * bands,
    }  # fmt: skip
    if bands > 3:
        tags[338] = (0,) * (bands - 3)
    planes = [samples[:, :, band : band + 1] for band in range(bands)] if planar else [samples]
    strips = [
        _strip(plane[top : top + 16], bits, compression) for plane in planes for top in range(0, len(samples), 16)
    ]
    middle = len(strips) // 2
    few = _strip(samples[:2, :, :1] if planar else samples[:2], bits, compression)
    replaced = [
        [*strips[:middle], part, *strips[middle + 1 :]]
        for part in (few, _shorter(strips[middle]), _garbled(strips[middle]))
    ]
    return Kind(
        _tiff(strips, tags),
        *(_tiff(parts, tags) for parts in replaced),
        _tiff(strips, tags, (270, 500, 0x7FFFFFF0)),
        _tiff(strips, tags, (270, _HUGE, 0)),
    )


def _shorter(strip: bytes) -> bytes:
    return strip[: len(strip) // 2]


def _strip(samples: np.ndarray, bits: int, compression: int) -> bytes:
    if compression == 7:
        image = Image.fromarray(
            np.ascontiguousarray(samples if samples.shape[2] > 1 else samples[:, :, 0]).astype(np.uint8)
        )
        return encoded(image, "JPEG", quality=90, subsampling=0, keep_rgb=samples.shape[2] > 1)
    if bits == 12:
        single = (samples.reshape(len(samples), -1, 1).astype(np.uint16) >> np.arange(11, -1, -1, dtype=np.uint16)) & 1
        packed = np.packbits(single.reshape(len(samples), -1).astype(np.uint8), axis=1).tobytes()
    else:
        packed = np.ascontiguousarray(samples).tobytes()
    return zlib.compress(packed, 1) if compression == 8 else packed


# --- GIF, BMP, AVIF


def gif_kind() -> Kind:
    """Give a GIF of one picture."""
    image = Image.fromarray(RGB).quantize(256)
    whole, few = (bytearray(encoded(one, "GIF")) for one in (image, image.crop((0, 0, WIDTH, _TENTH))))
    for data in (few,):
        at = _gif_picture(data)
        data[8:10] = data[at + 7 : at + 9] = HEIGHT.to_bytes(2, "little")
    start = _gif_picture(whole) + 11
    blocks, at = [], start
    while whole[at]:
        blocks.append(bytes(whole[at : at + 1 + whole[at]]))
        at += 1 + whole[at]
    comment = b"!\xfe" + (b"\xff" + b"x" * 255) * 8000 + b"\0"
    middle = len(blocks) // 2
    garbled = [
        blocks[number][:1] + _draw(number).randbytes(len(blocks[number]) - 1) for number in range(middle, middle + 3)
    ]
    screen = 13 + 3 * 256
    return Kind(
        bytes(whole),
        bytes(few),
        bytes(whole[:start]) + b"".join(blocks[:middle]) + b"\0;",
        bytes(whole[:start]) + b"".join([*blocks[:middle], *garbled, *blocks[middle + 3 :]]) + b"\0;",
        bytes(whole[:screen]) + b"!\xff\x0bXMP DataXMP\x03abc\0" + bytes(whole[screen:]),
        bytes(whole[:screen]) + comment + bytes(whole[screen:]),
    )


def _gif_picture(data: bytearray) -> int:
    at = 13 + 3 * 256
    while data[at] == 0x21:
        at += 2
        while data[at]:
            at += 1 + data[at]
        at += 1
    return at


def bmp_kind(*, runs: bool = False) -> Kind:
    """Give a BMP of 24 bits, or of runs."""
    whole = rle_bmp(RGB) if runs else encoded(Image.fromarray(RGB), "BMP")
    few = bytearray(rle_bmp(RGB[:_TENTH]) if runs else encoded(Image.fromarray(RGB[:_TENTH]), "BMP"))
    few[22:26] = HEIGHT.to_bytes(4, "little")
    start = int.from_bytes(whole[10:14], "little")
    half = bytearray(whole[: (start + len(whole)) // 2])
    half[2:6], half[34:38] = len(half).to_bytes(4, "little"), (len(half) - start).to_bytes(4, "little")
    return Kind(
        whole, bytes(few), bytes(half), whole[:start] + _garbled(whole[start:]), whole[:2] + bytes(4) + whole[6:]
    )


def avif_kind(mode: str = "RGB", **options: object) -> Kind:
    """Give an AVIF of one picture."""
    image = Image.fromarray(RGB).convert(mode)
    whole = encoded(image, "AVIF", quality=85, speed=10, **options)
    (start, end), *_ = heif.coded_pictures(whole)
    size = (end - start).to_bytes(4, "big")
    assert whole.count(size, 0, start) == 1
    cut = whole[:start].replace(size, ((end - start) // 2).to_bytes(4, "big")) + whole[start:]
    height = b"\0\0\0\x14ispe\0\0\0\0" + WIDTH.to_bytes(4, "big")
    few = whole.replace(height + HEIGHT.to_bytes(4, "big"), height + (HEIGHT * 4).to_bytes(4, "big"))
    assert few != whole
    note = Image.Exif()
    note[0x010F], note[0x9286] = "Acme", b"comment" * 20
    exif = encoded(image, "AVIF", quality=85, speed=10, exif=note, **options).replace(b"comment", b"\xfe" * 7)
    exif = exif.replace(b"II*\0\x08\0\0\0", b"II*\0\xff\xff\xff\x7f")
    note[0x9286] = bytes(_HUGE)
    huge = encoded(image, "AVIF", quality=85, speed=10, exif=note, **options)
    return Kind(whole, few, cut, whole[:start] + _garbled(whole[start:end]) + whole[end:], exif, huge)


def _floats(rgb: Rgb) -> np.ndarray:
    return (rgb / 255).astype("<f4")


KINDS: dict[str, Callable[[], Kind]] = {
    **{f"png grey {depth}": (lambda depth=depth: png_kind(depth, 0)) for depth in (1, 2, 4, 8, 16)},
    **{f"png palette {depth}": (lambda depth=depth: png_kind(depth, 3)) for depth in (1, 2, 4, 8)},
    **{f"png rgb {depth}": (lambda depth=depth: png_kind(depth, 2)) for depth in (8, 16)},
    **{f"png grey and alpha {depth}": (lambda depth=depth: png_kind(depth, 4)) for depth in (8, 16)},
    **{f"png rgba {depth}": (lambda depth=depth: png_kind(depth, 6)) for depth in (8, 16)},
    "png rgb 8 interlaced": lambda: png_kind(8, 2, interlaced=True),
    "png grey 4 interlaced": lambda: png_kind(4, 0, interlaced=True),
    "png rgba 16 interlaced": lambda: png_kind(16, 6, interlaced=True),
    "jpeg grey": lambda: jpeg_kind("L"),
    "jpeg rgb": jpeg_kind,
    "jpeg cmyk": lambda: jpeg_kind("CMYK"),
    "jpeg progressive": lambda: jpeg_kind(progressive=True),
    "jpeg restarts": lambda: jpeg_kind(restart_marker_rows=1),
    "webp lossy": lambda: webp_kind(quality=85),
    "webp lossy and alpha": lambda: webp_kind("RGBA", quality=85),
    "webp lossless": lambda: webp_kind(lossless=True, quality=10),
    "webp lossless and alpha": lambda: webp_kind("RGBA", lossless=True, quality=10),
    "tiff rgb 8": lambda: tiff_kind(RGB, 8, 1),
    "tiff rgb 8 deflate": lambda: tiff_kind(RGB, 8, 8),
    "tiff rgb 8 jpeg": lambda: tiff_kind(RGB, 8, 7),
    "tiff grey 8 jpeg": lambda: tiff_kind(RGB[:, :, :1], 8, 7),
    "tiff rgb 8 planes deflate": lambda: tiff_kind(RGB, 8, 8, planar=True),
    "tiff rgb 12": lambda: tiff_kind(RGB.astype(np.uint16) * 16, 12, 1),
    "tiff rgb 12 deflate": lambda: tiff_kind(RGB.astype(np.uint16) * 16, 12, 8),
    "tiff rgb 16 deflate": lambda: tiff_kind(RGB.astype("<u2") * 257, 16, 8),
    "tiff rgb float deflate": lambda: tiff_kind(_floats(RGB), 32, 8, sample_format=3),
    "tiff 5 bands 8 deflate": lambda: tiff_kind(np.dstack([RGB, RGB[:, :, :2]]), 8, 8),
    "tiff 5 bands 16": lambda: tiff_kind(np.dstack([RGB, RGB[:, :, :2]]).astype("<u2") * 257, 16, 1),
    "gif": gif_kind,
    "bmp 24": bmp_kind,
    "bmp runs": lambda: bmp_kind(runs=True),
    "avif": avif_kind,
    "avif grey": lambda: avif_kind("L"),
}


def with_hole(data: bytes) -> bytes:
    """Have two sectors in the middle never written."""
    at = len(data) // 2 // 512 * 512
    return data[:at] + bytes(1024) + data[at + 1024 :]


def with_tail_of_zeros(data: bytes) -> bytes:
    """Have nothing written from a page in the last half on; of a small file, from a sector."""
    block = 4096 if len(data) > 3 * 4096 else 512
    at = (len(data) // 2 // block + 1) * block
    return data[:at] + bytes(len(data) - at)


CELLS: dict[str, Callable[[Kind], bytes | None]] = {
    "whole": lambda kind: kind.whole,
    "metadata broken": lambda kind: kind.metadata_broken,
    "metadata huge": lambda kind: kind.metadata_huge,
    "cut, container repaired": lambda kind: kind.cut,
    "garbled, checksums repaired": lambda kind: kind.garbled,
    "rows missing": lambda kind: kind.fewer_rows,
    "hole of sectors": lambda kind: with_hole(kind.whole),
    "tail of zeros": lambda kind: with_tail_of_zeros(kind.whole),
}
HARMLESS = ("whole", "metadata broken", "metadata huge")
