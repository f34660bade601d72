"""The table of formats in docs/formats.md: each row is made and judged here."""

import importlib.util
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from bench.variants import VARIANTS
from imageguard_daemon.core.errors import ImageError
from imageguard_daemon.core.model import Limits
from imageguard_daemon.quality.decode.decoder import decode
from imageguard_daemon.quality.decode.formats import JUDGED, NAMED
from reference.formats_page import formats_page
from tests.helpers.images import Rgb, encoded, photo
from tests.helpers.matrix import tiff_kind

ROOT = Path(__file__).parents[4]
HEIC = ROOT / "tests" / "data" / "heic"
RGB = photo(96, 64)
GREY = np.asarray(Image.fromarray(RGB).convert("L"))
Make = Callable[[], bytes]
needs_heic = pytest.mark.skipif(importlib.util.find_spec("pi_heif") is None, reason="needs the extra `heic`")


def _variant(name: str) -> Make:
    return lambda: VARIANTS[name](RGB)


def _pillow(image_format: str, mode: str = "RGB", **options: object) -> Make:
    return lambda: encoded(Image.fromarray(RGB).convert(mode), image_format, **options)


def _deep(image_format: str, scale: float, offset: float = 0, kind: str = "uint16") -> Make:
    return lambda: encoded(Image.fromarray((GREY / 255 * scale + offset).astype(kind)), image_format)


def _several(image_format: str) -> Make:
    """Write the picture and a black one after it."""
    black: Rgb = np.zeros_like(RGB)
    return lambda: encoded(Image.fromarray(RGB), image_format, save_all=True, append_images=[Image.fromarray(black)])


def _file(name: str) -> Make:
    return (HEIC / f"{name}.heic").read_bytes


def _tiff(samples: np.ndarray, bits: int, **options: object) -> Make:
    return lambda: tiff_kind(samples, bits, 8, **options).whole


MADE: dict[tuple[str, str], Make] = {
    ("JPEG", "baseline"): _variant("jpeg"),
    ("JPEG", "progressive"): _variant("jpeg progressive"),
    ("JPEG", "restart markers"): _variant("jpeg restarts"),
    ("JPEG", "grey"): _variant("jpeg grey"),
    ("JPEG", "CMYK"): _variant("jpeg cmyk"),
    ("JPEG", "several pictures (MPO)"): _several("MPO"),
    ("PNG", "8 bits"): _variant("png"),
    ("PNG", "interlaced"): _variant("png interlaced"),
    ("PNG", "palette"): _variant("png palette"),
    ("PNG", "16 bits"): _variant("png 16 bit"),
    ("PNG", "12 bits in 16"): _deep("PNG", 4095),
    ("PNG", "animation (APNG)"): _several("PNG"),
    ("WebP", "lossy"): _variant("webp"),
    ("WebP", "lossless"): _pillow("WEBP", lossless=True),
    ("WebP", "animation"): _several("WEBP"),
    ("TIFF", "strips"): _variant("tiff"),
    ("TIFF", "tiles"): _variant("tiff tiles"),
    ("TIFF", "LZW"): _variant("tiff lzw"),
    ("TIFF", "Deflate"): _variant("tiff deflate"),
    ("TIFF", "JPEG inside"): _variant("tiff jpeg"),
    ("TIFF", "CMYK"): _pillow("TIFF", "CMYK"),
    ("TIFF", "16 bits"): _variant("tiff 16 bit"),
    ("TIFF", "12 bits in 16"): _deep("TIFF", 4095),
    ("TIFF", "12 bits, packed"): _tiff(RGB.astype(np.uint16) * 16, 12),
    ("TIFF", "five bands"): _tiff(np.dstack([RGB, RGB[:, :, :2]]), 8),
    ("TIFF", "in planes"): _tiff(RGB, 8, planar=True),
    ("TIFF", "floating point, 0 to 1"): _deep("TIFF", 1, 0, "float32"),
    ("TIFF", "floating point, colour"): _tiff((RGB / 255).astype("<f4"), 32, sample_format=3),
    ("TIFF", "thermal, 16 bits (kelvin x 100)"): _deep("TIFF", 3000, 28_000),
    ("TIFF", "thermal, degrees Celsius"): _deep("TIFF", 50, -10, "float32"),
    ("TIFF", "several pages"): _several("TIFF"),
    ("BMP", "24 bits"): _variant("bmp"),
    ("BMP", "run-length"): _variant("bmp rle"),
    ("GIF", "one picture"): _variant("gif"),
    ("GIF", "animation"): _several("GIF"),
    ("AVIF", "one picture"): _variant("avif"),
    ("AVIF", "animation"): _several("AVIF"),
    ("HEIC", "8 bits"): _file("photo"),
    ("HEIC", "10 bits"): _file("ten_bit"),
    ("HEIC", "several pictures"): _file("two"),
}


def _camera_raw(make: str, **extra: int) -> bytes:
    """Write what a camera's raw file is at its beginning: a TIFF with a small preview, and the picture elsewhere."""
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[271], tags[254], tags[330] = make, 1, 8
    tags.tagtype[330] = 4
    for tag in extra.values():
        tags[tag] = b"\1\4\0\0"
        tags.tagtype[tag] = 1
    return encoded(Image.fromarray(RGB), "TIFF", tiffinfo=tags)


def _box(brand: bytes) -> bytes:
    return struct.pack(">I", 24) + b"ftyp" + brand + bytes(4) + b"isom" + brand + bytes(200)


BEGINNINGS: list[tuple[str, bytes]] = [
    ("Canon RAW (CR2)", b"II*\0\x10\0\0\0CR\2\0" + encoded(Image.fromarray(RGB), "TIFF")[12:]),
    ("Canon RAW (CR3)", _box(b"crx ")),
    ("Nikon RAW (NEF)", _camera_raw("NIKON CORPORATION")),
    ("Sony RAW (ARW)", _camera_raw("SONY")),
    ("Pentax RAW (PEF)", _camera_raw("PENTAX")),
    ("Samsung RAW (SRW)", _camera_raw("SAMSUNG")),
    ("Digital Negative RAW (DNG)", _camera_raw("Leica", version=50706)),
    ("Olympus RAW", b"IIRO\x08\0\0\0" + bytes(100)),
    ("Panasonic RAW", b"IIU\0\x08\0\0\0" + bytes(100)),
    ("Fujifilm RAW", b"FUJIFILMCCD-RAW 0201" + bytes(100)),
    ("Sigma RAW", b"FOVb" + bytes(100)),
    ("Minolta RAW", b"\0MRM" + bytes(100)),
    ("JPEG 2000", b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(100)),
    ("JPEG XL", b"\xff\x0a" + bytes(100)),
    ("Photoshop document", b"8BPS" + bytes(100)),
    ("OpenEXR", b"v/1\1" + bytes(100)),
    ("DICOM", bytes(128) + b"DICM" + bytes(100)),
    ("SVG", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
    ("PDF", b"%PDF-1.7" + bytes(100)),
    ("MP4 or QuickTime video", _box(b"isom")),
]


@pytest.mark.parametrize(
    ("image_format", "make"),
    [
        pytest.param(name, MADE[name, kind], id=f"{name} {kind}", marks=needs_heic if name == "HEIC" else ())
        for name, kind, _ in JUDGED
    ],
)
def test_every_kind_in_the_table_is_judged(image_format, make):
    """The picture comes out as it went in, whatever the kind of file: same size, same brightness, same content."""
    picture = decode(make(), Limits())
    assert (picture.image_format, picture.grey.shape) == (image_format.upper(), GREY.shape)
    agreement = np.corrcoef(picture.grey.ravel(), GREY.ravel())[0, 1]
    assert agreement > 0.95  # palettes are coarse
    assert picture.grey.std() > 0.8 * GREY.std()


@pytest.mark.parametrize(("name", "data"), BEGINNINGS, ids=[name for name, _ in BEGINNINGS])
def test_every_other_format_in_the_table_is_told_by_name(name, data):
    """Nobody has to guess what a file is that is not handled."""
    with pytest.raises(ImageError) as caught:
        decode(data, Limits())
    assert (caught.value.issue, caught.value.detail) == ("unsupported", f"{name} is not handled")


def test_the_code_lists_exactly_what_is_made_here():
    """docs/formats.md is made from the code, and promises what is tested here, nothing more and nothing less."""
    assert [(name, kind) for name, kind, _ in JUDGED] == list(MADE)
    assert list(NAMED) == [name for name, _ in BEGINNINGS]
    page = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    assert formats_page(page) == page
