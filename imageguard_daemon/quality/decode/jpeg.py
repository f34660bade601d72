"""JPEG: decoded strictly by libjpeg, which warns of damage that others fill up in silence; with what its headers say.

libjpeg is called by simplejpeg where that is installed, else by calls of our own (`native/jpeg.c`), which a wheel has
where libjpeg's headers were there when it was built. Both give the same pixels and the same words.

Source: ITU-T T.81, Annex B (markers) and Annex K (the tables libjpeg scales by its quality setting).
"""

import functools
import importlib
import math
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from imageguard_daemon.core.errors import ImageError, UnavailableError
from imageguard_daemon.core.model import Limits
from imageguard_daemon.quality.decode.luma import Grey, grey_of_inverted_inks
from imageguard_daemon.quality.decode.picture import (
    GLANCE_PX,
    Picture,
    hole_in,
    in_colour,
    require_no_hole,
    require_size,
)
from imageguard_daemon.quality.decode.pillow_pixels import (
    as_displayed,
    colours_of_file,
    complaint,
    converted_grey,
    facts_of_exif,
    one_line,
)

try:
    from simplejpeg import decode_jpeg
except ImportError:
    decode_jpeg = None

Pixels = NDArray[np.uint8]
"""Height x width x 1 for luma, x 4 for inks as they are stored."""
Decode = Callable[[bytes, bool], Pixels]
_MISSING = (
    "JPEG cannot be decoded: install simplejpeg, or libjpeg with its headers (Debian: libjpeg-dev) and then "
    "imageguard-daemon once more from its source"
)
MAX_SCANS = 100
"""Encoders write about ten; libtiff draws its line for JPEG here too."""
_INKS = 4
# T.81 table K.1 in zigzag order, as the tables are stored in a file.
STANDARD_LUMA: tuple[int, ...] = (
    16, 11, 12, 14, 12, 10, 16, 14, 13, 14, 18, 17, 16, 19, 24, 40,
    26, 24, 22, 22, 24, 49, 35, 37, 29, 40, 58, 51, 61, 60, 57, 51,
    56, 55, 64, 72, 92, 78, 64, 68, 87, 69, 55, 56, 80, 109, 81, 87,
    95, 98, 103, 104, 103, 62, 77, 113, 121, 112, 100, 120, 92, 101, 103, 99,
)  # fmt: skip


def _along_diagonals(at: int) -> tuple[int, int]:
    row, column = divmod(at, 8)
    diagonal = row + column
    return diagonal, row if diagonal % 2 else column  # down one diagonal, up the next


ZIGZAG = sorted(range(64), key=_along_diagonals)
"""Where each coefficient of the zigzag order stands in rows and columns (T.81, figure 5)."""
# libjpeg warns of these too; the pixels are all there.
_HARMLESS = re.compile(r"color transform|SOS parameters|JFIF revision")
_LEFT_OVER = re.compile(r" (\d+) extraneous bytes before marker 0xd9")
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_QUANTISATION_TABLES, _EXIF = 0xDB, 0xE1
# Within a scan 0xFF stands before 0 (a byte of data), a restart marker, or another 0xFF (a fill byte).
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_STAND_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})
# Tables, frames, the restart interval; of the rest, JFIF and Adobe tell how colours are stored.
_NEEDED = frozenset({_QUANTISATION_TABLES, 0xC4, 0xCC, 0xDD, *_START_OF_FRAME})
_OF_COLOURS = {0xE0: b"JFIF\0", 0xEE: b"Adobe"}


@dataclass(frozen=True, slots=True)
class JpegHeader:
    """What the markers before the first scan say."""

    width: int
    height: int
    components: int
    precision_bits: int
    tables: dict[int, tuple[int, ...]] = field(default_factory=dict)
    exif: bytes = b""
    scan_at: int = 0  # where the first scan's header begins
    frame_marker: int = 0xC0  # baseline; 0xC1 extended, 0xC2 progressive, others are rare

    @property
    def is_common(self) -> bool:
        """Whether it is a kind of JPEG that decoders read: 8 bits, sequential or progressive, Huffman-coded."""
        return self.precision_bits == 8 and self.frame_marker <= 0xC2

    @property
    def libjpeg_quality(self) -> int:
        """The libjpeg quality whose luma table does as much harm as table 0, 1 to 100."""
        table = self.tables.get(0)
        return equivalent_quality(table) if table else 100


def decode(data: bytes, limits: Limits) -> Picture:
    """Decode a JPEG file; of several pictures the first.

    Raises:
        ImageError: `corrupt`, `unsupported` or `too_large`.
    """
    if data[2:3] != b"\xff":  # whatever others make of it
        raise ImageError("corrupt", "JPEG: no marker stands at its beginning")
    header = read_header(data)
    require_size(header.width, header.height, limits)
    _require_few_scans(data, header)
    orientation, camera = facts_of_exif(header.exif)
    grey = _grey(data, header)
    if grey.shape != (header.height, header.width):
        raise ImageError("corrupt", "JPEG with two different sizes in its headers")
    _require_no_hole_in_scans(data, header.scan_at)
    width, height = as_displayed(header.width, header.height, orientation)
    picture = Picture(grey, width, height, "JPEG", camera, header.libjpeg_quality)
    whole = partial(_colours, data, header)
    return in_colour(picture, whole, partial(whole, min_px=GLANCE_PX))


def _require_few_scans(data: bytes, header: JpegHeader) -> None:
    """Refuse a bomb of time: each scan may be of ten bytes, and goes over all pixels again."""
    if has_more_scans(data, header, MAX_SCANS):
        size = f"{header.width} x {header.height}"
        raise ImageError("too_large", f"more than {MAX_SCANS} scans over {size} pixels")


def _grey(data: bytes, header: JpegHeader) -> Grey:
    """Decode the file as it is, then without its metadata, then by Pillow: each time only what is sound is taken."""
    try:
        return _luma_of(data, header)
    except ValueError:
        plain = with_plain_header(data, header)  # what libjpeg says of this one, it says of the pixels
    try:
        return _luma_of(plain, header)
    except ValueError as error:
        message = one_line(error)
        if message.startswith("Unsupported") and not header.is_common:  # lossless, 12-bit: nothing here reads them
            raise ImageError("unsupported", f"JPEG: {message}") from error
        # Unusual subsampling is allowed by the standard, and Pillow reads it: without warnings, so the file as it is.
        if "subsampling" in message or is_harmless(message, plain):
            return converted_grey(data if "subsampling" in message else plain, "JPEG")
        raise complaint("JPEG", error) from error


def _luma_of(data: bytes, header: JpegHeader) -> Grey:
    inks = header.components == _INKS
    decoded = strictly_decoded(data, inks=inks)
    return grey_of_inverted_inks(decoded) if inks else decoded[:, :, 0]


def _require_no_hole_in_scans(data: bytes, scan_at: int) -> None:
    # What follows the end of the picture (previews, films, makers' data) may be empty; it is looked for only then.
    if hole_in(data, scan_at, len(data)) is not None:
        end = data.find(b"\xff\xd9", scan_at)
        require_no_hole(data, scan_at, end if end != -1 else len(data), "JPEG")


def _colours(data: bytes, header: JpegHeader, min_px: int = 0) -> Grey | None:
    # Pillow refuses files for metadata that libjpeg, which gave the luma, passes over: it gets to see none.
    return colours_of_file(with_plain_header(data, header), "JPEG", min_px)


# --- pixels, strictly


def by_simplejpeg(data: bytes, inks: bool) -> Pixels:
    """Decode by simplejpeg."""
    return np.asarray(decode_jpeg(data, colorspace="CMYK" if inks else "GRAY"), np.uint8)


def own_decoder() -> Decode | None:
    """Give what decodes by our own calls; None where they were not compiled, or where libjpeg is not installed."""
    try:
        call = importlib.import_module("imageguard_daemon.quality.decode._jpeg").decode
    except ImportError:
        return None

    def by_own_calls(data: bytes, inks: bool) -> Pixels:
        height, width, pixels = call(data, inks)
        return np.frombuffer(pixels, np.uint8).reshape(height, width, 4 if inks else 1)

    return by_own_calls


def _chosen() -> Decode:
    found = by_simplejpeg if decode_jpeg is not None else own_decoder()
    if found is None:
        raise UnavailableError(_MISSING)
    return found


_decode = _chosen()


def strictly_decoded(data: bytes, *, inks: bool = False) -> Pixels:
    """Decode luma, or four inks.

    Raises:
        ValueError: libjpeg warned or gave up, in its words.
    """
    return _decode(data, inks)


def is_harmless(warning: str, data: bytes) -> bool:
    """Check whether libjpeg's warning is about something else than the pixels.

    Zeros before the end are padding that some cameras write. Any other bytes left over are blocks that were not read,
    because damage before made others longer.
    """
    left_over = _LEFT_OVER.search(warning)
    if left_over is None:
        return _HARMLESS.search(warning) is not None
    number, end = int(left_over[1]), data.find(b"\xff\xd9", read_header(data).scan_at)
    return number < 100 and not any(data[end - number : end])


# --- headers


def read_header(data: bytes) -> JpegHeader:
    """Read the markers up to the first scan.

    Raises:
        ImageError: `corrupt`, when they make no sense or no frame is announced.
    """
    tables: dict[int, tuple[int, ...]] = {}
    exif, frame, frame_marker, scan_at = b"", None, 0, len(data)
    for marker, at, segment in _segments(data):
        if marker == _QUANTISATION_TABLES:
            tables.update(_quantisation_tables(segment))
        elif marker == _EXIF and segment.startswith(b"Exif\0") and not exif:
            exif = segment[6:]
        elif marker in _START_OF_FRAME and frame is None and len(segment) >= 6:
            frame, frame_marker = segment[:6], marker
        elif marker == _START_OF_SCAN:
            scan_at = at
            break
    if frame is None:
        raise ImageError("corrupt", "JPEG without a frame header")
    height, width = int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big")
    return JpegHeader(width, height, frame[5], frame[0], tables, exif, scan_at, frame_marker)


def _segments(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    at = 2
    while (at := data.find(b"\xff", at)) != -1 and at + 3 < len(data):
        marker = data[at + 1]
        if marker in (0x00, 0xFF):  # stuffing and fill bytes between segments
            at += 1
        elif marker in _STAND_ALONE:
            at += 2
        else:
            length = int.from_bytes(data[at + 2 : at + 4], "big")
            yield marker, at, data[at + 4 : at + 2 + length]
            at += 2 + max(length, 2)


def with_plain_header(data: bytes, header: JpegHeader) -> bytes:
    """Give the file with nothing before its first scan but what pixels depend on.

    Metadata, and junk between segments as some cameras leave it, are not part of the picture; libjpeg complains of
    them as of damage.
    """
    kept = [b"\xff\xd8"]
    for marker, at, segment in _segments(data):
        if at >= header.scan_at:
            break
        name = _OF_COLOURS.get(marker)
        if marker in _NEEDED or (name and segment.startswith(name)):
            kept.append(data[at : at + 4] + segment)
    return b"".join([*kept, data[header.scan_at :]])


def has_more_scans(data: bytes, header: JpegHeader, most: int) -> bool:
    """Check whether a picture has more than `most` scans; of one that is whole in its first, decoders read no other."""
    at, scans = header.scan_at, 0
    if header.frame_marker <= 0xC1 and data[at + 4 : at + 5] == bytes([header.components]):
        return False
    if data.count(b"\xff\xda", at) <= most:  # as ever; only thumbnails and the like can make it too many
        return False
    while scans <= most and (found := _MARKER.search(data, at)):
        marker, at = data[found.start() + 1], found.end()
        if marker == _END_OF_IMAGE:
            break
        scans += marker == _START_OF_SCAN
        at += int.from_bytes(data[at : at + 2], "big") if marker not in _STAND_ALONE else 0
    return scans > most


def _quantisation_tables(segment: bytes) -> dict[int, tuple[int, ...]]:
    tables: dict[int, tuple[int, ...]] = {}
    at = 0
    while at < len(segment):
        size = 2 if segment[at] >> 4 else 1
        values = segment[at + 1 : at + 1 + 64 * size]
        if len(values) == 64 * size:
            tables[segment[at] & 15] = struct.unpack(">64B" if size == 1 else ">64H", values)
        at += 1 + 64 * size
    return tables


# --- quality, by the tables of quantisation


def in_zigzag(table: Sequence[int]) -> tuple[int, ...]:
    """Give a table of rows and columns, as Pillow has it, in the order of a file."""
    return tuple(table[at] for at in ZIGZAG)


@functools.cache
def luma_table(quality: int) -> tuple[int, ...]:
    """Give the luma table that libjpeg writes at a quality of 1 to 100, in zigzag order."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return tuple(min(max((base * percent + 50) // 100, 1), 255) for base in STANDARD_LUMA)


# How much the coefficients of photos vary, in zigzag order from the second on: the median of 40 web photos.
_SPREAD = (
    75, 81, 43, 41, 42, 31, 26, 29, 31, 22, 21, 21, 21, 22, 18, 16, 18, 18, 17, 18, 14, 15, 16, 16, 15, 14, 14, 11,
    11, 12, 13, 14, 12, 12, 12, 9, 10, 11, 12, 11, 9, 9, 8, 9, 10, 10, 8, 8, 7, 8, 9, 9, 7, 6, 7, 7, 7, 6, 6, 5,
    5, 5, 4,
)  # fmt: skip


@functools.lru_cache(maxsize=64)
def equivalent_quality(table: tuple[int, ...]) -> int:
    """Give the libjpeg quality, 1 to 100, whose luma table does as much harm as this one; exact for libjpeg's own.

    Other encoders spread the harm differently over the frequencies. What counts is the expected squared error:
    a coefficient that varies by s loses about q2 / 12 to a step of q, and never more than s2.
    """
    harm = _harm(table)
    by_quality = _harm_by_quality()
    exact = next((quality for quality in range(100, 0, -1) if luma_table(quality) == table), 0)
    if exact:
        return exact
    return min(range(1, 101), key=lambda quality: abs(math.log(by_quality[quality - 1] / harm)))


@functools.cache
def _harm_by_quality() -> tuple[float, ...]:
    return tuple(_harm(luma_table(quality)) for quality in range(1, 101))


def _harm(table: Sequence[int]) -> float:
    def lost(step: int, spread: int) -> float:
        return spread**2 * step**2 / (step**2 + 12 * spread**2)

    # From the second coefficient on: the first is the mean of a block, and its steps lose no detail.
    return sum(lost(step, spread) for step, spread in zip(table[1:], _SPREAD, strict=True)) or 1e-9
