"""The table of formats in docs/formats.md: each row is made and judged here, and the document has exactly these."""

import importlib.util
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from bench.variants import VARIANTS
from imageguard_daemon.errors import ImageError
from imageguard_daemon.quality.decoding import Limits, decode
from tests.helpers.images import Rgb, encoded, photo

ROOT = Path(__file__).parents[3]
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


JUDGED: list[tuple[str, str, str, Make]] = [
    ("JPEG", "baseline", "", _variant("jpeg")),
    ("JPEG", "progressive", "", _variant("jpeg progressive")),
    ("JPEG", "restart markers", "", _variant("jpeg restarts")),
    ("JPEG", "grey", "", _variant("jpeg grey")),
    ("JPEG", "CMYK", "inks are inverted, as Adobe does and all writers follow", _variant("jpeg cmyk")),
    ("JPEG", "several pictures (MPO)", "the first picture", _several("MPO")),
    ("PNG", "8 bits", "", _variant("png")),
    ("PNG", "interlaced", "", _variant("png interlaced")),
    ("PNG", "palette", "", _variant("png palette")),
    ("PNG", "16 bits", "", _variant("png 16 bit")),
    ("PNG", "12 bits in 16", "by the bits in use", _deep("PNG", 4095)),
    ("PNG", "animation (APNG)", "the first picture", _several("PNG")),
    ("WebP", "lossy", "", _variant("webp")),
    ("WebP", "lossless", "", _pillow("WEBP", lossless=True)),
    ("WebP", "animation", "the first picture", _several("WEBP")),
    ("TIFF", "strips", "", _variant("tiff")),
    ("TIFF", "tiles", "", _variant("tiff tiles")),
    ("TIFF", "LZW", "", _variant("tiff lzw")),
    ("TIFF", "Deflate", "", _variant("tiff deflate")),
    ("TIFF", "JPEG inside", "", _variant("tiff jpeg")),
    ("TIFF", "CMYK", "", _pillow("TIFF", "CMYK")),
    ("TIFF", "16 bits", "", _variant("tiff 16 bit")),
    ("TIFF", "12 bits in 16", "by the bits in use", _deep("TIFF", 4095)),
    ("TIFF", "floating point, 0 to 1", "", _deep("TIFF", 1, 0, "float32")),
    ("TIFF", "thermal, 16 bits (kelvin x 100)", "from the smallest to the largest", _deep("TIFF", 3000, 28_000)),
    ("TIFF", "thermal, degrees Celsius", "from the smallest to the largest", _deep("TIFF", 50, -10, "float32")),
    ("TIFF", "several pages", "the first page", _several("TIFF")),
    ("BMP", "24 bits", "", _variant("bmp")),
    ("BMP", "run-length", "", _variant("bmp rle")),
    ("GIF", "one picture", "", _variant("gif")),
    ("GIF", "animation", "the first picture", _several("GIF")),
    ("AVIF", "one picture", "", _variant("avif")),
    ("AVIF", "animation", "the first picture", _several("AVIF")),
    ("HEIC", "8 bits", "needs the extra `heic`", _file("photo")),
    ("HEIC", "10 bits", "needs the extra `heic`", _file("ten_bit")),
    ("HEIC", "several pictures", "needs the extra `heic`; the primary picture", _file("two")),
]


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


NAMED: list[tuple[str, bytes]] = [
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
    ("SVG", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
    ("PDF", b"%PDF-1.7" + bytes(100)),
    ("MP4 or QuickTime video", _box(b"isom")),
]


@pytest.mark.parametrize(
    ("image_format", "make"),
    [
        pytest.param(name, make, id=f"{name} {kind}", marks=needs_heic if name == "HEIC" else ())
        for name, kind, _, make in JUDGED
    ],
)
def test_every_kind_in_the_table_is_judged(image_format, make):
    """The picture comes out as it went in, whatever the kind of file: same size, same brightness, same content."""
    picture = decode(make(), Limits())
    assert (picture.image_format, picture.grey.shape) == (image_format.upper(), GREY.shape)
    agreement = np.corrcoef(picture.grey.ravel(), GREY.ravel())[0, 1]
    assert agreement > 0.95  # palettes are coarse
    assert picture.grey.std() > 0.8 * GREY.std()


@pytest.mark.parametrize(("name", "data"), NAMED, ids=[name for name, _ in NAMED])
def test_every_other_format_in_the_table_is_told_by_name(name, data):
    """Nobody has to guess what a file is that is not handled."""
    with pytest.raises(ImageError) as caught:
        decode(data, Limits())
    assert (caught.value.issue, caught.value.detail) == ("unsupported", f"{name} is not handled")


def test_the_document_has_exactly_these_rows():
    """docs/formats.md promises what is tested here, nothing more and nothing less."""
    document = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    table = document.split("| format | kind | judged |\n|---|---|---|\n")[1].split("\n\n")[0]
    assert table.splitlines() == [f"| {name} | {kind} | {rule or 'as it is'} |" for name, kind, rule, _ in JUDGED]
    assert f"by name: {', '.join(name for name, _ in NAMED)}." in " ".join(document.split())


if __name__ == "__main__":
    print("\n".join(f"| {name} | {kind} | {rule or 'as it is'} |" for name, kind, rule, _ in JUDGED))  # noqa: T201
    print(", ".join(name for name, _ in NAMED))  # noqa: T201
