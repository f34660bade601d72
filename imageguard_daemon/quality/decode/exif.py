"""What EXIF says of an image: how it is turned, and the camera. Bad metadata is not a bad image."""

import re

from imageguard_daemon.quality.decode.pillow import Image

_SIDEWAYS = frozenset({5, 6, 7, 8})
_TAG_MAKE, _TAG_MODEL, _TAG_ORIENTATION = 0x010F, 0x0110, 0x0112
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]+")


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
