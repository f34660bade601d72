"""The boxes of AVIF and HEIC files: which sizes they claim, and where their coded pictures lie; pure.

Source: ISO/IEC 14496-12, 8.11.3 (iloc) and 8.11.6 (iinf); ISO/IEC 23008-12 (HEIF) for what the items are. Whatever
makes no sense here is left to the decoder: this only says where to look.
"""

import re
from collections.abc import Iterator
from itertools import islice

from imageguard_daemon.quality.decode import integrity

Span = tuple[int, int]
_CODED = frozenset({b"av01", b"hvc1", b"hev1", b"lhv1", b"avc1", b"vvc1"})
"""Items that are coded pictures; others are EXIF, XMP, or say how pictures are put together."""
_SPATIAL_EXTENT = re.compile(rb"\0\0\0\x14ispe\0{4}(.{4})(.{4})", re.DOTALL)
_MOST_ITEMS = _MOST_SPANS = 10_000
_IN_FILE, _IN_IDAT = 0, 1


def claimed_sizes(data: bytes) -> Iterator[tuple[int, int]]:
    """Give every width and height that the metadata claims: of the picture and of its parts."""
    for kind, start, end in _boxes(data, 0, len(data)):
        if kind == b"meta":
            for size in _SPATIAL_EXTENT.finditer(data, start, end):
                yield int.from_bytes(size[1], "big"), int.from_bytes(size[2], "big")


def require_no_hole(data: bytes, name: str) -> None:
    """Look for holes where coded pictures lie, and nowhere else: makers' notes are full of zeros.

    Raises:
        ImageError: `corrupt`.
    """
    for start, end in coded_pictures(data):
        integrity.require_no_hole(data, start, end, name)


def coded_pictures(data: bytes) -> list[Span]:
    """Give where the coded pictures of a file lie, from byte to byte: in order, none over another."""
    apart: list[Span] = []
    for start, end in sorted(islice(_claimed_spans(data), _MOST_SPANS)):
        if apart and start < apart[-1][1]:
            apart[-1] = (apart[-1][0], max(apart[-1][1], end))
        elif start < len(data):
            apart.append((start, end))
    return [(start, min(end, len(data))) for start, end in apart]


def _claimed_spans(data: bytes) -> Iterator[Span]:
    for kind, start, end in _boxes(data, 0, len(data)):
        if kind == b"meta":
            inside = {kind: (at, stop) for kind, at, stop in _boxes(data, start + 4, end)}
            coded = _coded_items(data, *inside.get(b"iinf", (end, end)))
            yield from _extents(data, inside.get(b"iloc", (end, end)), inside.get(b"idat", (end, end))[0], coded)


def _boxes(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    while at + 8 <= end:
        size = int.from_bytes(data[at : at + 4], "big")
        head = 16 if size == 1 else 8
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        stop = end if size == 0 else min(at + size, end)
        yield data[at + 4 : at + 8], at + head, stop
        at = max(stop, at + head)


def _coded_items(data: bytes, at: int, end: int) -> set[int]:
    """Give the numbers of the items of an `iinf` box that are coded pictures."""
    first = at + (6 if data[at : at + 1] == b"\0" else 8)
    items = set()
    for kind, start, _ in _boxes(data, first, end):
        version = data[start] if start < end else 0
        if kind == b"infe" and version >= 2:
            size = 2 if version == 2 else 4
            number = int.from_bytes(data[start + 4 : start + 4 + size], "big")
            if data[start + 6 + size : start + 10 + size] in _CODED:
                items.add(number)
    return items


class _Numbers:
    """Reads big-endian numbers one after another; past the end they are 0."""

    def __init__(self, data: bytes, at: int, end: int) -> None:
        self._data, self._at, self._end = data, at, end

    def next(self, size_bytes: int) -> int:
        """Give the next number."""
        value = int.from_bytes(self._data[self._at : min(self._at + size_bytes, self._end)], "big")
        self._at += size_bytes
        return value

    @property
    def is_past_the_end(self) -> bool:
        """Whether there was less than has been read."""
        return self._at > self._end


def _extents(data: bytes, iloc: Span, idat_at: int, coded: set[int]) -> Iterator[Span]:
    """Give the places that an `iloc` box names for the items asked for."""
    numbers = _Numbers(data, *iloc)
    version, _, sizes = numbers.next(1), numbers.next(3), numbers.next(2)
    offset_size, length_size, base_size, index_size = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    number_size = 2 if version < 2 else 4
    for _ in range(min(numbers.next(number_size), _MOST_ITEMS)):
        item = numbers.next(number_size)
        method = numbers.next(2) & 15 if version else _IN_FILE
        numbers.next(2)  # in which file
        base = numbers.next(base_size)
        for _ in range(min(numbers.next(2), _MOST_SPANS)):
            if version:
                numbers.next(index_size)
            start, length = base + numbers.next(offset_size), numbers.next(length_size)
            if numbers.is_past_the_end or not (offset_size or length_size):
                return
            if item in coded and method in (_IN_FILE, _IN_IDAT):
                start += idat_at if method == _IN_IDAT else 0
                yield start, start + length if length else len(data)
