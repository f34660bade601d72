"""A file's bytes as grey pixels and container facts, within limits; touches no disk.

Every measure is taken from luma, so luma is all that is decoded. Rules:

- The content decides the format, never the suffix.
- Of an animation or a file of several pages the first picture is judged.
- How depth and transparency become luma stands in `luma.py`, what decoders do not notice in `integrity.py`.
- Pixels keep the orientation they are stored in, as no measure depends on it; width and height are as
  displayed.
"""

import contextlib
import io
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import simplejpeg
from PIL import Image, UnidentifiedImageError

from imageguard_daemon.errors import ImageError
from imageguard_daemon.quality import heic, integrity, jpeg, tiff
from imageguard_daemon.quality.exif import as_displayed, facts_of_exif, facts_of_image, one_line
from imageguard_daemon.quality.luma import Grey as Grey  # noqa: PLC0414 - the features know it from here
from imageguard_daemon.quality.luma import grey_of, grey_of_inverted_inks, scaled_to_8_bit
from imageguard_daemon.quality.plain import plain_grey, png_exif
from imageguard_daemon.quality.quiet import QUIET
from imageguard_daemon.quality.signatures import HANDLED, recognise, resemblance

MOST_SCANS = 100
"""Encoders write about ten; libtiff draws its line for JPEG here too."""
_BAND_ROWS = 64
_CLAIMED_PIXELS = re.compile(r"\((\d+) pixels\)")
_PILLOW_COMPLAINTS = (
    *(OSError, SyntaxError, ValueError, TypeError, EOFError, LookupError, struct.error),
    *(zlib.error, ArithmeticError, AttributeError, RuntimeError),
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one image may cost."""

    max_pixels: int = 150_000_000
    max_bytes: int = 512 * 1024 * 1024
    working_long_side: int = 1024
    cpu_seconds: int = 60


@dataclass(frozen=True, slots=True)
class Picture:
    """One decoded image: luma as stored, height x width uint8, and what the container says."""

    grey: Grey
    width: int
    height: int
    image_format: str
    camera: str = ""
    table_quality: int | None = None


def decode(data: bytes, limits: Limits) -> Picture:
    """Decode an image completely.

    Raises:
        ImageError: `corrupt`, `unsupported` or `too_large`, with the reason in words.
    """
    if not data:
        raise ImageError("corrupt", "the file is empty")
    name = recognise(data)
    if not name:
        looks = resemblance(data)
        hint = f" (looks like {looks})" if looks else ""
        raise ImageError("corrupt", f"no image format recognised in the first bytes{hint}")
    if name not in HANDLED:
        raise ImageError("unsupported", f"{name} is not handled")
    if name == "HEIC":
        return _decode_heic(data, limits)
    return _decode_jpeg(data, limits) if name == "JPEG" else _decode_other(data, name, limits)


def from_grey(grey: Grey, limits: Limits) -> Picture:
    """Take pixels that are in memory already, height x width uint8.

    Raises:
        ImageError: `too_large`.
    """
    height, width = grey.shape
    require_size(width, height, limits)
    return Picture(grey, width, height, "")


def from_pillow(image: Image.Image, limits: Limits) -> Picture:
    """Take the current frame of a Pillow image, with what it still knows of the file it came from.

    Raises:
        ImageError: `too_large`; `corrupt`, when the file behind it turns out to be damaged.
    """
    require_size(*image.size, limits)
    name = image.format or ""
    with pillow_guard(name or "image"):
        image.load()
        orientation, camera = facts_of_image(image)
        width, height = as_displayed(*image.size, 1 if name == "TIFF" else orientation)
        tables = getattr(image, "quantization", {})
        quality = jpeg.equivalent_quality(jpeg.in_zigzag(tables[0])) if tables.get(0) else None
        return Picture(_pillow_grey(image), width, height, name, camera, quality)


def require_size(width: int, height: int, limits: Limits) -> None:
    """Refuse a picture that is larger than allowed, or of no size at all.

    Raises:
        ImageError: `too_large` or `corrupt`.
    """
    if width <= 0 or height <= 0:
        raise ImageError("corrupt", f"the header claims {width} x {height} pixels")
    if width * height > limits.max_pixels:
        claimed, allowed = width * height / 1e6, limits.max_pixels / 1e6
        text = f"the header claims {width} x {height} = {claimed:.0f} megapixels (limit {allowed:.0f})"
        raise ImageError("too_large", text)


# --- JPEG


def _decode_jpeg(data: bytes, limits: Limits) -> Picture:
    header = jpeg.read_header(data)
    require_size(header.width, header.height, limits)
    _require_few_scans(data, header)
    orientation, camera = facts_of_exif(header.exif)
    grey = _jpeg_grey(data, header)
    if grey.shape != (header.height, header.width):
        raise ImageError("corrupt", "JPEG with two different sizes in its headers")
    _require_no_hole_in_scans(data, header.scan_at)
    width, height = as_displayed(header.width, header.height, orientation)
    return Picture(grey, width, height, "JPEG", camera, header.libjpeg_quality)


def _require_few_scans(data: bytes, header: jpeg.JpegHeader) -> None:
    """Refuse a bomb of time: each scan may be of ten bytes, and goes over all pixels again."""
    if jpeg.has_more_scans(data, header.scan_at, MOST_SCANS):
        size = f"{header.width} x {header.height}"
        raise ImageError("too_large", f"more than {MOST_SCANS} scans over {size} pixels")


def _jpeg_grey(data: bytes, header: jpeg.JpegHeader) -> Grey:
    inks = header.components == 4
    try:
        decoded = np.asarray(simplejpeg.decode_jpeg(data, colorspace="CMYK" if inks else "GRAY"), np.uint8)
    except ValueError as error:
        complaint = one_line(error)
        if complaint.startswith("Unsupported") and not header.is_common:  # lossless, 12-bit: nothing here reads them
            raise ImageError("unsupported", f"JPEG: {complaint}") from error
        # Unusual subsampling is allowed by the standard, and Pillow reads it.
        if "subsampling" in complaint or jpeg.is_harmless(complaint, data):
            return _jpeg_by_pillow(data)
        raise ImageError("corrupt", f"JPEG: {complaint}") from error
    return grey_of_inverted_inks(decoded) if inks else decoded[:, :, 0]


def _require_no_hole_in_scans(data: bytes, scan_at: int) -> None:
    # What follows the end of the picture (previews, films, makers' data) may be empty; it is looked for only then.
    if integrity.hole_in(data, scan_at, len(data), dense=False) is not None:
        end = data.find(b"\xff\xd9", scan_at)
        integrity.require_no_hole(data, scan_at, end if end != -1 else len(data), "JPEG")


def _jpeg_by_pillow(data: bytes) -> Grey:
    with pillow_guard("JPEG"), Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
        return np.asarray(image.convert("RGB").convert("L"), np.uint8)


# --- HEIC


def _decode_heic(data: bytes, limits: Limits) -> Picture:
    for size in integrity.avif_sizes(data):
        require_size(*size, limits)  # before libheif, which calls a claim beyond its own limit an error
    opened = heic.opened(data)
    width, height = opened.size
    require_size(width, height, limits)
    grey = grey_of(heic.pixels_of(opened))
    heic.require_intact(data)
    # The container says by itself how it is turned; EXIF only repeats it.
    _, camera = facts_of_exif((opened.info.get("exif") or b"").removeprefix(b"Exif\0\0"))
    return Picture(grey, width, height, "HEIC", camera)


# --- every other format


@contextlib.contextmanager
def pillow_guard(name: str) -> Iterator[None]:
    """Turn whatever Pillow says about a bad file into ImageError, and keep its warnings quiet."""
    try:
        with QUIET:
            yield
    except UnidentifiedImageError as error:
        raise ImageError("corrupt", f"{name}: the header makes no sense") from error
    except Image.DecompressionBombError as error:
        # Pillow's own fence, which stands in front of ours unless a worker has taken it down.
        pixels = _CLAIMED_PIXELS.search(str(error))
        claim = f"{int(pixels[1]) / 1e6:.0f} megapixels" if pixels else "too many pixels"
        raise ImageError("too_large", f"the header claims {claim}") from error
    except _PILLOW_COMPLAINTS as error:
        raise ImageError("corrupt", f"{name}: {one_line(error)}") from error


def _decode_other(data: bytes, name: str, limits: Limits) -> Picture:
    if name == "PNG":
        data = integrity.intact_png(data)
    for size in integrity.avif_sizes(data) if name == "AVIF" else ():
        require_size(*size, limits)  # before libavif, which calls a claim beyond its own limit nonsense
    with pillow_guard(name), Image.open(io.BytesIO(data), formats=[name]) as image:
        require_size(*image.size, limits)
        tiff.refuse_raw(image)
        grey = plain_grey(data, name)
        # Pillow would decode a PNG file to the end, in case its EXIF comes last.
        is_decoded = name == "PNG" and grey is not None
        orientation, camera = facts_of_exif(png_exif(data)) if is_decoded else facts_of_image(image)
        # Pillow turns TIFF as displayed by itself, and says that size from the start.
        width, height = as_displayed(*image.size, 1 if name == "TIFF" else orientation)
        if grey is None:
            grey = _deep_grey(data, image) if _bits(image, data) > 8 else _pillow_grey(image)
        _require_intact(data, name, image)
        return Picture(grey, width, height, name, camera)


def _require_intact(data: bytes, name: str, image: Image.Image) -> None:
    """Look for what the decoder has not noticed."""
    if name == "WEBP":
        integrity.require_intact_webp(data)
    elif name == "GIF":
        integrity.require_intact_gif(data)
    elif name == "AVIF":
        integrity.require_intact_avif(data)
    elif name == "TIFF":
        tiff.require_intact(data, image)


def _bits(image: Image.Image, data: bytes) -> int:
    """Give the bits of a sample: Pillow reads deep colour as 8-bit by dropping the low byte."""
    if image.format == "PNG":
        return data[24]
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return 16
    return int(max(getattr(image, "tag_v2", {}).get(258, (8,))))


def _deep_grey(data: bytes, image: Image.Image) -> Grey:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype == np.uint8:
        image.load()
        pixels = np.asarray(image)
    return grey_of(scaled_to_8_bit(pixels), bgr=True)


def _pillow_grey(image: Image.Image) -> Grey:
    image.load()
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return scaled_to_8_bit(np.asarray(image))
    if image.has_transparency_data:
        image = image.convert("LA" if image.mode in ("L", "LA", "1") else "RGBA")
    elif image.mode not in ("L", "RGB"):
        image = image.convert("RGB")
    return _grey_by_bands(image) if image.mode == "RGB" else grey_of(np.asarray(image))


def _grey_by_bands(image: Image.Image) -> Grey:
    """Take RGB out of Pillow a few rows at a time, in half the time that it takes at once."""
    width, height = image.size
    grey = np.empty((height, width), np.uint8)
    for top in range(0, height, _BAND_ROWS):
        bottom = min(top + _BAND_ROWS, height)
        grey[top:bottom] = grey_of(np.asarray(image.crop((0, top, width, bottom))))
    return grey
