"""Facts in a JPEG file's headers: size, quantisation tables, EXIF; pure, standard library only.

Source: ITU-T T.81, Annex B (markers) and Annex K (the tables libjpeg scales by its quality setting).
"""

import functools
import math
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from imageguard_daemon.core.errors import ImageError

# T.81 table K.1 in zigzag order, as the tables are stored in a file.
STANDARD_LUMA: tuple[int, ...] = (
    16, 11, 12, 14, 12, 10, 16, 14, 13, 14, 18, 17, 16, 19, 24, 40,
    26, 24, 22, 22, 24, 49, 35, 37, 29, 40, 58, 51, 61, 60, 57, 51,
    56, 55, 64, 72, 92, 78, 64, 68, 87, 69, 55, 56, 80, 109, 81, 87,
    95, 98, 103, 104, 103, 62, 77, 113, 121, 112, 100, 120, 92, 101, 103, 99,
)  # fmt: skip
# Where each coefficient of the zigzag order stands in rows and columns (T.81, figure 5).
ZIGZAG = sorted(range(64), key=lambda at: (at // 8 + at % 8, at // 8 if (at // 8 + at % 8) % 2 else at % 8))
# libjpeg warns of these too; the pixels are all there.
_HARMLESS = re.compile(r"color transform|SOS parameters|JFIF revision")
_LEFT_OVER = re.compile(r" (\d+) extraneous bytes before marker 0xd9")
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
# Within a scan 0xFF stands before 0 (a byte of data), a restart marker, or another 0xFF (a fill byte).
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_STAND_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})
# Tables, frames, the restart interval; of the rest, JFIF and Adobe tell how colours are stored.
_NEEDED = frozenset({0xDB, 0xC4, 0xCC, 0xDD, *_START_OF_FRAME})
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


def read_header(data: bytes) -> JpegHeader:
    """Read the markers up to the first scan.

    Raises:
        ImageError: `corrupt`, when they make no sense or no frame is announced.
    """
    tables: dict[int, tuple[int, ...]] = {}
    exif, frame, frame_marker, scan_at = b"", None, 0, len(data)
    for marker, at, segment in _segments(data):
        if marker == 0xDB:
            tables.update(_quantisation_tables(segment))
        elif marker == 0xE1 and segment.startswith(b"Exif\0") and not exif:
            exif = segment[6:]
        elif marker in _START_OF_FRAME and frame is None and len(segment) >= 6:
            frame, frame_marker = segment[:6], marker
        elif marker == 0xDA:
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


def is_harmless(complaint: str, data: bytes) -> bool:
    """Check whether libjpeg's warning is about something else than the pixels.

    Zeros before the end are padding that some cameras write. Any other bytes left over are blocks that were not read,
    because damage before made others longer.
    """
    left_over = _LEFT_OVER.search(complaint)
    if left_over is None:
        return _HARMLESS.search(complaint) is not None
    number, end = int(left_over[1]), data.find(b"\xff\xd9", read_header(data).scan_at)
    return number < 100 and not any(data[end - number : end])


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
    nearest = min(range(1, 101), key=lambda quality: abs(math.log(by_quality[quality - 1] / harm)))
    exact = next((quality for quality in range(100, 0, -1) if luma_table(quality) == table), 0)
    return exact or nearest


@functools.cache
def _harm_by_quality() -> tuple[float, ...]:
    return tuple(_harm(luma_table(quality)) for quality in range(1, 101))


def _harm(table: Sequence[int]) -> float:
    pairs = zip(table[1:], _SPREAD, strict=True)
    return sum(spread**2 * step**2 / (step**2 + 12 * spread**2) for step, spread in pairs) or 1e-9
