"""What Pillow makes of a file: luma, colours, what EXIF says, and its complaints, sorted into what is recorded."""

import contextlib
import io
import re
import struct
import zlib
from collections.abc import Iterator

import numpy as np

from imageguard_daemon.core.errors import ImageError
from imageguard_daemon.quality.decode.luma import Grey, grey_of, scaled_to_8_bit
from imageguard_daemon.quality.decode.pillow import QUIET_TIFF, Image, UnidentifiedImageError

NO_MEMORY = "it takes more memory than a worker may have"
_WANTS_MEMORY = re.compile(
    r"out of memory|insufficient memory|memory (allocation|exhausted)|(cannot|failed to|unable to) allocate",
    re.IGNORECASE,
)
_PILLOW_COMPLAINTS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    EOFError,
    LookupError,
    struct.error,
    zlib.error,
    ArithmeticError,
    AttributeError,
    RuntimeError,
    AssertionError,
)
BAND_ROWS = 64
"""About so many rows are taken out of Pillow at once: pixels stay in the processor's cache until they are luma."""
_SIDEWAYS = frozenset({5, 6, 7, 8})
_TAG_MAKE, _TAG_MODEL, _TAG_ORIENTATION = 0x010F, 0x0110, 0x0112
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]+")


def one_line(error: Exception) -> str:
    """Give an exception in at most 160 characters of one line."""
    return (clean(str(error)) or type(error).__name__)[:160]


def complaint(name: str, error: Exception) -> ImageError:
    """Give what a library says of a file as an ImageError: damage, or want of memory, which proves none."""
    message = one_line(error)
    if _WANTS_MEMORY.search(message):
        return ImageError("too_large", NO_MEMORY)
    return ImageError("corrupt", f"{name}: {message}")


@contextlib.contextmanager
def pillow_guard(name: str) -> Iterator[None]:
    """Turn whatever Pillow says about a bad file into ImageError."""
    try:
        yield
    except UnidentifiedImageError as error:
        raise ImageError("corrupt", f"{name}: the header makes no sense") from error
    except _PILLOW_COMPLAINTS as error:
        raise complaint(name, error) from error


def opened(data: bytes, name: str) -> Image.Image:
    """Open a file as this format and no other, whatever Pillow would take it for."""
    return Image.open(io.BytesIO(data), formats=[name])


def colours_of_file(data: bytes, name: str, min_px: int = 0) -> Grey | None:
    """Decode a file in colour; a JPEG in fewer pixels if that leaves a long side of at least `min_px`."""
    with pillow_guard(name), QUIET_TIFF, opened(data, name) as image:
        if min_px:
            width, height = (max(1, side * min_px // max(image.size)) for side in image.size)
            image.draft("RGB", (width, height))
        return colours_of(image)


def colours_of(image: Image.Image) -> Grey | None:
    """Give the colours of an image that has some, and nothing transparent."""
    if image.mode not in ("RGB", "P") or image.has_transparency_data:
        return None
    return np.asarray(image.convert("RGB"))


def converted_grey(data: bytes, name: str) -> Grey:
    """Give the luma of a file in whichever mode, by Pillow's own conversion."""
    with pillow_guard(name), opened(data, name) as image:
        return np.asarray(image.convert("RGB").convert("L"), np.uint8)


def grey_of_image(image: Image.Image) -> Grey:
    """Give the luma of an image, by the rules in `luma.py`."""
    image.load()
    if image.mode in ("La", "RGBa"):  # colours multiplied by their opacity: back to what they are
        image = image.convert(image.mode.upper())
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return scaled_to_8_bit(np.asarray(image))
    if image.has_transparency_data:
        image = image.convert("LA" if image.mode in ("L", "LA", "1") else "RGBA")
    elif image.mode == "LAB":
        image = image.getchannel("L")
    elif image.mode not in ("L", "RGB"):
        image = image.convert("RGB")
    return _grey_by_bands(image) if image.mode == "RGB" else grey_of(np.asarray(image))


def _grey_by_bands(image: Image.Image) -> Grey:
    """Take RGB out of Pillow a few rows at a time, in half the time that it takes at once."""
    width, height = image.size
    grey = np.empty((height, width), np.uint8)
    for top in range(0, height, BAND_ROWS):
        bottom = min(top + BAND_ROWS, height)
        grey[top:bottom] = grey_of(np.asarray(image.crop((0, top, width, bottom))))
    return grey


# --- EXIF: bad metadata is not a bad image


def facts_of_exif(exif: bytes) -> tuple[int, str]:
    """Give orientation (1 to 8) and camera of an EXIF block without its name; 1 and nothing when it is broken."""
    if not exif:
        return 1, ""
    tags = Image.Exif()
    try:
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
    maker, name = (clean(text) if isinstance(text, str) else "" for text in (make, model))
    joined = name if maker and name.lower().startswith(maker.lower()) else f"{maker} {name}".strip()
    return joined[:100]


def clean(text: str) -> str:
    """Give text as one line without control characters."""
    return " ".join(_CONTROL.sub(" ", text).split())


def facts_of_image(image: Image.Image) -> tuple[int, str]:
    """Give orientation and camera as Pillow reads them, of any format."""
    try:
        return _facts_of_tags(image.getexif())
    except Exception:  # noqa: BLE001 - as in facts_of_exif: bad metadata is not a bad image
        return 1, ""


def as_displayed(width: int, height: int, orientation: int) -> tuple[int, int]:
    """Give width and height after turning by an EXIF orientation."""
    return (height, width) if orientation in _SIDEWAYS else (width, height)
