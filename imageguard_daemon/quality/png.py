"""PNG as chunks: what its pixels depend on, and whether all of them are there; pure, standard library only.

A decoder gets nothing but that: no text, profile, gamma or time, broken or huge, can be taken for a damaged picture.
Source: PNG specification, third edition, clauses 5 (chunks), 8 (interlacing) and 11 (their contents).
"""

import zlib
from dataclasses import dataclass

from imageguard_daemon.errors import ImageError

_NEEDED = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
"""Chunks that the pixels of the first picture depend on."""
_SEEN = _NEEDED | {b"acTL", b"fcTL", b"fdAT"}
"""Chunks that somebody sees; the rest in lower case is optional, and the picture is whole without it."""
_OLD_EXIF = (b"Raw profile type exif\0", b"Raw profile type APP1\0")
_MOST_TEXT_BYTES = 1 << 20
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_GREY, _RGB, _PALETTE = 0, 2, 3
# Adam7: first row, first column, row step, column step of each of the seven passes.
_PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
_SLICE = 1 << 16
_UNPACKED_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True)
class Png:
    """A PNG file whose chunks are whole. `pixels` is the file with only those that pixels depend on."""

    pixels: bytes
    width: int
    height: int
    depth: int
    colour_type: int
    is_interlaced: bool
    has_transparent_colour: bool
    exif: bytes

    @property
    def is_opaque(self) -> bool:
        """Whether there is no way for a pixel to be transparent."""
        return self.colour_type in (_GREY, _RGB, _PALETTE) and not self.has_transparent_colour

    @property
    def has_transparent_grey(self) -> bool:
        """Whether one level of grey stands for nothing at all, which OpenCV does not read."""
        return self.colour_type == _GREY and self.has_transparent_colour


def read(data: bytes) -> Png:
    """Check the chunks of a PNG file up to IEND, the checksum of each that is seen included.

    Decoders stop at the last row and miss damage after it. A wrong checksum of metadata (text, EXIF, profile, time)
    does not make the picture corrupt.

    Raises:
        ImageError: `corrupt`, when the file ends before IEND, or a chunk that matters for pixels is damaged;
            `unsupported`, when Xcode wrote it.
    """
    kept: list[bytes | memoryview] = []
    view, at, left, exif, kinds, last = memoryview(data), 8, 0, b"", set(), b""
    while at + 12 <= len(data):
        kind, end = data[at + 4 : at + 8], at + 12 + int.from_bytes(view[at : at + 4], "big")
        if end > len(data):
            break
        _refuse_apples(kind)
        body = view[at + 8 : end - 4]
        is_whole = zlib.crc32(body, zlib.crc32(kind)) == int.from_bytes(view[end - 4 : end], "big")
        if not is_whole and (kind in _SEEN or not _is_optional(kind)):
            raise ImageError("corrupt", "PNG: a checksum does not fit its data")
        if kind == b"IDAT" != last and kind in kinds:
            raise ImageError("corrupt", "PNG: other chunks stand between its pixels")
        kinds.add(kind)
        last = kind
        if kind not in _NEEDED:
            exif = exif or (_exif_in(kind, body) if is_whole else b"")
            kept.append(view[left:at])
            left = end
        if kind == b"IEND":
            pixels = b"".join([*kept, view[left:end]]) if kept else data
            return _with_header(pixels, kinds, exif)
        at = end
    raise ImageError("corrupt", "PNG: the file ends too early")


def _refuse_apples(kind: bytes) -> None:
    if kind == b"CgBI":
        raise ImageError("unsupported", "PNG in Apple's own way (CgBI, as Xcode writes it) is not handled")


def _is_optional(kind: bytes) -> bool:
    return kind.isalpha() and kind[:1].islower()


def _with_header(pixels: bytes, kinds: set[bytes], exif: bytes) -> Png:
    header = pixels[16:29] if pixels[8:16] == b"\0\0\0\x0dIHDR" else b""
    depth, colour_type = (header[8], header[9]) if header else (0, 0)
    if depth not in _DEPTHS.get(colour_type, ()) or any(header[10:12]) or header[12] > 1:
        raise ImageError("corrupt", "PNG: the header makes no sense")
    if b"IDAT" not in kinds:
        raise ImageError("corrupt", "PNG: it has no pixels")
    width, height = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big")
    return Png(pixels, width, height, depth, colour_type, header[12] == 1, b"tRNS" in kinds, exif)


def _exif_in(kind: bytes, body: memoryview) -> bytes:
    """Give the EXIF block of a chunk, also where ImageMagick once wrote it as text."""
    if kind == b"eXIf":
        return bytes(body)
    name = next((name for name in _OLD_EXIF if bytes(body[: len(name)]) == name), None)
    if name is None or kind not in (b"tEXt", b"zTXt"):
        return b""
    try:
        text = bytes(body[len(name) :])
        if kind == b"zTXt":
            text = zlib.decompressobj().decompress(text[1:], _MOST_TEXT_BYTES)
        block = bytes.fromhex("".join(text.decode("latin-1").split("\n")[3:]))
    except (ValueError, zlib.error):
        return b""
    return block.removeprefix(b"Exif\0\0")


def require_all_rows(png: Png) -> None:
    """Count what the compressed data of the picture comes to: a decoder may leave rows that are missing black.

    Raises:
        ImageError: `corrupt`, when it makes no sense or is less than the header says.
    """
    expected = bytes_of_rows(png)
    stream, unpacked = zlib.decompressobj(), 0
    try:
        for part in _compressed(png.pixels):
            rest: bytes | memoryview = part
            while rest and unpacked < expected and not stream.eof:
                unpacked += len(stream.decompress(rest, _UNPACKED_AT_ONCE))
                rest = stream.unconsumed_tail
    except zlib.error as error:
        raise ImageError("corrupt", f"PNG: {error}") from error
    if unpacked < expected:
        raise ImageError("corrupt", f"PNG: {unpacked / expected:.0%} of its rows are there")


def bytes_of_rows(png: Png) -> int:
    """Give how many bytes all rows have, each with the number of its filter."""
    bits = png.depth * _CHANNELS[png.colour_type]
    passes = _PASSES if png.is_interlaced else ((0, 0, 1, 1),)
    total = 0
    for row, column, down, right in passes:
        columns, rows = -((column - png.width) // right), -((row - png.height) // down)
        if columns > 0 and rows > 0:
            total += rows * (1 + (columns * bits + 7) // 8)
    return total


def _compressed(data: bytes) -> "list[bytes | memoryview]":
    parts: list[bytes | memoryview] = []
    view, at = memoryview(data), 8
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(view[at : at + 4], "big")
        if data[at + 4 : at + 8] == b"IDAT":
            parts += [view[start : min(start + _SLICE, end)] for start in range(at + 8, end, _SLICE)]
        at = end + 4
    return parts
