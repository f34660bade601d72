"""HEIC, the format of phones, by libheif, and AVIF by Pillow; with the boxes that both are made of.

HEIC is an extra, since few servers meet it and decoders are what attackers aim at. Pillow's own list of formats is left
as it is: a program that uses this library decides by itself what it opens.

Source: ISO/IEC 14496-12, 8.11.3 (iloc) and 8.11.6 (iinf); ISO/IEC 23008-12 (HEIF) for what the items are. What
makes no sense in the boxes is left to the decoders: they are only read to know where to look.
"""

import importlib.util
import re
from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imageguard_daemon.core.errors import ImageError
from imageguard_daemon.core.model import Limits
from imageguard_daemon.quality.decode.luma import Grey, grey_of
from imageguard_daemon.quality.decode.picture import Picture, in_colour, require_no_hole, require_size
from imageguard_daemon.quality.decode.pillow_pixels import (
    as_displayed,
    colours_of_file,
    complaint,
    facts_of_exif,
    facts_of_image,
    grey_of_image,
    one_line,
    opened,
    pillow_guard,
)

Span = tuple[int, int]
_CODED = frozenset({b"av01", b"hvc1", b"hev1", b"lhv1", b"avc1", b"vvc1"})
"""Items that are coded pictures; others are EXIF, XMP, or say how pictures are put together."""
_SPATIAL_EXTENT = re.compile(rb"\0\0\0\x14ispe\0{4}(.{4})(.{4})", re.DOTALL)
_MAX_ITEMS = _MAX_SPANS = 10_000
_IN_FILE, _IN_IDAT = 0, 1
_NOT_OURS = ("Unsupported feature", "Unsupported codec", "Unsupported file-type")
_WITH_CHANNELS = 3


def decode_heic(data: bytes, limits: Limits) -> Picture:
    """Decode the primary picture of a HEIC file.

    Raises:
        ImageError: `corrupt`, `too_large`; `unsupported`, without the extra or for another codec than HEVC.
    """
    for size in claimed_sizes(data):
        require_size(*size, limits)  # before libheif, which calls a claim beyond its own limit an error
    file = opened_heic(data)
    width, height = file.size
    require_size(width, height, limits)
    grey = grey_of(pixels_of(file))
    # After the pixels: what libheif calls damaged has a better reason than a hole that it passes over in silence.
    _require_no_hole_in_pictures(data, "HEIC")
    # The container says by itself how it is turned; EXIF only repeats it.
    _, camera = facts_of_exif((file.info.get("exif") or b"").removeprefix(b"Exif\0\0"))
    return in_colour(Picture(grey, width, height, "HEIC", camera), partial(_heic_colours, data))


def _heic_colours(data: bytes) -> Grey | None:
    pixels = pixels_of(opened_heic(data))
    return pixels if pixels.ndim == _WITH_CHANNELS and pixels.shape[2] == _WITH_CHANNELS else None


def decode_avif(data: bytes, limits: Limits) -> Picture:
    """Decode an AVIF file, of an animation the first picture.

    Raises:
        ImageError: `corrupt` or `too_large`.
    """
    for size in claimed_sizes(data):
        require_size(*size, limits)  # before libavif, which calls a claim beyond its own limit nonsense
    with pillow_guard("AVIF"), opened(data, "AVIF") as image:
        require_size(*image.size, limits)
        grey = grey_of_image(image)
        _require_no_hole_in_pictures(data, "AVIF")
        orientation, camera = facts_of_image(image)
        picture = Picture(grey, *as_displayed(*image.size, orientation), "AVIF", camera)
    return in_colour(picture, partial(colours_of_file, data, "AVIF"))


# --- libheif


def is_available() -> bool:
    """Check whether the extra is installed; loads nothing."""
    return importlib.util.find_spec("pi_heif") is not None


def prepare_worker() -> None:
    """Load what a confined process cannot load later, and keep the decoder to the one thread it may have."""
    if is_available():
        from pi_heif import options  # noqa: PLC0415 - an extra

        options.DECODE_THREADS = 1
        options.THUMBNAILS = options.DEPTH_IMAGES = options.AUX_IMAGES = False  # nothing is read that is not judged


def opened_heic(data: bytes) -> Any:
    """Read the header: gives pi-heif's file, whose `size` is as displayed, with the primary picture chosen.

    Raises:
        ImageError: `unsupported`, without the extra or for another codec than HEVC; `corrupt`.
    """
    if not is_available():
        raise ImageError("unsupported", "HEIC is not handled without pip install 'imageguard-daemon[heic]'")
    import pi_heif  # noqa: PLC0415 - an extra

    try:
        opened_file = pi_heif.open_heif(data)
    except Exception as error:
        raise _as_image_error(error) from error
    if not len(opened_file):
        raise ImageError("unsupported", "HEIC: it has no picture in HEVC")
    return opened_file


def pixels_of(opened_file: Any) -> NDArray[np.uint8]:
    """Decode the primary picture: height x width x channels, deeper samples scaled to 8 bits, turned as displayed.

    Raises:
        ImageError: `unsupported` or `corrupt`.
    """
    try:
        return np.asarray(_Owned(opened_file))
    except Exception as error:
        raise _as_image_error(error) from error


class _Owned:
    """Pixels as they lie in the memory of pi-heif's file, which NumPy keeps as long as any array looks into it.

    pi-heif gives out bare memory, which is freed with the file whoever still looks at it.
    """

    def __init__(self, opened_file: Any) -> None:
        pixels = np.asarray(opened_file, np.uint8)
        self._owner = opened_file, pixels
        self.__array_interface__ = pixels.__array_interface__  # the address: an array of it has this object as its base


def _as_image_error(error: Exception) -> ImageError:
    message = one_line(error)
    return ImageError("unsupported", f"HEIC: {message}") if message.startswith(_NOT_OURS) else complaint("HEIC", error)


# --- boxes


def claimed_sizes(data: bytes) -> Iterator[tuple[int, int]]:
    """Give every width and height that the metadata claims: of the picture and of its parts."""
    for kind, start, end in _boxes(data, 0, len(data)):
        if kind == b"meta":
            for size in _SPATIAL_EXTENT.finditer(data, start, end):
                yield int.from_bytes(size[1], "big"), int.from_bytes(size[2], "big")


def _require_no_hole_in_pictures(data: bytes, name: str) -> None:
    """Look for holes where coded pictures lie, and nowhere else: makers' notes are full of zeros.

    Raises:
        ImageError: `corrupt`.
    """
    for start, end in coded_pictures(data):
        require_no_hole(data, start, end, name)


def coded_pictures(data: bytes) -> list[Span]:
    """Give where the coded pictures of a file lie, from byte to byte: in order, none over another."""
    apart: list[Span] = []
    for start, end in sorted(islice(_claimed_spans(data), _MAX_SPANS)):
        begun, so_far = apart[-1] if apart else (0, 0)
        if start < so_far:  # else a hostile file would have the same bytes looked at ten thousand times
            apart[-1] = (begun, max(so_far, end))
        elif start < len(data):
            apart.append((start, end))
    return [(start, min(end, len(data))) for start, end in apart]


def _claimed_spans(data: bytes) -> Iterator[Span]:
    for kind, start, end in _boxes(data, 0, len(data)):
        if kind == b"meta":
            inside = {kind: (at, stop) for kind, at, stop in _boxes(data, start + 4, end)}
            nothing = (end, end)
            coded = _coded_items(data, *inside.get(b"iinf", nothing))
            idat_at, _ = inside.get(b"idat", nothing)
            yield from _extents(data, inside.get(b"iloc", nothing), idat_at, coded)


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
        stop = self._at + size_bytes
        value = int.from_bytes(self._data[self._at : min(stop, self._end)], "big")
        self._at = stop
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
    for _ in range(min(numbers.next(number_size), _MAX_ITEMS)):
        item = numbers.next(number_size)
        method = numbers.next(2) & 15 if version else _IN_FILE
        numbers.next(2)  # in which file
        base = numbers.next(base_size)
        for _ in range(min(numbers.next(2), _MAX_SPANS)):
            if version:
                numbers.next(index_size)
            start, length = base + numbers.next(offset_size), numbers.next(length_size)
            if numbers.is_past_the_end or not (offset_size or length_size):
                return
            if item in coded and method in (_IN_FILE, _IN_IDAT):
                start += idat_at if method == _IN_IDAT else 0
                yield start, start + length if length else len(data)
