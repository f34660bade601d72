"""What OpenCV reads in less time it reads as Pillow does, and nobody can tell by the pixels who did."""

import io

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from bench.variants import VARIANTS, png_chunk
from imageguard_daemon.core.model import Limits
from imageguard_daemon.quality.decode import opencv, other_formats, png
from imageguard_daemon.quality.decode.decoder import decode
from imageguard_daemon.quality.decode.luma import grey_of
from tests.helpers.images import encoded, noisy, photo

RGB = noisy(photo(161, 120), 3)
PICTURE = Image.fromarray(RGB)
SEE_THROUGH = Image.fromarray(np.dstack([RGB, RGB[:, :, 0]]))
PLAIN = {
    "png rgb": encoded(PICTURE, "PNG"),
    "png grey": encoded(PICTURE.convert("L"), "PNG"),
    "webp lossy": encoded(PICTURE, "WEBP", quality=80),
    "webp lossless": encoded(PICTURE, "WEBP", lossless=True),
    "webp with exif": encoded(PICTURE, "WEBP", quality=80, exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"),
}


def by_pillow(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return grey_of(np.asarray(image if image.mode == "L" else image.convert("RGB")))


def by_opencv(data: bytes) -> np.ndarray | None:
    return png.quick_grey(png.read(data)) if data.startswith(b"\x89PNG") else other_formats.quick_grey(data)


@pytest.mark.parametrize("kind", PLAIN)
def test_plain_stills_have_the_pixels_that_pillow_reads(kind):
    """Which library decodes is no matter of the result: every pixel is the same."""
    grey = by_opencv(PLAIN[kind])
    assert grey is not None
    assert np.array_equal(grey, by_pillow(PLAIN[kind]))


@pytest.mark.parametrize("kind", [name for name in VARIANTS if name.startswith(("png", "webp"))])
def test_whatever_way_a_file_takes_its_luma_is_the_same(kind, monkeypatch):
    """Transparency, depth, palettes and interlacing come out alike; Pillow reads the high byte of deep colour alone."""
    data = VARIANTS[kind](RGB)
    found = decode(data, Limits()).grey.astype(int)
    monkeypatch.setattr(opencv, "pixels_of", lambda *_: None)
    assert np.abs(found - decode(data, Limits()).grey).max() <= (kind == "png 16 bit")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("key", [None, 3])
def test_png_of_every_colour_type_has_the_pixels_that_pillow_reads(mode, key, monkeypatch):
    """A colour that stands for nothing is laid over middle grey in each of them."""
    image = Image.fromarray(RGB[:, :, 0].astype(np.uint16) * 257) if mode == "I;16" else PICTURE.convert(mode)
    options = {} if key is None or mode in ("LA", "RGBA") else {"transparency": (3, 3, 3) if mode == "RGB" else key}
    data = encoded(image, "PNG", **options)
    found = decode(data, Limits()).grey.astype(int)
    monkeypatch.setattr(opencv, "pixels_of", lambda *_: None)
    assert np.abs(found - decode(data, Limits()).grey).max() <= 1


@pytest.mark.parametrize(
    "data",
    [
        encoded(PICTURE.convert("L"), "PNG", transparency=3),
        encoded(SEE_THROUGH, "WEBP", lossless=True),
        encoded(PICTURE, "WEBP", save_all=True, append_images=[PICTURE.rotate(90)]),
    ],
    ids=["transparent grey", "webp alpha", "animated webp"],
)
def test_what_opencv_reads_otherwise_is_left_to_pillow(data):
    """The short way says no to all that it does not read in full."""
    assert by_opencv(data) is None


@pytest.mark.parametrize("kind", ["png rgb", "png grey"])
def test_a_png_cut_inside_its_compressed_data_is_not_taken(kind):
    """Sound checksums around a stream that ends too early give no half picture."""
    data = PLAIN[kind]
    at = data.index(b"IDAT")
    size = int.from_bytes(data[at - 4 : at], "big")
    cut = data[: at - 4] + png_chunk(b"IDAT", data[at + 4 : at + 4 + size // 2]) + png_chunk(b"IEND", b"")
    assert by_opencv(cut) is None


def test_the_camera_and_the_turn_of_a_plain_png_are_read():
    """EXIF of a PNG counts, whether it stands before the pixels or after them."""
    exif = Image.Exif()
    exif[0x0112], exif[0x0110] = 6, "Snap 3"
    before = encoded(PICTURE, "PNG", exif=exif.tobytes())
    block = exif.tobytes().removeprefix(b"Exif\0\0")
    end = before.rindex(b"IEND") - 4
    after = encoded(PICTURE, "PNG")
    after = after[: after.rindex(b"IEND") - 4] + png_chunk(b"eXIf", block) + before[end:]
    for data in (before, after):
        picture = decode(data, Limits())
        assert (picture.width, picture.height, picture.camera) == (120, 161, "Snap 3")


@pytest.mark.parametrize("packed", [True, False])
def test_exif_in_the_old_way_still_turns_the_picture(packed):
    """What ImageMagick once wrote as text counts as EXIF does."""
    exif = Image.Exif()
    exif[0x0112] = 6
    block = exif.tobytes()
    information = PngImagePlugin.PngInfo()
    information.add_text("Raw profile type exif", f"\nexif\n {len(block)}\n{block.hex()}\n", zip=packed)
    picture = decode(encoded(PICTURE, "PNG", pnginfo=information), Limits())
    assert (picture.width, picture.height) == (120, 161)
