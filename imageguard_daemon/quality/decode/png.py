"""PNG: its chunks, what pixels depend on, and whether all of them are there.

A decoder gets nothing but that: no text, profile, gamma or time, broken or huge, can be taken for a damaged picture.
Source: PNG specification, third edition, clauses 5 (chunks), 8 (interlacing) and 11 (their contents).
"""

import itertools
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

from imageguard_daemon.core.errors import ImageError
from imageguard_daemon.core.model import Limits
from imageguard_daemon.quality.decode import opencv
from imageguard_daemon.quality.decode.luma import Grey
from imageguard_daemon.quality.decode.picture import Look, Picture, in_colour, require_size
from imageguard_daemon.quality.decode.pillow_pixels import (
    as_displayed,
    colours_of_file,
    facts_of_exif,
    grey_of_image,
    opened,
    pillow_guard,
)

_NEEDED = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
"""Chunks that the pixels of the first picture depend on."""
_SEEN = _NEEDED | {b"acTL", b"fcTL", b"fdAT"}
"""Chunks that somebody sees; the rest in lower case is optional, and the picture is whole without it."""
_OLD_EXIF = (b"Raw profile type exif\0", b"Raw profile type APP1\0")
_MAX_TEXT_BYTES = 1 << 20
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_GREY, _RGB, _PALETTE = 0, 2, 3
_OF_COLOURS = (_RGB, _PALETTE, 6)
# Adam7: first row, first column, row step, column step of each of the seven passes.
_PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
_LAST_FILTER = 4
_SIGNATURE_BYTES, _AROUND_BYTES = 8, 12
"""Before the first chunk; of each chunk what is not its body: length and kind before, checksum after."""
_EIGHT_BITS = 8
_LIBPNGS_LONGEST_SIDE = 1_000_000
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
    def has_colours(self) -> bool:
        """Whether its pixels are more than levels of grey."""
        return self.colour_type in _OF_COLOURS

    @property
    def has_transparent_grey(self) -> bool:
        """Whether one level of grey stands for nothing at all, which OpenCV does not read."""
        return self.colour_type == _GREY and self.has_transparent_colour


def decode(data: bytes, limits: Limits) -> Picture:
    """Decode a PNG file, of an animation the first picture.

    Raises:
        ImageError: `corrupt`, `unsupported` or `too_large`.
    """
    png = read(data)
    require_size(png.width, png.height, limits)
    # OpenCV takes less time, and refuses what it does not read in full; Pillow has the last word.
    grey = quick_grey(png)
    whole: Look = partial(_colours_by_opencv, png)
    if grey is None:
        whole = partial(colours_of_file, png.pixels, "PNG")
        with pillow_guard("PNG"), opened(png.pixels, "PNG") as image:
            grey = grey_of_image(image)
        require_all_rows(png)  # Pillow does not
    orientation, camera = facts_of_exif(png.exif)
    return in_colour(Picture(grey, *as_displayed(png.width, png.height, orientation), "PNG", camera), whole)


def quick_grey(png: Png) -> Grey | None:
    """Give the luma by OpenCV; None when it does not read the file, or not to the last row.

    In somebody else's process it is not asked to read what its libpng would print something about.
    """
    if png.has_transparent_grey or (opencv.must_be_quiet() and not is_flawless(png)):
        return None
    return opencv.grey_by_opencv(png.pixels, _flags(png))


def _colours_by_opencv(png: Png) -> Grey | None:
    """Give the colours of a file whose luma `quick_grey` gave, from the same samples."""
    return opencv.colours_by_opencv(png.pixels, _flags(png)) if png.has_colours else None


def _flags(png: Png) -> int:
    return opencv.IN_COLOUR if png.depth <= _EIGHT_BITS and png.is_opaque else opencv.AS_STORED


def read(data: bytes) -> Png:
    """Check the chunks of a PNG file up to IEND, the checksum of each that is seen included.

    Decoders stop at the last row and miss damage after it. A wrong checksum of metadata (text, EXIF, profile, time)
    does not make the picture corrupt.

    Raises:
        ImageError: `corrupt`, when the file ends before IEND, or a chunk that matters for pixels is damaged;
            `unsupported`, when Xcode wrote it.
    """
    kept: list[bytes | memoryview] = []
    kinds: set[bytes] = set()
    view, at, exif, last = memoryview(data), _SIGNATURE_BYTES, b"", b""
    left = 0  # where what is kept goes on: copied only where something is left out
    while at + _AROUND_BYTES <= len(data):
        kind, end = data[at + 4 : at + 8], at + _AROUND_BYTES + _number(view, at)
        if end > len(data):
            break
        _refuse_apples(kind)
        body = view[at + 8 : end - 4]
        is_whole = zlib.crc32(body, zlib.crc32(kind)) == _number(view, end - 4)
        if not is_whole and (kind in _SEEN or not _is_optional(kind)):
            raise ImageError("corrupt", "PNG: a checksum does not fit its data")
        # Clause 5.6: they stand one after another, so a decoder may end at what stands between them.
        if kind == b"IDAT" and kind in kinds and kind != last:
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


def _number(view: memoryview, at: int) -> int:
    """Read a number of four bytes, as lengths and checksums are."""
    return int.from_bytes(view[at : at + 4], "big")


def _refuse_apples(kind: bytes) -> None:
    if kind == b"CgBI":
        raise ImageError("unsupported", "PNG in Apple's own way (CgBI, as Xcode writes it) is not handled")


def _is_optional(kind: bytes) -> bool:
    return kind.isalpha() and kind[:1].islower()


def _with_header(pixels: bytes, kinds: set[bytes], exif: bytes) -> Png:
    header = pixels[16:29] if pixels[8:16] == b"\0\0\0\x0dIHDR" else bytes(13)
    depth, colour_type, compression, filtering, interlacing = header[8:]
    is_sensible = depth in _DEPTHS.get(colour_type, ()) and not compression and not filtering and interlacing <= 1
    if not is_sensible:
        raise ImageError("corrupt", "PNG: the header makes no sense")
    if b"IDAT" not in kinds:
        raise ImageError("corrupt", "PNG: it has no pixels")
    if colour_type == _PALETTE and b"PLTE" not in kinds:
        raise ImageError("corrupt", "PNG: it has no palette")
    size = memoryview(header)
    width, height = _number(size, 0), _number(size, 4)
    png = Png(pixels, width, height, depth, colour_type, interlacing == 1, b"tRNS" in kinds, exif)
    return _without_odd_opacity(png) if png.has_transparent_colour else png


def _without_odd_opacity(png: Png) -> Png:
    """Leave out what tells transparent colours if it has another length than it may have: libpng does, Pillow fails."""
    lengths = [len(body) for kind, body in _chunks(png.pixels) if kind == b"tRNS"]
    if all(length in _opacity_bytes(png) for length in lengths):
        return png
    kept, at = [png.pixels[:_SIGNATURE_BYTES]], _SIGNATURE_BYTES
    for kind, body in _chunks(png.pixels):
        end = at + _AROUND_BYTES + len(body)
        kept += [png.pixels[at:end]] if kind != b"tRNS" else []
        at = end
    return replace(png, pixels=b"".join(kept), has_transparent_colour=False)


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
            text = zlib.decompressobj().decompress(text[1:], _MAX_TEXT_BYTES)
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


def is_flawless(png: Png) -> bool:
    """Check whether libpng has nothing to say of a file: it would say so on standard error, whosever that is.

    Its pixels are unpacked for that once more.
    """
    found = [(kind, len(body) if kind != b"IDAT" else 0) for kind, body in _chunks(png.pixels)]
    colours = [(b"PLTE", 3 << png.depth)] if png.colour_type == _PALETTE else []  # one for each number there is
    opacity = [one for one in found if one[0] == b"tRNS" and one[1] in _opacity_bytes(png)]
    expected = [(b"IHDR", 13), *colours, *opacity[:1], (b"IDAT", 0), (b"IEND", 0)]
    in_order = [one for one, _ in itertools.groupby(found)] == expected
    return in_order and max(png.width, png.height) <= _LIBPNGS_LONGEST_SIDE and _has_flawless_rows(png)


def _opacity_bytes(png: Png) -> range:
    """Say how long the chunk may be that tells which colours are transparent."""
    if png.colour_type == _PALETTE:
        return range(1, (1 << png.depth) + 1)  # a byte for each colour; what is not told is opaque
    two_bytes_each = {_RGB: 6, _GREY: 2}.get(png.colour_type)
    return range(two_bytes_each, two_bytes_each + 1) if two_bytes_each else range(0)


def _has_flawless_rows(png: Png) -> bool:
    stream, at, expected = zlib.decompressobj(), 0, bytes_of_rows(png)
    try:
        for part in _compressed(png.pixels):
            rest: bytes | memoryview = part
            if rest and stream.eof:
                return False
            while rest and not stream.eof:
                rows = stream.decompress(rest, _UNPACKED_AT_ONCE)
                has_odd_filter = any(max(numbers) > _LAST_FILTER for numbers in _filters(png, rows, at))
                if has_odd_filter or at + len(rows) > expected:
                    return False
                at, rest = at + len(rows), stream.unconsumed_tail
    except zlib.error:
        return False
    return at == expected and stream.eof and not stream.unused_data


def _filters(png: Png, rows: bytes, at: int) -> Iterator[bytes]:
    """Give the numbers of the filters in a piece of all rows that begins at `at`."""
    begin = 0
    for count, size in _rows(png):
        end = begin + count * size
        before = max(0, -((begin - at) // size))  # rows of this pass that begin before the piece
        first = begin + before * size
        if filters := rows[first - at : max(0, end - at) : size]:
            yield filters
        begin = end


def bytes_of_rows(png: Png) -> int:
    """Give how many bytes all rows have, each with the number of its filter."""
    return sum(rows * size for rows, size in _rows(png))


def _rows(png: Png) -> Iterator[tuple[int, int]]:
    """Give how many rows there are of how many bytes, pass by pass."""
    bits = png.depth * _CHANNELS[png.colour_type]
    for row, column, down, right in _PASSES if png.is_interlaced else ((0, 0, 1, 1),):
        columns = -((column - png.width) // right)
        rows = -((row - png.height) // down)
        if columns > 0 and rows > 0:  # a small picture has no pixels in some passes, and then no filters either
            yield rows, 1 + (columns * bits + 7) // 8


def _compressed(data: bytes) -> Iterator[memoryview]:
    for kind, body in _chunks(data):
        if kind == b"IDAT":
            yield from (body[start : start + _SLICE] for start in range(0, len(body), _SLICE))


def _chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    view, at, kind = memoryview(data), _SIGNATURE_BYTES, b""
    while at + _AROUND_BYTES <= len(data) and kind != b"IEND":
        end = at + 8 + _number(view, at)
        kind = data[at + 4 : at + 8]
        yield kind, view[at + 8 : end]
        at = end + 4
