"""A file's bytes as grey pixels and container facts, within limits; touches no disk.

To add a format: its first bytes go into `formats.py`, its decoder into the table below. Rules for all of them:

- The content decides the format, never the suffix.
- Of an animation or a file of several pages the first picture is judged.
- How depth and transparency become luma stands in `luma.py`, what colours are good for in `picture.py`.
- Pixels keep the orientation they are stored in, as no measure depends on it; width and height are as
  displayed.

The order of checks is the same in every decoder, cheapest and safest first:

1. What the header claims against the limits, before a library allocates anything for it.
2. What is known not to be handled, so that it is called `unsupported` and not damaged.
3. Pixels, by the strictest library that reads the file.
4. Damage that the library passes over in silence: missing rows, holes, wrong checksums. It comes after the pixels
   because a file that does not decode has a better reason to be told.
5. Metadata, which makes no image bad.
"""

from collections.abc import Callable, Mapping

from imageguard_daemon.core.errors import ImageError
from imageguard_daemon.core.model import Limits
from imageguard_daemon.quality.decode import heif, jpeg, other_formats, png, tiff
from imageguard_daemon.quality.decode.formats import HANDLED, recognise, resemblance
from imageguard_daemon.quality.decode.jpeg import equivalent_quality, in_zigzag
from imageguard_daemon.quality.decode.luma import Grey
from imageguard_daemon.quality.decode.picture import Picture, in_colour, require_size
from imageguard_daemon.quality.decode.pillow import Image
from imageguard_daemon.quality.decode.pillow_pixels import (
    as_displayed,
    colours_of,
    facts_of_image,
    grey_of_image,
    pillow_guard,
)

__all__ = ["Picture", "decode", "from_grey", "from_pillow", "require_size"]

_DECODERS: Mapping[str, Callable[[bytes, Limits], Picture]] = {
    "JPEG": jpeg.decode,
    "PNG": png.decode,
    "TIFF": tiff.decode,
    "HEIC": heif.decode_heic,
    "AVIF": heif.decode_avif,
    "WEBP": other_formats.decode_webp,
    "GIF": other_formats.decode_gif,
    "BMP": other_formats.decode_bmp,
}


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
    if name not in _DECODERS:
        raise ImageError("unsupported", f"{name} is not handled")
    return _DECODERS[name](data, limits)


def from_grey(grey: Grey, limits: Limits, colours: Grey | None = None) -> Picture:
    """Take pixels that are in memory already, height x width uint8, with their colours (x 3) if they have some.

    Raises:
        ImageError: `too_large`.
    """
    height, width = grey.shape
    require_size(width, height, limits)
    return in_colour(Picture(grey, width, height, ""), lambda: colours)


def from_pillow(image: Image.Image, limits: Limits) -> Picture:
    """Take the current frame of a Pillow image, with what it still knows of the file it came from.

    One that was opened and not touched since is its file: that is judged, as it would be by its path.

    Raises:
        ImageError: `too_large`; `corrupt`, when the file behind it turns out to be damaged.
        ValueError: it was closed.
    """
    if _is_closed(image):
        raise ValueError("the Pillow image is closed: judge it before its `with` ends, or a copy of it")
    require_size(*image.size, limits)
    data = _file_behind(image)
    if recognise(data) in HANDLED:
        picture = decode(data, limits)
        if sorted((picture.width, picture.height)) == sorted(image.size):  # not where a smaller draft was asked for
            return picture
    name = image.format or ""
    with pillow_guard(name or "image"):
        image.load()
        orientation, camera = facts_of_image(image)
        width, height = as_displayed(*image.size, 1 if name == "TIFF" else orientation)
        tables = getattr(image, "quantization", {})
        quality = equivalent_quality(in_zigzag(tables[0])) if tables.get(0) else None
        picture = Picture(grey_of_image(image), width, height, name, camera, quality)
        return in_colour(picture, lambda: colours_of(image))


def _is_closed(image: Image.Image) -> bool:
    if hasattr(getattr(image, "_im", None), "ex"):  # in place of pixels, the error that whoever asks for them gets
        return True
    is_unread = bool(getattr(image, "tile", None))  # what is left to read, of a file that must be there for it
    file = getattr(image, "fp", None)
    return is_unread and (file is None or bool(getattr(file, "closed", False)))


def _file_behind(image: Image.Image) -> bytes:
    """Give the bytes of a file whose first picture is not loaded yet; nothing when there is no such file."""
    file = getattr(image, "fp", None)
    is_loaded = getattr(image, "_im", image) is not None
    if file is None or is_loaded or image.tell() != 0:
        return b""
    at = file.tell()
    try:
        file.seek(0)
        return bytes(file.read())
    finally:
        file.seek(at)
