"""Plain PNG and WebP stills take the short way, everything else the long one, and nobody can tell by the pixels."""

import io

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from bench.variants import VARIANTS, png_chunk
from imageguard_daemon.quality import decoding
from imageguard_daemon.quality.decoding import Limits, decode
from imageguard_daemon.quality.luma import grey_of
from imageguard_daemon.quality.plain import plain_grey
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


@pytest.mark.parametrize("kind", PLAIN)
def test_plain_stills_have_the_pixels_that_pillow_reads(kind):
    """Which library decodes is no matter of the result: every pixel is the same."""
    data = PLAIN[kind]
    grey = plain_grey(data, kind.split()[0].upper())
    assert grey is not None
    assert np.array_equal(grey, by_pillow(data))


@pytest.mark.parametrize("kind", [name for name in VARIANTS if name.startswith(("png", "webp"))])
def test_whatever_way_a_file_takes_its_luma_is_the_same(kind, monkeypatch):
    """Transparency, depth, palettes and animation never take the short way, so that nothing of them is lost."""
    data = VARIANTS[kind](RGB)
    found = decode(data, Limits()).grey
    monkeypatch.setattr(decoding, "plain_grey", lambda *_: None)
    assert np.array_equal(found, decode(data, Limits()).grey)


@pytest.mark.parametrize(
    "data",
    [
        encoded(PICTURE.convert("RGBA"), "PNG"),
        encoded(PICTURE.convert("P"), "PNG"),
        encoded(Image.fromarray(np.zeros((9, 9), np.uint16)), "PNG"),
        encoded(PICTURE, "PNG", transparency=(1, 2, 3)),
        encoded(PICTURE, "PNG", save_all=True, append_images=[PICTURE.rotate(90)]),
        encoded(SEE_THROUGH, "WEBP", lossless=True),
        encoded(PICTURE, "WEBP", save_all=True, append_images=[PICTURE.rotate(90)]),
    ],
    ids=["alpha", "palette", "16 bits", "transparent colour", "animated png", "webp alpha", "animated webp"],
)
def test_what_is_not_plain_is_left_to_pillow(data):
    """The short way says no to all that it does not read in full."""
    assert plain_grey(data, "PNG" if data.startswith(b"\x89PNG") else "WEBP") is None


def test_a_png_cut_inside_its_compressed_data_is_not_taken():
    """Sound checksums around a stream that ends too early give no half picture."""
    data = PLAIN["png rgb"]
    at = data.index(b"IDAT")
    size = int.from_bytes(data[at - 4 : at], "big")
    cut = data[: at - 4] + png_chunk(b"IDAT", data[at + 4 : at + 4 + size // 2]) + png_chunk(b"IEND", b"")
    assert plain_grey(cut, "PNG") is None


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


def test_exif_in_the_old_way_is_left_to_pillow():
    """What ImageMagick once wrote as text still turns the picture."""
    information = PngImagePlugin.PngInfo()
    information.add_text("Raw profile type exif", "\nexif\n      14\n4578696600004949", zip=True)
    data = encoded(PICTURE, "PNG", pnginfo=information)
    assert plain_grey(data, "PNG") is None
