"""Bytes to pixels and facts, within limits."""

import struct
import zlib

import cv2
import numpy as np
import PIL
import pytest
from PIL import Image

from imageguard_daemon.core.errors import ImageError
from imageguard_daemon.core.model import Limits
from imageguard_daemon.quality.decode import decoder
from imageguard_daemon.quality.decode.decoder import decode
from imageguard_daemon.quality.decode.formats import HANDLED
from imageguard_daemon.quality.decode.luma import scaled_to_8_bit
from imageguard_daemon.quality.decode.pillow_pixels import camera_name
from tests.helpers.images import encoded, jpeg, photo, png, with_orientation

LIMITS = Limits()
RGB = photo(96, 64)
GREY = np.asarray(Image.fromarray(RGB).convert("L"))


def difference(data: bytes, expected: np.ndarray = GREY) -> float:
    return float(np.abs(decode(data, LIMITS).grey.astype(int) - expected).mean())


@pytest.mark.parametrize("width", [64, 65, 66, 67])
@pytest.mark.parametrize("is_top_down", [False, True])
def test_a_bmp_gives_the_same_whichever_way_its_rows_lie(width: int, is_top_down: bool):
    """Rows may be filled up, and may begin at the top: the luma is that of the pixels."""
    rgb = photo(width, 50, seed=width)
    data = bytearray(encoded(Image.fromarray(rgb[::-1] if is_top_down else rgb), "BMP"))
    if is_top_down:
        data[22:26] = (-50).to_bytes(4, "little", signed=True)
    assert np.array_equal(decoder.decode(bytes(data), Limits()).grey, cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY))
    with pytest.raises(ImageError, match="corrupt"):
        decoder.decode(bytes(data[:-9]), Limits())


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "AVIF"])
def test_every_handled_format_decodes_to_luma(image_format):
    """Each format gives the same picture, its size and its name."""
    data = encoded(Image.fromarray(RGB), image_format)
    picture = decode(data, LIMITS)
    assert (picture.width, picture.height, picture.image_format) == (96, 64, image_format)
    assert picture.grey.dtype == np.uint8
    assert difference(data) < 6


@pytest.mark.parametrize(
    ("mode", "image_format"),
    [
        ("L", "JPEG"),
        ("CMYK", "JPEG"),
        ("L", "PNG"),
        ("P", "PNG"),
        ("RGBA", "PNG"),
        ("LA", "PNG"),
        ("CMYK", "TIFF"),
        pytest.param(
            *("YCbCr", "TIFF"),
            marks=pytest.mark.skipif(PIL.__version__ < "13", reason="Pillow before 13 cannot read these"),
        ),
        ("RGBA", "WEBP"),
    ],
)
def test_every_mode_decodes_to_luma(mode, image_format):
    """Colour model, palette and an opaque alpha channel make no difference."""
    assert difference(encoded(Image.fromarray(RGB).convert(mode), image_format)) < 12  # palettes are coarse


def test_one_bit_images_are_black_and_white():
    """A bilevel scan is a picture of 0 and 255."""
    picture = decode(encoded(Image.fromarray(GREY > 100), "PNG"), LIMITS)
    assert set(np.unique(picture.grey)) == {0, 255}


def test_transparency_lies_over_middle_grey():
    """What is fully transparent counts neither as blown nor as crushed."""
    rgba = np.dstack([RGB, np.where(np.arange(96) < 48, 255, 0)[None].repeat(64, 0).astype(np.uint8)])
    grey = decode(encoded(Image.fromarray(rgba), "PNG"), LIMITS).grey
    assert set(np.unique(grey[:, 48:])) == {128}
    assert np.abs(grey[:, :48].astype(int) - GREY[:, :48]).max() <= 1


@pytest.mark.parametrize("image_format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_picture_of_several_is_judged(image_format):
    """An animation or a document of several pages is judged by what it shows first."""
    second = Image.fromarray(np.zeros_like(RGB))
    data = encoded(Image.fromarray(RGB), image_format, save_all=True, append_images=[second])
    assert difference(data) < 8


@pytest.mark.parametrize("bits", [10, 12, 16])
@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("pixels", [RGB, GREY], ids=["colour", "grey"])
def test_deep_images_keep_their_brightness(bits, suffix, pixels):
    """12-bit data in a 16-bit file is no black picture."""
    deep = (pixels.astype(np.float64) / pixels.max() * (2**bits - 1)).astype(np.uint16)
    data = cv2.imencode(suffix, deep[..., ::-1] if deep.ndim == 3 else deep)[1].tobytes()
    expected = GREY.astype(float) * 255 / pixels.max()
    assert difference(data, expected) < 2


def test_floating_point_is_scaled_by_its_own_white():
    """Samples of 0 to 1 fill the range; infinities and NaN are no brightness, and become middle grey."""
    scaled = scaled_to_8_bit(np.array([[0, 0.5, 1.0, np.nan, np.inf, -3]], np.float32))
    assert scaled.tolist() == [[0, 128, 255, 128, 128, 0]]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_width_and_height_are_as_displayed(orientation):
    """A portrait is one whichever way the camera stored it, and the pixels stay the same."""
    picture = decode(with_orientation(RGB, orientation), LIMITS)
    assert (picture.width, picture.height) == ((96, 64) if orientation < 5 else (64, 96))
    assert np.array_equal(picture.grey, decode(with_orientation(RGB, 1), LIMITS).grey)


@pytest.mark.parametrize("image_format", ["TIFF", "PNG", "WEBP"])
def test_other_formats_are_as_displayed_too(image_format):
    """The orientation tag counts in every format that has one."""
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = decode(encoded(Image.fromarray(RGB), image_format, exif=exif), LIMITS)
    assert (picture.width, picture.height) == (64, 96)


def test_jpeg_facts_are_read():
    """Camera and table quality come with the pixels."""
    picture = decode(with_orientation(RGB, 1), LIMITS)
    assert (picture.camera, picture.table_quality) == ("Acme Snap 3", 92)


@pytest.mark.parametrize(
    ("make", "model", "name"),
    [
        ("NIKON CORPORATION", "NIKON D3400", "NIKON CORPORATION NIKON D3400"),
        ("Canon", "Canon EOS 5D", "Canon EOS 5D"),
        ("Evil\x1b[31m\n", "Cam\u202eera\0\0", "Evil [31m Cam era"),
        (None, 7, ""),
        ("A" * 500, "B", "A" * 100),
    ],
)
def test_camera_names_are_fit_for_a_log(make, model, name):
    """Whatever EXIF says, the name is one short line without control characters."""
    assert camera_name(make, model) == name


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "AVIF"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_truncated_files_are_corrupt(image_format, share):
    """Half an upload is never taken for an image."""
    data = encoded(Image.fromarray(RGB), image_format)
    with pytest.raises(ImageError) as caught:
        decode(data[: int(len(data) * share)], LIMITS)
    assert caught.value.issue == "corrupt"


def test_damage_inside_a_jpeg_scan_is_noticed():
    """A file that decodes to garbage is corrupt though its headers are fine."""
    data = bytearray(jpeg(photo(320, 240)))
    data[len(data) // 2 : len(data) // 2 + 64] = b"\xff\xd9" * 32
    with pytest.raises(ImageError, match="corrupt"):
        decode(bytes(data), LIMITS)


def test_a_flipped_bit_in_a_png_is_noticed():
    """Checksums are checked, not only present."""
    data = bytearray(png(RGB))
    data[len(data) // 2] ^= 1
    with pytest.raises(ImageError, match="checksum"):
        decode(bytes(data), LIMITS)


def test_a_tiff_whose_tag_of_numbers_has_bytes_is_corrupt():
    """Places of its strips that are none: told as what is missing, and not as a mistake of ours."""
    data = encoded(Image.fromarray(GREY), "TIFF")
    places = struct.pack("<HH", 273, 4)  # StripOffsets, of 32-bit numbers
    at = data.index(places, struct.unpack("<I", data[4:8])[0])
    damaged = data[:at] + struct.pack("<HHI", 273, 7, 4) + data[at + 8 :]
    with pytest.raises(ImageError, match=r"TIFF: 0 of .* strips are there") as raised:
        decode(damaged, LIMITS)
    assert raised.value.issue == "corrupt"


def test_rubbish_after_a_jpeg_is_no_damage():
    """Cameras and phones append their own data to good photos."""
    assert difference(jpeg(RGB) + b"trailing data" * 50) < 6


def test_a_few_bytes_before_the_end_of_a_jpeg_are_no_damage():
    """Padding that some encoders leave is not mistaken for damage; a scan that was not read is."""
    data = jpeg(RGB)
    assert difference(data[:-2] + b"\0" * 9 + data[-2:]) < 6
    with pytest.raises(ImageError, match="corrupt"):
        decode(data[:-2] + b"\0" * 999 + data[-2:], LIMITS)


def test_jpegs_that_nothing_here_reads_are_unsupported():
    """A 12-bit JPEG is intact, so it is not called corrupt."""
    data = bytearray(jpeg(RGB))
    data[data.index(b"\xff\xc0") + 4] = 12
    with pytest.raises(ImageError, match="unsupported"):
        decode(bytes(data), LIMITS)


@pytest.mark.parametrize(
    ("data", "issue", "words"),
    [
        (b"", "corrupt", "empty"),
        (b"just some text, called .jpg", "corrupt", "looks like text"),
        (b"<html><body>404</body></html>", "corrupt", "an HTML page"),
        (b"%PDF-1.4 ...", "unsupported", "PDF"),
        (b"8BPS" + bytes(40), "unsupported", "Photoshop"),
        (b"BM" + bytes(10), "corrupt", "BMP"),
    ],
)
def test_what_is_no_image_is_told_apart(data, issue, words):
    """Broken, foreign and unhandled files have different issues and say why."""
    with pytest.raises(ImageError) as caught:
        decode(data, LIMITS)
    assert caught.value.issue == issue
    assert words in caught.value.detail


def bomb(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"0")) + chunk(b"IEND", b"")


def test_a_bomb_is_refused_by_its_header():
    """Nothing is decoded when the header claims more pixels than allowed, and the claim is told."""
    with pytest.raises(ImageError) as caught:
        decode(bomb(60_000, 60_000), LIMITS)
    assert caught.value.issue == "too_large"
    assert "3600 megapixels" in caught.value.detail


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_the_pixel_limit_holds_for_every_decoder(image_format):
    """One pixel more than allowed is too large, exactly the limit is not."""
    data = encoded(Image.fromarray(RGB), image_format)
    assert decode(data, Limits(max_pixels=96 * 64)).width == 96
    with pytest.raises(ImageError, match="too_large"):
        decode(data, Limits(max_pixels=96 * 64 - 1))


def test_every_format_that_is_handled_has_a_decoder():
    """Adding a format takes its first bytes in formats.py and one line of the table."""
    assert set(decoder._DECODERS) == HANDLED
