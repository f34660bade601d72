"""TIFF: which kinds are read and by whom, and what is asked beyond decoding: that no part is missing or damaged."""

import zlib
from collections.abc import Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from imageguard_daemon.core.errors import ImageError
from imageguard_daemon.core.model import Limits
from imageguard_daemon.quality.decode import opencv
from imageguard_daemon.quality.decode.jpeg import is_harmless, read_header, strictly_decoded
from imageguard_daemon.quality.decode.luma import Grey, grey_of, grey_of_inverted_inks, scaled_to_8_bit
from imageguard_daemon.quality.decode.picture import Look, Picture, in_colour, require_size
from imageguard_daemon.quality.decode.pillow import QUIET_TIFF, Image, UnidentifiedImageError
from imageguard_daemon.quality.decode.pillow_pixels import (
    BAND_ROWS,
    as_displayed,
    colours_of_file,
    complaint,
    facts_of_image,
    grey_of_image,
    one_line,
    opened,
    pillow_guard,
)
from imageguard_daemon.quality.decode.tiff_page import CODECS, Tags, can_read, read, samples_of, without_broken_tags

# DNG's version, a colour filter's pattern; the parts of which a camera's raw file has the picture.
_TAG_DNG_VERSION, _TAG_FILTER_PATTERN, _TAG_SUBFILE_TYPE, _TAG_SUB_IFDS = 50706, 33421, 254, 330
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
_UNPACKED, _JPEG, _DEFLATE = 1, 7, (8, 32946)
_NOT_READ = frozenset(
    {9, 10, 22610, 32766, 32809, 33003, 33004, 33005, 34661, 34676, 34677, 34712, 34887, 34892, 34927, 34933, 34934}
    | {48124, 50001, 50002, 52546}
)
"""Codecs that neither of the libraries here has."""
_PREDICTED = 2
_BITS_OF_A_BYTE = 8
_WHITE_IS_ZERO, _RGB, _INKS, _YCBCR = 0, 2, 5, 6
_GREY_LEVELS = (_WHITE_IS_ZERO, 1)
_TRANSPARENCY = (1, 2)
_COLOURS, _MAX_BANDS = 3, 4
_DEFLATED_SLICE = 1 << 16  # unpacks to 66 MB at most
_Samples = NDArray[np.generic]


def decode(data: bytes, limits: Limits) -> Picture:
    """Decode the first page of a TIFF file.

    Raises:
        ImageError: `corrupt`, `unsupported` or `too_large`.
    """
    data = without_broken_tags(data)
    tags = read(data)
    # Before the size: the first page of a camera's raw file is a preview, and its size says nothing.
    refuse_raw(tags)
    require_size(tags.width, tags.height, limits)
    # Before the parts are counted: of a codec that nothing here reads it is not damage that matters.
    refuse_codec(tags)
    # Before decoding: libtiff leaves parts that are missing black, and says nothing.
    require_parts(data, tags)
    with pillow_guard("TIFF"), QUIET_TIFF:
        image = _opened(data)
        # Pillow reads colour differences of fewer samples only where they are packed as JPEG.
        is_beyond_pillow = image is None or tags.has_plain_colour_differences
        grey: Grey | None = None
        fits = False
        whole: Look = partial(_colours, data, tags)
        # Of deeper samples Pillow keeps the upper byte, or has no mode at all: they are read as they are stored.
        if is_beyond_pillow or tags.bits > _BITS_OF_A_BYTE:
            grey = grey_of_samples(data, tags)
        if grey is None and image and not is_beyond_pillow:
            (grey, fits), whole = _luma_and_fit(image, data, tags), partial(colours_of_file, data, "TIFF")
        if grey is None:
            raise not_handled(tags)
        # After the pixels: where Pillow has them, their checksums are computed without unpacking again.
        require_intact(data, tags, fits_checksums=fits)
        _, camera = facts_of_image(image) if image else (1, "")
    width, height = as_displayed(tags.width, tags.height, tags.orientation)
    return in_colour(Picture(grey, width, height, "TIFF", camera), whole)


def _colours(data: bytes, tags: Tags) -> Grey | None:
    with pillow_guard("TIFF"), QUIET_TIFF:
        return colours_of_samples(data, tags)


def _opened(data: bytes) -> Image.Image | None:
    """Read the header by Pillow; None when it has no mode for such a picture."""
    try:
        return opened(data, "TIFF")
    except UnidentifiedImageError:
        return None


def refuse_raw(tags: Tags) -> None:
    """Refuse cameras' raw files, which are TIFF with a small preview in front.

    Raises:
        ImageError: `unsupported`.
    """
    directory = tags.directory
    preview_first = _TAG_SUB_IFDS in directory and directory.get(_TAG_SUBFILE_TYPE, 0) == 1
    if _TAG_DNG_VERSION in directory:
        raise ImageError("unsupported", "Digital Negative RAW (DNG) is not handled")
    if preview_first or _TAG_FILTER_PATTERN in directory:
        maker = str(directory.get(_TAG_MAKE, "")).upper()
        kind = next((name for make, name in _RAW_OF.items() if maker.startswith(make)), "camera RAW")
        raise ImageError("unsupported", f"{kind} is not handled")


def refuse_codec(tags: Tags) -> None:
    """Refuse what nothing here unpacks.

    Raises:
        ImageError: `unsupported`.
    """
    if tags.compression in _NOT_READ or tags.compression not in CODECS:
        raise not_handled(tags)


def not_handled(tags: Tags) -> ImageError:
    """Give what is said of a kind of picture that nothing here reads."""
    return ImageError("unsupported", f"TIFF with {tags.in_words} is not handled")


def require_parts(data: bytes, tags: Tags) -> None:
    """Count strips or tiles against the size in the header: a decoder leaves what is missing black.

    Raises:
        ImageError: `corrupt`.
    """
    needed = tags.parts_in_a_plane * (tags.bands if tags.is_planar else 1)
    there = sum(start < len(data) for start in tags.starts[:needed])
    if there < needed:
        kind = "tiles" if tags.is_tiled else "strips"
        raise ImageError("corrupt", f"TIFF: {there} of {needed} {kind} are there")
    if tags.compression == _UNPACKED and tags.photometric != _YCBCR:  # colour differences may be of fewer samples
        row_bytes = _row_bytes(tags)
        for rows, part in _parts(data, tags):
            if part and len(part) < row_bytes * rows:
                raise ImageError("corrupt", f"TIFF: {len(part) // row_bytes} of {rows} rows of a part are there")


def _row_bytes(tags: Tags) -> int:
    return (tags.part_width * tags.bits * (1 if tags.is_planar else tags.bands) + 7) // 8


def grey_of_samples(data: bytes, tags: Tags) -> Grey | None:
    """Give the luma of samples for which Pillow has no mode, or only one of 8 bits; None where that is not known.

    The caller guards against what Pillow raises on damage.
    """
    if tags.photometric in (*_GREY_LEVELS, _RGB, _INKS) and can_read(tags):
        return _luma(samples_of(data, tags, _MAX_BANDS), tags)
    pixels = opencv.pixels_of(data)
    return None if pixels is None else grey_of(scaled_to_8_bit(pixels, no_data=tags.no_data), bgr=True)


def _luma(samples: _Samples, tags: Tags) -> Grey:
    """Take the first bands for what the tags say: inks, colours, or grey; with transparency or without."""
    if tags.photometric == _INKS and samples.shape[2] == _MAX_BANDS:
        scaled = scaled_to_8_bit(np.ascontiguousarray(samples.reshape(samples.shape[0], -1)))
        return grey_of_inverted_inks(255 - scaled.reshape(samples.shape))
    grey = grey_of(_chosen_bands(samples, tags))
    return np.asarray(255 - grey, np.uint8) if tags.photometric == _WHITE_IS_ZERO else grey


def _chosen_bands(samples: _Samples, tags: Tags) -> Grey:
    is_see_through = bool(tags.extra_samples) and tags.extra_samples[0] in _TRANSPARENCY
    colours = 3 if tags.photometric == _RGB or samples.shape[2] > 2 else 1
    chosen = samples[:, :, : colours + is_see_through]
    return scaled_to_8_bit(np.ascontiguousarray(chosen), no_data=tags.no_data)


def colours_of_samples(data: bytes, tags: Tags) -> Grey | None:
    """Give the colours, height x width x 3, that `grey_of_samples` gives the luma of; None when it has none.

    The caller guards against what Pillow raises on damage.
    """
    if tags.photometric in (*_GREY_LEVELS, _INKS):
        return None
    if tags.photometric == _RGB and can_read(tags):
        bands = _chosen_bands(samples_of(data, tags, _MAX_BANDS), tags)
        return bands if bands.shape[2] == _COLOURS else None
    pixels = opencv.pixels_of(data)
    return None if pixels is None else opencv.rgb_of(scaled_to_8_bit(pixels, no_data=tags.no_data))


def require_intact(data: bytes, tags: Tags, *, fits_checksums: bool) -> None:
    """Check the parts of the first page that are streams with a checksum or of JPEG.

    With `fits_checksums` the decoded pixels are known to fit them: then deflated streams need not be unpacked again.

    Raises:
        ImageError: `corrupt`.
    """
    if tags.compression == _JPEG:
        for rows, part in _parts(data, tags):
            _require_intact_jpeg_part(tags, rows, part)
    if tags.compression not in _DEFLATE or fits_checksums:
        return
    expected = _row_bytes(tags) * tags.part_rows
    for _, part in _parts(data, tags):
        if not deflated_whole(part, expected):
            raise ImageError("corrupt", "TIFF: compressed data does not fit its checksum")


def _parts(data: bytes, tags: Tags) -> Iterator[tuple[int, bytes]]:
    """Give each strip or tile with the rows that it must have."""
    for number, (start, size) in enumerate(zip(tags.starts, tags.sizes, strict=False)):
        top = number % tags.parts_in_a_plane // tags.parts_across * tags.part_rows
        rows = tags.part_rows if tags.is_tiled else min(tags.part_rows, tags.height - top)
        yield rows, data[start : start + size]


def _luma_and_fit(image: Image.Image, data: bytes, tags: Tags) -> tuple[Grey, bool]:
    """Give the luma, and whether decoded strips have the checksums that their streams end with.

    No stream is unpacked again, and the pixels are taken out of Pillow once for both. False means only that it can't be
    told this way: there are none, pixels are laid out otherwise, or a stream has something behind it.
    """
    if tags.compression not in _DEFLATE or not _strips_are_rows(image, tags):
        return grey_of_image(image), False
    grey, fits = np.empty((image.height, image.width), np.uint8), True
    band_rows = max(1, BAND_ROWS // tags.part_rows) * tags.part_rows
    for top in range(0, image.height, band_rows):
        bottom = min(top + band_rows, image.height)
        band = np.asarray(image.crop((0, top, image.width, bottom)))
        grey[top:bottom] = grey_of(band)
        rows = band.reshape(bottom - top, -1)
        for first in range(top, bottom, tags.part_rows):
            strip = rows[first - top :][: tags.part_rows]
            fits = fits and _fits_checksum(strip, data, tags, first // tags.part_rows)
    return grey, fits


def _strips_are_rows(image: Image.Image, tags: Tags) -> bool:
    channels = len(image.getbands())
    is_as_stored = image.mode in ("L", "RGB") and tags.orientation == 1 and tags.predictor in (1, _PREDICTED)
    is_of_strips = not (tags.is_tiled or tags.is_planar)
    is_of_bytes = tags.bits == _BITS_OF_A_BYTE and tags.bands == channels
    return is_as_stored and is_of_strips and is_of_bytes and not image.has_transparency_data


def _fits_checksum(rows: Grey, data: bytes, tags: Tags, number: int) -> bool:
    if number >= min(len(tags.starts), len(tags.sizes)):
        return True  # nothing is said of it; whether all parts are there is asked elsewhere
    if tags.predictor == _PREDICTED:
        rows = _as_differences(rows, tags.bands)
    end = tags.starts[number] + tags.sizes[number]
    checksum = data[end - 4 : end]  # what a zlib stream ends with
    return zlib.adler32(np.ascontiguousarray(rows).data) == int.from_bytes(checksum, "big")


def _as_differences(rows: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    """Give rows as the predictor has them packed: of each sample what it differs by from the one on its left."""
    return np.concatenate([rows[:, :channels], rows[:, channels:] - rows[:, :-channels]], axis=1)


def _require_intact_jpeg_part(tags: Tags, rows: int, part: bytes) -> None:
    """Decode one strip strictly, as libtiff does not; its tables stand apart (TIFF Technical Note 2)."""
    whole = tags.jpeg_tables[:-2] + part[2:] if tags.jpeg_tables else part
    try:
        there = strictly_decoded(whole).shape[0]
    except ValueError as error:
        message = one_line(error)
        beyond_us = "subsampling" in message or message.startswith("Unsupported JPEG")
        if not beyond_us and not is_harmless(message, whole):
            raise complaint("TIFF", error) from error
        there = read_header(whole).height
    if there < rows:
        raise ImageError("corrupt", f"TIFF: {there} of {rows} rows of a part are there")


def deflated_whole(part: bytes, expected_bytes: int) -> bool:
    """Check whether a zlib stream ends and fits its checksum.

    One that its writer never finished is whole as long as it gives no more than expected. A bomb is not read to
    its end.
    """
    stream, seen, view = zlib.decompressobj(), 0, memoryview(part)
    try:
        for at in range(0, len(part), _DEFLATED_SLICE):
            seen += len(stream.decompress(view[at : at + _DEFLATED_SLICE]))
            if stream.eof or seen > expected_bytes:
                break
    except zlib.error:
        return False
    return stream.eof or seen <= expected_bytes
