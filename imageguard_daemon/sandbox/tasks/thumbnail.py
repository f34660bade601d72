"""The task of making thumbnails: by Pillow alone, since what is shown need not be what was measured."""

import io

from PIL import AvifImagePlugin, Image, ImageOps

from imageguard_daemon.core.model import Limits
from imageguard_daemon.quality.decode.formats import HANDLED
from imageguard_daemon.sandbox.answers import THUMBNAIL_SIDE, Pixels, pack_pixels, read_pixels
from imageguard_daemon.sandbox.tasks import KNOWN_PICTURE, Task, size_complaint


def task(_readout: bytes | None = None) -> Task[Pixels | None]:
    """Give the task."""
    return Task(run=run, read=read_pixels, prepare=prepare, prove=prove)


def run(data: bytes, limits: Limits) -> bytes:
    """Give an image's thumbnail, packed; a bad image has none."""
    return pack_pixels(thumbnail(data, limits))


def thumbnail(data: bytes, limits: Limits) -> Pixels | None:
    """Give an image's thumbnail, as it is to be seen; a bad image has none."""
    try:
        with Image.open(io.BytesIO(data), formats=_formats()) as image:
            if image.width * image.height > limits.max_pixels:
                return None
            image.draft("RGB", (THUMBNAIL_SIDE * 2, THUMBNAIL_SIDE * 2))
            image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
            small = ImageOps.exif_transpose(image).convert("RGB")
    except Exception:  # noqa: BLE001 - whatever a decoder says of hostile bytes, there is no picture
        return None
    return Pixels(*small.size, small.tobytes())


def prepare() -> None:
    """Read an image of each format once: what libraries load at first use must be there when files are out of reach."""
    Image.MAX_IMAGE_PIXELS = None
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    Image.init()
    for name in sorted({*_formats()} & set(Image.SAVE)):
        buffer = io.BytesIO()
        Image.new("RGB", (THUMBNAIL_SIDE * 2, THUMBNAIL_SIDE)).save(buffer, name)
        thumbnail(buffer.getvalue(), Limits())


def prove() -> str:
    """Look at a known picture; say what is wrong, if anything is."""
    pixels = thumbnail(KNOWN_PICTURE, Limits())
    return size_complaint(pixels and (pixels.width, pixels.height))


def _formats() -> list[str]:
    """Name the formats that are handled and that Pillow reads by itself; of others there are no pictures."""
    Image.init()
    return sorted(HANDLED & set(Image.OPEN))
