"""JPEG: decoded strictly by libjpeg, which warns of damage that others fill up in silence."""

from functools import partial

from imageguard_daemon.core.errors import ImageError
from imageguard_daemon.core.model import Limits
from imageguard_daemon.quality.decode import integrity, strict_jpeg
from imageguard_daemon.quality.decode.exif import as_displayed, facts_of_exif
from imageguard_daemon.quality.decode.jpeg_headers import (
    JpegHeader,
    has_more_scans,
    is_harmless,
    read_header,
    with_plain_header,
)
from imageguard_daemon.quality.decode.luma import Grey, grey_of_inverted_inks
from imageguard_daemon.quality.decode.picture import GLANCE_PX, Picture, in_colour, require_size
from imageguard_daemon.quality.decode.pillow_pixels import colours_of_file, complaint, converted_grey, one_line

MAX_SCANS = 100
"""Encoders write about ten; libtiff draws its line for JPEG here too."""
_INKS = 4


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
        return _strictly_decoded(data, header)
    except ValueError:
        plain = with_plain_header(data, header)  # what libjpeg says of this one, it says of the pixels
    try:
        return _strictly_decoded(plain, header)
    except ValueError as error:
        message = one_line(error)
        if message.startswith("Unsupported") and not header.is_common:  # lossless, 12-bit: nothing here reads them
            raise ImageError("unsupported", f"JPEG: {message}") from error
        # Unusual subsampling is allowed by the standard, and Pillow reads it: without warnings, so the file as it is.
        if "subsampling" in message or is_harmless(message, plain):
            return converted_grey(data if "subsampling" in message else plain, "JPEG")
        raise complaint("JPEG", error) from error


def _strictly_decoded(data: bytes, header: JpegHeader) -> Grey:
    inks = header.components == _INKS
    decoded = strict_jpeg.decode(data, inks=inks)
    return grey_of_inverted_inks(decoded) if inks else decoded[:, :, 0]


def _require_no_hole_in_scans(data: bytes, scan_at: int) -> None:
    # What follows the end of the picture (previews, films, makers' data) may be empty; it is looked for only then.
    if integrity.hole_in(data, scan_at, len(data)) is not None:
        end = data.find(b"\xff\xd9", scan_at)
        integrity.require_no_hole(data, scan_at, end if end != -1 else len(data), "JPEG")


def _colours(data: bytes, header: JpegHeader, min_px: int = 0) -> Grey | None:
    # Pillow refuses files for metadata that libjpeg, which gave the luma, passes over: it gets to see none.
    return colours_of_file(with_plain_header(data, header), "JPEG", min_px)
