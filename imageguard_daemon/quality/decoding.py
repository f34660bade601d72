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
from imageguard_daemon.quality import integrity, jpeg
from imageguard_daemon.quality.luma import Grey as Grey  # noqa: PLC0414 - the features know it from here
from imageguard_daemon.quality.luma import grey_of, grey_of_inverted_inks, scaled_to_8_bit
from imageguard_daemon.quality.quiet import QUIET
from imageguard_daemon.quality.signatures import HANDLED, recognise, resemblance

_SIDEWAYS = frozenset({5, 6, 7, 8})
_TAG_MAKE, _TAG_MODEL, _TAG_ORIENTATION = 0x010F, 0x0110, 0x0112
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]+")
# libjpeg warns of these too; the pixels are all there.
_HARMLESS_IN_JPEG = re.compile(r"color transform|SOS parameters|JFIF revision")
_LEFT_OVER = re.compile(r" (\d+) extraneous bytes before marker 0xd9")
_CLAIMED_PIXELS = re.compile(r"\((\d+) pixels\)")
_PILLOW_COMPLAINTS = (
    *(OSError, SyntaxError, ValueError, TypeError, EOFError, LookupError, struct.error),
    *(zlib.error, ArithmeticError, AttributeError, RuntimeError),
)
# Of TIFF: DNG's version, a colour filter's pattern; the parts of which a camera's raw file has the picture.
_TAG_DNG_VERSION, _TAG_FILTER_PATTERN, _TAG_SUBFILE_TYPE, _TAG_SUB_IFDS = 50706, 33421, 254, 330
_TAG_COMPRESSION, _TAG_JPEG_TABLES, _JPEG_IN_TIFF = 259, 347, 7
_DEFLATE = (8, 32946)
_TAGS_OFFSETS, _TAGS_SIZES = (273, 324), (279, 325)  # of strips or tiles


@dataclass(frozen=True, slots=True)
class Limits:
    """What one image may cost."""

    max_pixels: int = 150_000_000
    max_bytes: int = 512 * 1024 * 1024
    working_long_side: int = 1024


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
        orientation, camera = _pillow_facts(image)
        width, height = _as_displayed(*image.size, 1 if name == "TIFF" else orientation)
        tables = getattr(image, "quantization", {})
        quality = jpeg.nearest_quality(tuple(tables[0])) if tables.get(0) else None
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
    orientation, camera = _exif_facts(header.exif)
    grey = _jpeg_grey(data, inks=header.components == 4)
    if grey.shape != (header.height, header.width):
        raise ImageError("corrupt", "JPEG with two different sizes in its headers")
    _require_no_hole_in_scans(data, header.scan_at)
    width, height = _as_displayed(header.width, header.height, orientation)
    return Picture(grey, width, height, "JPEG", camera, header.libjpeg_quality)


def _jpeg_grey(data: bytes, *, inks: bool) -> Grey:
    try:
        decoded = np.asarray(simplejpeg.decode_jpeg(data, colorspace="CMYK" if inks else "GRAY"), np.uint8)
    except ValueError as error:
        complaint = _one_line(error)
        if complaint.startswith("Unsupported JPEG"):  # lossless, 12-bit: intact, but nothing here reads them
            raise ImageError("unsupported", f"JPEG: {complaint}") from error
        # Unusual subsampling is allowed by the standard, and Pillow reads it.
        if "subsampling" in complaint or _is_harmless(complaint, data):
            return _jpeg_by_pillow(data)
        raise ImageError("corrupt", f"JPEG: {complaint}") from error
    return grey_of_inverted_inks(decoded) if inks else decoded[:, :, 0]


def _is_harmless(complaint: str, data: bytes) -> bool:
    """Tell whether libjpeg's warning is about something else than the pixels.

    Zeros before the end are padding that some cameras write. Any other bytes left over are blocks that were not read,
    because damage before made others longer.
    """
    left_over = _LEFT_OVER.search(complaint)
    if left_over is None:
        return _HARMLESS_IN_JPEG.search(complaint) is not None
    number, end = int(left_over[1]), data.find(b"\xff\xd9", jpeg.read_header(data).scan_at)
    return number < 100 and not any(data[end - number : end])


def _require_no_hole_in_scans(data: bytes, scan_at: int) -> None:
    # What follows the end of the picture (previews, films, makers' data) may be empty; it is looked for only then.
    if integrity.hole_in(data, scan_at, len(data), dense=False) is not None:
        end = data.find(b"\xff\xd9", scan_at)
        integrity.require_no_hole(data, scan_at, end if end != -1 else len(data), "JPEG")


def _jpeg_by_pillow(data: bytes) -> Grey:
    with pillow_guard("JPEG"), Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
        return np.asarray(image.convert("RGB").convert("L"), np.uint8)


def _exif_facts(exif: bytes) -> tuple[int, str]:
    if not exif:
        return 1, ""
    tags = Image.Exif()
    try:
        with QUIET:
            tags.load(b"Exif\0\0" + exif)
            return _facts_of_tags(tags)
    except Exception:  # noqa: BLE001 - metadata is not the image; whatever is wrong in it, the pixels are judged
        return 1, ""


def _facts_of_tags(tags: Image.Exif) -> tuple[int, str]:
    orientation = tags.get(_TAG_ORIENTATION)
    camera = camera_name(tags.get(_TAG_MAKE), tags.get(_TAG_MODEL))
    return orientation if isinstance(orientation, int) else 1, camera


def camera_name(make: object, model: object) -> str:
    """Give "Make Model" fit for a log: no control characters, at most 100 characters, the make said once."""
    maker, name = (_clean(text) if isinstance(text, str) else "" for text in (make, model))
    joined = name if maker and name.lower().startswith(maker.lower()) else f"{maker} {name}".strip()
    return joined[:100]


def _clean(text: str) -> str:
    return " ".join(_CONTROL.sub(" ", text).split())


def _as_displayed(width: int, height: int, orientation: int) -> tuple[int, int]:
    return (height, width) if orientation in _SIDEWAYS else (width, height)


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
        raise ImageError("corrupt", f"{name}: {_one_line(error)}") from error


def _decode_other(data: bytes, name: str, limits: Limits) -> Picture:
    if name == "PNG":
        data = integrity.intact_png(data)
    with pillow_guard(name), Image.open(io.BytesIO(data), formats=[name]) as image:
        require_size(*image.size, limits)
        _refuse_raw(image, data)
        orientation, camera = _pillow_facts(image)
        # Pillow turns TIFF as displayed by itself, and says that size from the start.
        width, height = _as_displayed(*image.size, 1 if name == "TIFF" else orientation)
        grey = _deep_grey(data, image) if _bits(image, data) > 8 else _pillow_grey(image)
        _require_intact(data, name, image)
        return Picture(grey, width, height, name, camera)


def _require_intact(data: bytes, name: str, image: Image.Image) -> None:
    """Look for what the decoder has not noticed."""
    if name == "WEBP":
        integrity.require_intact_webp(data)
    elif name == "AVIF":
        integrity.require_intact_avif(data)
    elif name == "TIFF":
        _require_intact_tiff(data, image)


def _require_intact_tiff(data: bytes, image: Image.Image) -> None:
    """Check the strips or tiles of the first page that are streams with a checksum or of JPEG."""
    tags = getattr(image, "tag_v2", {})
    kind = tags.get(_TAG_COMPRESSION)
    if kind not in (*_DEFLATE, _JPEG_IN_TIFF):
        return
    starts, sizes = (tags.get(pair[0], tags.get(pair[1], ())) for pair in (_TAGS_OFFSETS, _TAGS_SIZES))
    most_bytes = image.width * image.height * 16 + (1 << 20)
    for start, size in zip(starts, sizes, strict=False):
        part = data[start : start + size]
        if kind in _DEFLATE and not integrity.deflated_whole(part, most_bytes):
            raise ImageError("corrupt", "TIFF: compressed data does not fit its checksum")
        if kind == _JPEG_IN_TIFF:
            _require_intact_jpeg_part(tags.get(_TAG_JPEG_TABLES, b""), part)


def _require_intact_jpeg_part(tables: bytes, part: bytes) -> None:
    """Decode one strip strictly, as libtiff does not; its tables stand apart (TIFF Technical Note 2)."""
    whole = tables[:-2] + part[2:] if tables else part
    try:
        simplejpeg.decode_jpeg(whole, colorspace="GRAY")
    except ValueError as error:
        complaint = _one_line(error)
        beyond_us = "subsampling" in complaint or complaint.startswith("Unsupported JPEG")
        if not beyond_us and not _is_harmless(complaint, whole):
            raise ImageError("corrupt", f"TIFF: {complaint}") from error


def _refuse_raw(image: Image.Image, data: bytes) -> None:
    """Refuse cameras' raw files, which are TIFF with a small preview in front."""
    tags = getattr(image, "tag_v2", {})
    preview_first = _TAG_SUB_IFDS in tags and tags.get(_TAG_SUBFILE_TYPE, 0) == 1
    if data[8:10] == b"CR" or preview_first or _TAG_FILTER_PATTERN in tags:
        raise ImageError("unsupported", "camera RAW is not handled")
    if _TAG_DNG_VERSION in tags:
        raise ImageError("unsupported", "DNG is not handled")


def _pillow_facts(image: Image.Image) -> tuple[int, str]:
    try:
        return _facts_of_tags(image.getexif())
    except Exception:  # noqa: BLE001 - as in _exif_facts: bad metadata is no bad image
        return 1, ""


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
    return grey_of(np.asarray(image))


def _one_line(error: Exception) -> str:
    return (_clean(str(error)) or type(error).__name__)[:160]
