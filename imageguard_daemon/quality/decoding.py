"""A file's bytes as grey pixels and container facts, within limits; touches no disk.

Every measure is taken from luma, so luma is all that is decoded. Rules:

- The content decides the format, never the suffix.
- Of an animation or a file of several pages the first picture is judged.
- Transparent pixels are laid over middle grey, which is neither blown nor crushed whatever the subject is.
- 16-bit samples are scaled by the smallest of 8, 10, 12, 14, 16 bits that holds the largest one, because
  cameras and scanners store 12-bit data in 16-bit files; floating point by its own largest value, at least 1.
- Pixels keep the orientation they are stored in, as no measure depends on it; width and height are as
  displayed.
"""

import contextlib
import io
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from imageguard_daemon.errors import ImageError
from imageguard_daemon.quality import jpeg
from imageguard_daemon.quality.signatures import HANDLED, recognise, resemblance

Grey = NDArray[np.uint8]

_MIDDLE_GREY = 128
_SIDEWAYS = frozenset({5, 6, 7, 8})
_TAG_MAKE, _TAG_MODEL, _TAG_ORIENTATION = 0x010F, 0x0110, 0x0112
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]+")
# libjpeg warns of these too; the pixels are all there.
# Many bytes left over before the end are another matter: a scan that was not read.
_HARMLESS_IN_JPEG = re.compile(
    r" \d\d? extraneous bytes before marker 0xd9|color transform|SOS parameters|JFIF revision"
)
_CLAIMED_PIXELS = re.compile(r"\((\d+) pixels\)")
_PILLOW_COMPLAINTS = (
    *(OSError, SyntaxError, ValueError, TypeError, EOFError, LookupError, struct.error),
    *(zlib.error, ArithmeticError, AttributeError, RuntimeError),
)
# Of TIFF: DNG's version, a colour filter's pattern; the parts of which a camera's raw file has the picture.
_TAG_DNG_VERSION, _TAG_FILTER_PATTERN, _TAG_SUBFILE_TYPE, _TAG_SUB_IFDS = 50706, 33421, 254, 330


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
    _require_size(width, height, limits)
    return Picture(grey, width, height, "")


def _require_size(width: int, height: int, limits: Limits) -> None:
    if width <= 0 or height <= 0:
        raise ImageError("corrupt", f"the header claims {width} x {height} pixels")
    if width * height > limits.max_pixels:
        claimed, allowed = width * height / 1e6, limits.max_pixels / 1e6
        text = f"the header claims {width} x {height} = {claimed:.0f} megapixels (limit {allowed:.0f})"
        raise ImageError("too_large", text)


# --- JPEG


def _decode_jpeg(data: bytes, limits: Limits) -> Picture:
    header = jpeg.read_header(data)
    _require_size(header.width, header.height, limits)
    orientation, camera = _exif_facts(header.exif)
    grey = _jpeg_by_pillow(data) if header.components == 4 else _jpeg_grey(data)
    if grey.shape != (header.height, header.width):
        raise ImageError("corrupt", "JPEG with two different sizes in its headers")
    width, height = _as_displayed(header.width, header.height, orientation)
    return Picture(grey, width, height, "JPEG", camera, header.libjpeg_quality)


def _jpeg_grey(data: bytes) -> Grey:
    try:
        decoded = simplejpeg.decode_jpeg(data, colorspace="GRAY")
    except ValueError as error:
        if "subsampling" in str(error):  # unusual, but the standard allows it, and Pillow reads it
            return _jpeg_by_pillow(data)
        if str(error).startswith("Unsupported"):  # lossless, 12-bit: intact, but nothing here reads them
            raise ImageError("unsupported", f"JPEG: {_one_line(error)}") from error
        if not _HARMLESS_IN_JPEG.search(str(error)):
            raise ImageError("corrupt", f"JPEG: {_one_line(error)}") from error
        return _jpeg_by_pillow(data)
    return np.asarray(decoded, np.uint8)[:, :, 0]


def _jpeg_by_pillow(data: bytes) -> Grey:
    with pillow_guard("JPEG"), Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
        return np.asarray(image.convert("RGB").convert("L"), np.uint8)


def _exif_facts(exif: bytes) -> tuple[int, str]:
    if not exif:
        return 1, ""
    tags = Image.Exif()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
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
        _require_intact_png(data)
    with pillow_guard(name), Image.open(io.BytesIO(data), formats=[name]) as image:
        _require_size(*image.size, limits)
        _refuse_raw(image, data)
        orientation, camera = _pillow_facts(image)
        # Pillow turns TIFF as displayed by itself, and says that size from the start.
        width, height = _as_displayed(*image.size, 1 if name == "TIFF" else orientation)
        grey = _deep_grey(data, image) if _bits(image, data) > 8 else _pillow_grey(image)
        return Picture(grey, width, height, name, camera)


def _require_intact_png(data: bytes) -> None:
    """Check every chunk's CRC up to IEND: decoders stop at the last row and miss damage after it."""
    at, view = 8, memoryview(data)
    while at + 12 <= len(data):
        length = int.from_bytes(view[at : at + 4], "big")
        end = at + 8 + length
        if end + 4 > len(data):
            break
        if zlib.crc32(view[at + 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
            raise ImageError("corrupt", "PNG: a checksum does not fit its data")
        if data[at + 4 : at + 8] == b"IEND":
            return
        at = end + 4
    raise ImageError("corrupt", "PNG: the file ends too early")


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


def scaled_to_8_bit(pixels: NDArray[np.generic]) -> Grey:
    """Scale samples deeper than 8 bits, by the rule in the module's docstring."""
    if pixels.dtype == np.uint8:
        return pixels.astype(np.uint8, copy=False)
    values = np.nan_to_num(pixels.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    largest = float(values.max(initial=0.0))
    if np.issubdtype(pixels.dtype, np.floating):
        white = max(largest, 1.0)
    else:
        white = next((2.0**bits - 1 for bits in (8, 10, 12, 14, 16) if largest < 2**bits), largest)
    return np.asarray(np.clip(values * (255.0 / white) + 0.5, 0, 255), np.uint8)


def grey_of(pixels: Grey, *, bgr: bool = False) -> Grey:
    """Give the luma (ITU-R BT.601) of uint8 pixels with 0, 1, 2, 3 or 4 channels, alpha over middle grey."""
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    if channels == 1:
        return np.asarray(np.ascontiguousarray(pixels).reshape(pixels.shape[:2]), np.uint8)
    if channels == 2:
        return _over_middle_grey(pixels[:, :, 0], pixels[:, :, 1])
    colour = np.ascontiguousarray(pixels[:, :, :3])
    grey = np.asarray(cv2.cvtColor(colour, cv2.COLOR_BGR2GRAY if bgr else cv2.COLOR_RGB2GRAY), np.uint8)
    return grey if channels == 3 else _over_middle_grey(grey, pixels[:, :, 3])


def _over_middle_grey(grey: Grey, alpha: Grey) -> Grey:
    if alpha.min() == 255:
        return np.ascontiguousarray(grey)
    share = alpha.astype(np.float32) / 255
    return (_MIDDLE_GREY + (grey.astype(np.float32) - _MIDDLE_GREY) * share + 0.5).astype(np.uint8)


def _pillow_grey(image: Image.Image) -> Grey:
    image.load()
    if image.has_transparency_data:
        image = image.convert("LA" if image.mode in ("L", "LA", "1") else "RGBA")
    elif image.mode not in ("L", "RGB"):
        image = image.convert("RGB")
    return grey_of(np.asarray(image))


def _one_line(error: Exception) -> str:
    return (_clean(str(error)) or type(error).__name__)[:160]
