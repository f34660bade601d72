"""Damage inside files is found, harmless oddities are not called damage."""

import io
import struct
import zlib
from random import Random

import numpy as np
import pytest
from PIL import Image

from bench.damage import DAMAGES
from bench.variants import VARIANTS, png_chunk
from imageguard_daemon.core.errors import ImageError
from imageguard_daemon.core.model import Limits
from imageguard_daemon.quality.decode import tiff
from imageguard_daemon.quality.decode.decoder import decode
from imageguard_daemon.quality.decode.picture import hole_in
from imageguard_daemon.quality.decode.tiff import deflated_whole
from tests.helpers.images import encoded, jpeg, noisy, photo, png

LIMITS = Limits()
# Grain as a sensor's makes files of many sectors.
RGB = noisy(photo(320, 240), 4)
GREY = np.asarray(Image.fromarray(RGB).convert("L")).astype(int)


def seeded(seed: int) -> Random:
    """Give a generator for damage, which is no secret."""
    return Random(seed)  # noqa: S311


def damaged_by(name: str, data: bytes, seed: int) -> bytes:
    """Give the file with one kind of damage."""
    return DAMAGES[name](data, seeded(seed))


def found(data: bytes) -> str:
    """Give what is said against a file, or nothing."""
    try:
        decode(data, LIMITS)
    except ImageError as error:
        return f"{error.issue}: {error.detail}"
    return ""


@pytest.mark.parametrize("kind", VARIANTS)
def test_every_kind_of_file_gives_the_luma_of_the_picture(kind):
    """Depth, colour model, interlacing, tiles, runs, pages and frames make no difference to what is judged."""
    if kind == "tiff g4":
        pytest.skip("black and white has another luma on purpose")
    grey = decode(VARIANTS[kind](RGB), LIMITS).grey
    opaque = slice(RGB.shape[1] // 8, None) if kind == "webp alpha" else slice(None)
    assert np.abs(grey[:, opaque] - GREY[:, opaque]).mean() < (14 if kind in ("png palette", "gif", "bmp rle") else 5)


@pytest.mark.parametrize("kind", VARIANTS)
@pytest.mark.parametrize("name", ["truncated", "tail missing"])
def test_files_that_end_too_early_are_corrupt(kind, name):
    """Wherever an upload breaks off, the rest is never judged."""
    data = VARIANTS[kind](RGB)
    if kind == "tiff two pages":
        pytest.skip("what is missing belongs to a later picture")
    for seed in range(5):
        assert found(damaged_by(name, data, seed)).startswith("corrupt"), seed


@pytest.mark.parametrize("kind", ["png", "png 16 bit", "png interlaced", "png palette", "tiff tiles deflate"])
@pytest.mark.parametrize("name", DAMAGES)
def test_formats_with_checksums_hide_nothing(kind, name):
    """Whatever happens to the data of a PNG or of a deflated TIFF is found."""
    data = VARIANTS[kind](RGB)
    intact = decode(data, LIMITS).grey
    for seed in range(3):
        damaged = damaged_by(name, data, seed)
        assert found(damaged).startswith("corrupt") or np.array_equal(decode(damaged, LIMITS).grey, intact), seed


@pytest.mark.parametrize("kind", [kind for kind in VARIANTS if kind.startswith("jpeg")])
@pytest.mark.parametrize(
    "name", ["zero sectors", "0xFF block", "random block", "zero tail", "strange tail", "lost block"]
)
def test_blocks_lost_inside_a_jpeg_are_found(kind, name):
    """A torn JPEG is corrupt, of every kind, CMYK included."""
    data = VARIANTS[kind](RGB)
    assert sum(found(damaged_by(name, data, seed)).startswith("corrupt") for seed in range(10)) >= 9


@pytest.mark.parametrize("kind", ["webp", "webp lossless", "avif", "tiff jpeg", "gif", "tiff lzw"])
@pytest.mark.parametrize("name", ["zero sectors"])
def test_holes_are_found_where_the_decoder_sees_none(kind, name):
    """A decoder without checksums makes grey soup of a hole; the hole itself is seen."""
    data = VARIANTS[kind](RGB)
    assert sum(found(damaged_by(name, data, seed)).startswith("corrupt") for seed in range(8)) >= 7
    assert found(data[:4096] + bytes(len(data) - 4096)).startswith("corrupt")


@pytest.mark.parametrize("level", [0, 117, 255])
@pytest.mark.parametrize(
    ("image_format", "options"),
    [
        ("JPEG", {"optimize": True}),
        ("JPEG", {"progressive": True}),
        ("WEBP", {"quality": 80}),
        ("WEBP", {"lossless": True}),
        ("AVIF", {"speed": 10}),
        ("TIFF", {"compression": "tiff_adobe_deflate"}),
    ],
)
def test_blank_areas_are_no_holes(level, image_format, options):
    """A sky of one colour is long runs of zeros in some files, and nothing is missing."""
    pixels = np.full((1500, 1500, 3), level, np.uint8)
    pixels[:100, :100] = RGB[:100, :100]
    assert not found(encoded(Image.fromarray(pixels), image_format, **options))


def test_a_hole_begins_and_ends_with_a_sector():
    """Zeros that an encoder wrote may be anywhere; sectors that were never written may not."""
    rest = b"\x01" * 512
    assert hole_in(rest + bytes(1024) + rest, 0, 2048) == 512
    assert hole_in(rest + b"\x01" + bytes(1023) + rest, 0, 2048) is None
    assert hole_in(rest + bytes(1000) + rest, 0, 2024) is None
    assert hole_in(rest + b"\xff" * 512 + rest, 0, 1536) == 512


def test_what_was_never_written_at_the_end_begins_with_a_page():
    """An encoder may end with zeros; a file system gives the rest of a file back in pages."""
    rest = b"\x01" * 512
    assert hole_in(rest * 8 + bytes(700), 0, 4796) == 4096
    assert hole_in(rest * 7 + bytes(700), 0, 4284) is None


def test_bytes_left_over_in_a_jpeg_are_blocks_that_were_not_read():
    """A few bytes before the end are padding only if they are zeros."""
    data = jpeg(RGB)
    assert not found(data[:-2] + bytes(40) + data[-2:])
    assert found(data[:-2] + seeded(1).randbytes(40).replace(b"\xff", b"\x01") + data[-2:]).startswith("corrupt")


@pytest.mark.parametrize("trailer", [b"\0" * 8192, b"\xff" * 5000, b"MotionPhoto_Data" * 99, jpeg(RGB)])
@pytest.mark.parametrize("kind", ["jpeg", "jpeg progressive", "png", "gif", "webp", "bmp"])
def test_what_follows_a_whole_picture_is_no_damage(kind, trailer):
    """Previews, films and makers' data after the picture are left alone, whatever is in them."""
    assert not found(VARIANTS[kind](RGB) + trailer)


@pytest.mark.parametrize("chunk", [b"tEXt", b"eXIf", b"iCCP", b"tIME", b"pHYs"])
def test_a_wrong_checksum_of_metadata_leaves_a_png_whole(chunk):
    """The picture is judged by its pixels: a date with a flipped bit quarantines nothing."""
    data = png(RGB)
    bad = png_chunk(chunk, b"Title\0 anything")
    bad = bad[:-1] + bytes([bad[-1] ^ 1])
    grey = decode(data[:33] + bad + data[33:], LIMITS).grey
    assert np.array_equal(grey, decode(data, LIMITS).grey)


@pytest.mark.parametrize("chunk", [b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"])
def test_a_wrong_checksum_of_what_is_seen_makes_a_png_corrupt(chunk):
    """Size, palette, transparency and pixels are the picture."""
    image = Image.fromarray(RGB).quantize(32)
    data = bytearray(encoded(image, "PNG", transparency=3))
    at = data.index(chunk)
    length = int.from_bytes(data[at - 4 : at], "big")
    data[at + 4 + length] ^= 1
    assert "checksum" in found(bytes(data))


def test_a_missing_trailer_of_a_whole_gif_is_no_damage():
    """All pixels of the picture are there without the last byte; without the last block they are not."""
    data = encoded(Image.fromarray(RGB), "GIF")
    assert not found(data[:-1])
    assert found(data[:-200]).startswith("corrupt")


def test_deflated_data_is_read_within_a_bound():
    """A checksum that does not fit is damage; a bomb is not read to its end."""
    part = zlib.compress(bytes(range(256)) * 40)
    assert deflated_whole(part, 20_000)
    assert not deflated_whole(part[:-1] + bytes([part[-1] ^ 1]), 20_000)
    assert deflated_whole(part[:-4], 10_240)
    assert not deflated_whole(zlib.compress(bytes(100_000_000)), 1000)


def test_a_decoder_that_fails_in_its_own_way_is_a_corrupt_file():
    """No exception of Pillow's plug-ins leaves the decoder: AVIF's raises RuntimeError."""
    data = bytearray(VARIANTS["avif"](RGB))
    at = data.index(b"mdat") + 4
    data[at + 12 : at + 90] = seeded(3).randbytes(78)
    complaint = found(bytes(data))
    assert not complaint or complaint.startswith("corrupt")


def test_cmyk_gives_the_luma_that_pillow_gives():
    """Inverted inks come out as the picture, not as its negative."""
    data = VARIANTS["jpeg cmyk"](RGB)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB").convert("L")).astype(int)
    assert np.abs(decode(data, LIMITS).grey - expected).max() <= 2


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("predictor", [1, 2])
def test_sound_deflated_tiff_is_unpacked_once(mode, predictor, monkeypatch):
    """Its checksums are held against the pixels: nothing is unpacked a second time only to be checked."""
    data = encoded(Image.fromarray(RGB).convert(mode), "TIFF", compression="tiff_deflate", tiffinfo={317: predictor})
    monkeypatch.setattr(tiff, "deflated_whole", lambda *_: pytest.fail("unpacked again"))
    assert found(data) == ""


@pytest.mark.parametrize("predictor", [1, 2])
def test_a_wrong_checksum_in_deflated_tiff_is_found(predictor):
    """The four bytes that libtiff never reads tell that a strip is not what was written."""
    data = bytearray(encoded(Image.fromarray(RGB), "TIFF", compression="tiff_deflate", tiffinfo={317: predictor}))
    with Image.open(io.BytesIO(data)) as image:
        start, size = image.tag_v2[273][0], image.tag_v2[279][0]
    data[start + size - 2] ^= 0x10
    assert found(bytes(data)).startswith("corrupt: TIFF")


def test_deflated_tiff_with_bytes_behind_a_strip_is_sound():
    """Padding that a writer counts to a strip is no damage."""
    data = encoded(Image.fromarray(RGB), "TIFF", compression="tiff_deflate", tiffinfo={278: 240})
    with Image.open(io.BytesIO(data)) as image:
        (start,), (size,) = image.tag_v2[273], image.tag_v2[279]
    moved = data + data[start : start + size] + b"pad"
    for tag, was, becomes in ((273, start, len(data)), (279, size, size + 3)):
        entry = struct.pack("<HHII", tag, 4, 1, was)
        assert entry in moved
        moved = moved.replace(entry, struct.pack("<HHII", tag, 4, 1, becomes))
    assert found(moved) == ""
