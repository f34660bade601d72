"""An answer of a confined process is read as a stranger's letter."""

import struct

import numpy as np
import pytest
from PIL import Image

from imageguard_daemon.core.model import Limits, Measurement
from imageguard_daemon.quality.features.tiles import TILE
from imageguard_daemon.sandbox import answers
from imageguard_daemon.sandbox.answers import (
    THUMBNAIL_SIDE,
    pack_measurement,
    read_areas,
    read_measurement,
    read_pixels,
)
from imageguard_daemon.sandbox.tasks import area_map, thumbnail
from tests.helpers.images import jpeg, photo

SIZE = struct.Struct("<HH")


def test_tiles_are_those_of_the_features() -> None:
    """The side that reads loads no image library; what it repeats is what the other side says."""
    assert answers.TILE_PX == TILE


def test_the_map_lies_as_the_picture_is_shown(tmp_path):
    """A camera that was held upright has its white sky on top, not at the side."""
    pixels = np.asarray(photo(480, 320)).copy()
    pixels[:, :100] = 255  # shown on top after a quarter turn clockwise
    image = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=exif, quality=95)
    found = read_areas(area_map.run((tmp_path / "a.jpg").read_bytes(), Limits()))
    assert (found.width, found.height) == (320, 480)
    assert sum(found.white[: found.columns]) == pytest.approx(found.columns, abs=0.2)
    assert sum(found.white[-found.columns :]) < 1


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        struct.pack("<HHHH", 48, 48, 2, 2) + b"x" * 11,
        struct.pack("<HHHH", 48, 48, 2, 2) + b"x" * 13,
        struct.pack("<HHHH", 24, 24, 2, 2) + b"x" * 12,
        struct.pack("<HHHH", 2048, 48, 1, 1) + b"x" * 3,
        struct.pack("<HHHH", 48, 48, 0, 2) + b"",
    ],
)
def test_an_answer_that_makes_no_sense_is_no_map(answer):
    """Whoever took over the process cannot make us read beyond what it sent."""
    with pytest.raises(ValueError, match="no such"):
        read_areas(answer)
    assert read_areas(struct.pack("<HHHH", 0, 0, 0, 0)) is None


@pytest.mark.parametrize(
    "answer",
    [b"", b"\0", SIZE.pack(2, 2) + b"x" * 11, SIZE.pack(THUMBNAIL_SIDE + 1, 1) + b"x" * 3 * (THUMBNAIL_SIDE + 1)],
)
def test_an_answer_that_makes_no_sense_is_no_picture(answer: bytes) -> None:
    """Nor beyond the pixels it sent."""
    with pytest.raises(ValueError, match="no such"):
        read_pixels(answer)
    assert read_pixels(SIZE.pack(0, 0)) is None


@pytest.mark.parametrize("answer", [b"", b"[]", b"{}", b"[" * 100_000, b"null", b'{"issue": "stolen"}'])
def test_an_answer_that_makes_no_sense_is_no_measurement(answer: bytes) -> None:
    """Whatever it is, one error says so."""
    with pytest.raises(ValueError):  # noqa: PT011 - whichever it is
        read_measurement(answer)


def test_a_measurement_comes_through_as_it_was() -> None:
    """With long texts cut, as nobody reads them to their end."""
    said = Measurement("", issue="corrupt", detail="x" * 5000, image_format="PNG")
    assert read_measurement(pack_measurement(said)) == Measurement(
        "", issue="corrupt", detail="x" * 2000, image_format="PNG"
    )


def test_a_thumbnail_says_what_was_made() -> None:
    """Width and height, then their pixels; for what is no image neither."""
    pixels = read_pixels(thumbnail.run(jpeg(photo(320, 240)), Limits()))
    assert pixels is not None
    assert (pixels.width, pixels.height, len(pixels.rgb)) == (160, 120, 3 * 160 * 120)
    assert read_pixels(thumbnail.run(b"no image", Limits())) is None
    assert read_pixels(thumbnail.run(jpeg(photo(320, 240)), Limits(max_pixels=1000))) is None
