"""A file's bytes as grey pixels and container facts, within limits; touches no disk.

Every measure is taken from luma, so luma is all that is decoded; of dark pictures the colours, too, as what has light
in one channel alone is judged by that (`single_channel.py`). Whoever wants the colours of another one asks for a glance
at them (`colours.py`). Rules:

- The content decides the format, never the suffix.
- Of an animation or a file of several pages the first picture is judged.
- How depth and transparency become luma stands in `luma.py`, what decoders do not notice in `integrity.py`.
- Pixels keep the orientation they are stored in, as no measure depends on it; width and height are as
  displayed.
"""

import io
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from imageguard_daemon.core.errors import ImageError
from imageguard_daemon.quality.decode import heic, integrity, isobmff, jpeg, opencv, png, strict_jpeg, tiff, tiff_tags
from imageguard_daemon.quality.decode.colours import GLANCE_PX, Look, looked_at, no_colours
from imageguard_daemon.quality.decode.decoder_messages import complaint, pillow_guard
from imageguard_daemon.quality.decode.exif import as_displayed, facts_of_exif, facts_of_image, one_line
from imageguard_daemon.quality.decode.luma import Grey as Grey  # noqa: PLC0414 - the features know it from here
from imageguard_daemon.quality.decode.luma import grey_of, grey_of_inverted_inks, scaled_to_8_bit
from imageguard_daemon.quality.decode.pillow import Image, UnidentifiedImageError
from imageguard_daemon.quality.decode.signatures import HANDLED, recognise, resemblance
from imageguard_daemon.quality.decode.tiff_warnings import QUIET_TIFF

MOST_SCANS = 100
"""Encoders write about ten; libtiff draws its line for JPEG here too."""
_BAND_ROWS = 64
_EIGHT_BITS = 8
_INKS = 4
_WITH_CHANNELS = 3


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
    glance: Look = no_colours
    """Gives its colours, averaged down to a long side of `GLANCE_PX`."""


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
    return _DECODERS.get(name, _decode_by_pillow)(data, limits, name)


def _in_colour(picture: Picture, whole: Look, reduced: Look | None = None) -> Picture:
    """Have the colours decoded, if they are asked for, from the bytes and by the library that luma came from.

    Others may refuse the file, or scale its samples otherwise.
    """
    grey, glance = looked_at(picture.grey, whole, reduced)
    return replace(picture, grey=grey, glance=glance)


def _colours_by_pillow(data: bytes, name: str, least_px: int = 0) -> Grey | None:
    """Decode a file in colour; a JPEG in fewer pixels if that leaves a long side of at least `least_px`."""
    with pillow_guard(name), QUIET_TIFF, Image.open(io.BytesIO(data), formats=[name]) as image:
        if least_px:
            width, height = (max(1, side * least_px // max(image.size)) for side in image.size)
            image.draft("RGB", (width, height))
        return _colours_of(image)


def _colours_of(image: Image.Image) -> Grey | None:
    if image.mode not in ("RGB", "P") or image.has_transparency_data:
        return None
    return np.asarray(image.convert("RGB"))


def from_grey(grey: Grey, limits: Limits, colours: Grey | None = None) -> Picture:
    """Take pixels that are in memory already, height x width uint8, with their colours (x 3) if they have some.

    Raises:
        ImageError: `too_large`.
    """
    height, width = grey.shape
    require_size(width, height, limits)
    return _in_colour(Picture(grey, width, height, ""), lambda: colours)


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
        quality = jpeg.equivalent_quality(jpeg.in_zigzag(tables[0])) if tables.get(0) else None
        picture = Picture(_pillow_grey(image), width, height, name, camera, quality)
        return _in_colour(picture, lambda: _colours_of(image))


def _is_closed(image: Image.Image) -> bool:
    if hasattr(getattr(image, "_im", None), "ex"):  # in place of pixels, the error that whoever asks for them gets
        return True
    file = getattr(image, "fp", None)
    return bool(getattr(image, "tile", None)) and (file is None or bool(getattr(file, "closed", False)))


def _file_behind(image: Image.Image) -> bytes:
    """Give the bytes of a file whose first picture is not loaded yet; nothing when there is no such file."""
    file = getattr(image, "fp", None)
    if file is None or getattr(image, "_im", image) is not None or image.tell() != 0:
        return b""
    at = file.tell()
    try:
        file.seek(0)
        return bytes(file.read())
    finally:
        file.seek(at)


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


def _decode_jpeg(data: bytes, limits: Limits, _name: str) -> Picture:
    if data[2:3] != b"\xff":  # whatever others make of it
        raise ImageError("corrupt", "JPEG: no marker stands at its beginning")
    header = jpeg.read_header(data)
    require_size(header.width, header.height, limits)
    _require_few_scans(data, header)
    orientation, camera = facts_of_exif(header.exif)
    grey = _jpeg_grey(data, header)
    if grey.shape != (header.height, header.width):
        raise ImageError("corrupt", "JPEG with two different sizes in its headers")
    _require_no_hole_in_scans(data, header.scan_at)
    width, height = as_displayed(header.width, header.height, orientation)
    picture = Picture(grey, width, height, "JPEG", camera, header.libjpeg_quality)
    whole = partial(_jpeg_colours, data, header)
    return _in_colour(picture, whole, partial(whole, least_px=GLANCE_PX))


def _require_few_scans(data: bytes, header: jpeg.JpegHeader) -> None:
    """Refuse a bomb of time: each scan may be of ten bytes, and goes over all pixels again."""
    if jpeg.has_more_scans(data, header, MOST_SCANS):
        size = f"{header.width} x {header.height}"
        raise ImageError("too_large", f"more than {MOST_SCANS} scans over {size} pixels")


def _jpeg_grey(data: bytes, header: jpeg.JpegHeader) -> Grey:
    try:
        return _strictly_decoded(data, header)
    except ValueError:
        plain = jpeg.with_plain_header(data, header)  # what is said of it is said of the pixels
    try:
        return _strictly_decoded(plain, header)
    except ValueError as error:
        told = one_line(error)
        if told.startswith("Unsupported") and not header.is_common:  # lossless, 12-bit: nothing here reads them
            raise ImageError("unsupported", f"JPEG: {told}") from error
        # Unusual subsampling is allowed by the standard, and Pillow reads it: without warnings, so the file as it is.
        if "subsampling" in told or jpeg.is_harmless(told, plain):
            return _jpeg_by_pillow(data if "subsampling" in told else plain)
        raise complaint("JPEG", error) from error


def _strictly_decoded(data: bytes, header: jpeg.JpegHeader) -> Grey:
    inks = header.components == _INKS
    decoded = strict_jpeg.decode(data, inks=inks)
    return grey_of_inverted_inks(decoded) if inks else decoded[:, :, 0]


def _require_no_hole_in_scans(data: bytes, scan_at: int) -> None:
    # What follows the end of the picture (previews, films, makers' data) may be empty; it is looked for only then.
    if integrity.hole_in(data, scan_at, len(data)) is not None:
        end = data.find(b"\xff\xd9", scan_at)
        integrity.require_no_hole(data, scan_at, end if end != -1 else len(data), "JPEG")


def _jpeg_by_pillow(data: bytes) -> Grey:
    with pillow_guard("JPEG"), Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
        return np.asarray(image.convert("RGB").convert("L"), np.uint8)


def _jpeg_colours(data: bytes, header: jpeg.JpegHeader, least_px: int = 0) -> Grey | None:
    # Pillow refuses files for metadata that libjpeg, which gave the luma, passes over: it gets to see none.
    return _colours_by_pillow(jpeg.with_plain_header(data, header), "JPEG", least_px)


# --- HEIC


def _decode_heic(data: bytes, limits: Limits, _name: str) -> Picture:
    for size in isobmff.claimed_sizes(data):
        require_size(*size, limits)  # before libheif, which calls a claim beyond its own limit an error
    opened = heic.opened(data)
    width, height = opened.size
    require_size(width, height, limits)
    grey = grey_of(heic.pixels_of(opened))
    isobmff.require_no_hole(data, "HEIC")
    # The container says by itself how it is turned; EXIF only repeats it.
    _, camera = facts_of_exif((opened.info.get("exif") or b"").removeprefix(b"Exif\0\0"))
    return _in_colour(Picture(grey, width, height, "HEIC", camera), partial(_heic_colours, data))


def _heic_colours(data: bytes) -> Grey | None:
    pixels = heic.pixels_of(heic.opened(data))
    return pixels if pixels.ndim == _WITH_CHANNELS and pixels.shape[2] == _WITH_CHANNELS else None


# --- PNG


def _decode_png(data: bytes, limits: Limits, _name: str) -> Picture:
    found = png.read(data)
    require_size(found.width, found.height, limits)
    grey, whole = opencv.png_grey(found), partial(opencv.png_colours, found)
    if grey is None:
        whole = partial(_colours_by_pillow, found.pixels, "PNG")
        with pillow_guard("PNG"), Image.open(io.BytesIO(found.pixels), formats=["PNG"]) as image:
            grey = _pillow_grey(image)
        png.require_all_rows(found)  # Pillow does not
    orientation, camera = facts_of_exif(found.exif)
    size = as_displayed(found.width, found.height, orientation)
    return _in_colour(Picture(grey, *size, "PNG", camera), whole)


# --- TIFF


def _decode_tiff(data: bytes, limits: Limits, _name: str) -> Picture:
    data = tiff_tags.without_broken_tags(data)
    tags = tiff_tags.read(data)
    tiff.refuse_raw(tags)
    require_size(tags.width, tags.height, limits)
    tiff.refuse_codec(tags)
    tiff.require_parts(data, tags)
    with pillow_guard("TIFF"), QUIET_TIFF:
        image = _opened_tiff(data)
        # Pillow reads colour differences of fewer samples only where they are packed as JPEG.
        is_beyond_pillow = image is None or tags.has_plain_colour_differences
        grey, whole = None, partial(_tiff_colours, data, tags)
        if is_beyond_pillow or tags.bits > _EIGHT_BITS:
            grey = tiff.grey_of_samples(data, tags)
        if grey is None and image and not is_beyond_pillow:
            grey, whole = _pillow_grey(image), partial(_colours_by_pillow, data, "TIFF")
        if grey is None:
            raise tiff.not_handled(tags)
        tiff.require_intact(data, tags, image)
        _, camera = facts_of_image(image) if image else (1, "")
    width, height = as_displayed(tags.width, tags.height, tags.orientation)
    return _in_colour(Picture(grey, width, height, "TIFF", camera), whole)


def _tiff_colours(data: bytes, tags: tiff_tags.Tags) -> Grey | None:
    with pillow_guard("TIFF"), QUIET_TIFF:
        return tiff.colours_of_samples(data, tags)


def _opened_tiff(data: bytes) -> Image.Image | None:
    """Read the header by Pillow; None when it has no mode for such a picture."""
    try:
        return Image.open(io.BytesIO(data), formats=["TIFF"])
    except UnidentifiedImageError:
        return None


# --- every other format


def _decode_by_pillow(data: bytes, limits: Limits, name: str) -> Picture:
    for size in isobmff.claimed_sizes(data) if name == "AVIF" else ():
        require_size(*size, limits)  # before libavif, which calls a claim beyond its own limit nonsense
    with pillow_guard(name), Image.open(io.BytesIO(data), formats=[name]) as image:
        require_size(*image.size, limits)
        grey, whole = opencv.webp_grey(data) if name == "WEBP" else None, partial(opencv.webp_colours, data)
        if grey is None:
            grey, whole = _pillow_grey(image), partial(_colours_by_pillow, data, name)
        _require_intact(data, name)
        # Only now: Pillow decodes some formats when asked for their EXIF, and would swallow what is wrong with them.
        orientation, camera = facts_of_image(image)
        picture = Picture(grey, *as_displayed(*image.size, orientation), name, camera)
    return _in_colour(picture, whole)


def _require_intact(data: bytes, name: str) -> None:
    """Look for what the decoder has not noticed."""
    if name == "WEBP":
        integrity.require_intact_webp(data)
    elif name == "GIF":
        integrity.require_intact_gif(data)
    elif name == "AVIF":
        isobmff.require_no_hole(data, name)


def _pillow_grey(image: Image.Image) -> Grey:
    image.load()
    if image.mode in ("La", "RGBa"):
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
    for top in range(0, height, _BAND_ROWS):
        bottom = min(top + _BAND_ROWS, height)
        grey[top:bottom] = grey_of(np.asarray(image.crop((0, top, width, bottom))))
    return grey


_DECODERS = {"JPEG": _decode_jpeg, "HEIC": _decode_heic, "PNG": _decode_png, "TIFF": _decode_tiff}
