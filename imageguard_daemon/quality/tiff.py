"""What is asked of TIFF files beyond decoding: that they are no camera's raw file, and that their parts are whole."""

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import simplejpeg
from PIL import Image

from imageguard_daemon.errors import ImageError
from imageguard_daemon.quality import integrity, jpeg
from imageguard_daemon.quality.exif import one_line

# DNG's version, a colour filter's pattern; the parts of which a camera's raw file has the picture.
_TAG_DNG_VERSION, _TAG_FILTER_PATTERN, _TAG_SUBFILE_TYPE, _TAG_SUB_IFDS = 50706, 33421, 254, 330
_TAG_COMPRESSION, _TAG_JPEG_TABLES, _JPEG_IN_TIFF = 259, 347, 7
_TAG_BITS, _TAG_ROWS_PER_STRIP, _TAG_TILE_WIDTH, _TAG_TILE_LENGTH = 258, 278, 322, 323
_TAG_MAKE = 271
_RAW_OF = {
    "NIKON": "Nikon RAW (NEF)",
    "SONY": "Sony RAW (ARW)",
    "PENTAX": "Pentax RAW (PEF)",
    "RICOH": "Pentax RAW (PEF)",
    "SAMSUNG": "Samsung RAW (SRW)",
    "SEIKO EPSON": "Epson RAW (ERF)",
    "HASSELBLAD": "Hasselblad RAW (3FR)",
    "PHASE ONE": "Phase One RAW (IIQ)",
    "LEAF": "Leaf RAW (MOS)",
    "EASTMAN KODAK": "Kodak RAW (DCR)",
    "KODAK": "Kodak RAW (DCR)",
}
_DEFLATE = (8, 32946)
_TAG_ORIENTATION, _TAG_PREDICTOR, _PREDICTED = 274, 317, 2
_TAGS_OFFSETS, _TAGS_SIZES = (273, 324), (279, 325)  # of strips or tiles


def refuse_raw(image: Image.Image) -> None:
    """Refuse cameras' raw files, which are TIFF with a small preview in front.

    Raises:
        ImageError: `unsupported`.
    """
    tags = getattr(image, "tag_v2", {})
    preview_first = _TAG_SUB_IFDS in tags and tags.get(_TAG_SUBFILE_TYPE, 0) == 1
    if _TAG_DNG_VERSION in tags:
        raise ImageError("unsupported", "Digital Negative RAW (DNG) is not handled")
    if preview_first or _TAG_FILTER_PATTERN in tags:
        maker = str(tags.get(_TAG_MAKE, "")).upper()
        kind = next((name for make, name in _RAW_OF.items() if maker.startswith(make)), "camera RAW")
        raise ImageError("unsupported", f"{kind} is not handled")


def require_intact(data: bytes, image: Image.Image) -> None:
    """Check the strips or tiles of the first page that are streams with a checksum or of JPEG.

    Raises:
        ImageError: `corrupt`.
    """
    tags = getattr(image, "tag_v2", {})
    kind = tags.get(_TAG_COMPRESSION)
    if kind not in (*_DEFLATE, _JPEG_IN_TIFF):
        return
    starts, sizes = (tags.get(pair[0], tags.get(pair[1], ())) for pair in (_TAGS_OFFSETS, _TAGS_SIZES))
    if kind in _DEFLATE and _pixels_fit_checksums(image, data, list(zip(starts, sizes, strict=False))):
        return
    expected = _bytes_of_a_part(image)
    for start, size in zip(starts, sizes, strict=False):
        part = data[start : start + size]
        if kind in _DEFLATE and not integrity.deflated_whole(part, expected):
            raise ImageError("corrupt", "TIFF: compressed data does not fit its checksum")
        if kind == _JPEG_IN_TIFF:
            _require_intact_jpeg_part(tags.get(_TAG_JPEG_TABLES, b""), part)


def _pixels_fit_checksums(image: Image.Image, data: bytes, strips: list[tuple[int, int]]) -> bool:
    """Tell whether decoded strips have the checksums that their streams end with; no stream is unpacked again.

    False means only that it can't be told this way: pixels laid out otherwise, a stream with something behind it.
    """
    tags = getattr(image, "tag_v2", {})
    rows, predictor, channels = min(_rows(tags), image.height), tags.get(_TAG_PREDICTOR, 1), len(image.getbands())
    upright = tags.get(_TAG_ORIENTATION, 1) == 1
    if image.mode not in ("L", "RGB") or not upright or predictor not in (1, 2) or len(strips) * rows < image.height:
        return False
    for number, (start, size) in enumerate(strips):
        top, bottom = number * rows, min(number * rows + rows, image.height)
        pixels = np.asarray(image.crop((0, top, image.width, bottom))).reshape(bottom - top, -1)
        if predictor == _PREDICTED:
            pixels = np.concatenate([pixels[:, :channels], pixels[:, channels:] - pixels[:, :-channels]], axis=1)
        if zlib.adler32(pixels.tobytes()) != int.from_bytes(data[start + size - 4 : start + size], "big"):
            return False
    return True


def _bytes_of_a_part(image: Image.Image) -> int:
    """Give how many bytes a strip or tile has at most when unpacked."""
    tags = getattr(image, "tag_v2", {})
    # Pillow has turned the size as displayed; the larger side is enough for a bound.
    longest = max(image.size)
    width, height = tags.get(_TAG_TILE_WIDTH, longest), tags.get(_TAG_TILE_LENGTH, min(_rows(tags), longest))
    bits = sum(tags.get(_TAG_BITS, (1,))) if len(tags.get(_TAG_BITS, ())) > 1 else tags.get(_TAG_BITS, (1,))[0] * 4
    return int((width * bits + 7) // 8 * height)


def _rows(tags: Mapping[int, Any]) -> int:
    return int(tags.get(_TAG_ROWS_PER_STRIP, 1 << 32))


def _require_intact_jpeg_part(tables: bytes, part: bytes) -> None:
    """Decode one strip strictly, as libtiff does not; its tables stand apart (TIFF Technical Note 2)."""
    whole = tables[:-2] + part[2:] if tables else part
    try:
        simplejpeg.decode_jpeg(whole, colorspace="GRAY")
    except ValueError as error:
        complaint = one_line(error)
        beyond_us = "subsampling" in complaint or complaint.startswith("Unsupported JPEG")
        if not beyond_us and not jpeg.is_harmless(complaint, whole):
            raise ImageError("corrupt", f"TIFF: {complaint}") from error
