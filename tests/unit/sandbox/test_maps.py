"""Maps are made elsewhere, and an answer is read as a stranger's letter."""

import struct

import numpy as np
import pytest
from PIL import Image

from imageguard_daemon.config import Scoring
from imageguard_daemon.quality.decode.decoder import Limits
from imageguard_daemon.quality.features.tiles import TILE
from imageguard_daemon.sandbox import map_process, maps
from imageguard_daemon.sandbox.maps import MapMaker, areas_of
from tests.helpers.images import jpeg, photo


def test_a_confined_process_makes_the_map_of_what_it_can_decode():
    """A photo has one, garbage none, and the process lives on."""
    maker = MapMaker(Scoring())
    try:
        assert maker.make(b"\xff\xd8 no image") == b""
        found = areas_of(maker.make(jpeg(photo(320, 240))))
        assert (found.width, found.height, found.columns) == (320, 240, 13)
        assert maker._process._process.poll() is None
    finally:
        maker.close()


def test_both_sides_speak_of_the_same():
    """The side that reads loads no image library; what it repeats is what the other side says."""
    assert maps._HEADER.format == map_process.HEADER.format
    for name in ("MOST_SIDE", "MOST_TILES", "STEPS_A_PIXEL", "STEPS_OF_ALL"):
        assert getattr(maps, f"_{name}") == getattr(map_process, name)
    assert maps.TILE_PX == TILE


def test_the_map_lies_as_the_picture_is_shown(tmp_path):
    """A camera that was held upright has its white sky on top, not at the side."""
    pixels = np.asarray(photo(480, 320)).copy()
    pixels[:, :100] = 255  # shown on top after a quarter turn clockwise
    image = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=exif, quality=95)
    found = areas_of(map_process.answer((tmp_path / "a.jpg").read_bytes(), Limits()))
    assert (found.width, found.height) == (320, 480)
    assert sum(found.white[: found.columns]) == pytest.approx(found.columns, abs=0.2)
    assert sum(found.white[-found.columns :]) < 1


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        struct.pack("<HHHH", 0, 0, 0, 0),
        struct.pack("<HHHH", 48, 48, 2, 2) + b"x" * 11,
        struct.pack("<HHHH", 48, 48, 2, 2) + b"x" * 13,
        struct.pack("<HHHH", 24, 24, 2, 2) + b"x" * 12,
        struct.pack("<HHHH", 2048, 48, 1, 1) + b"x" * 3,
        struct.pack("<HHHH", 48, 48, 0, 2) + b"",
    ],
)
def test_an_answer_that_makes_no_sense_is_no_map(answer):
    """Whoever took over the process cannot make us read beyond what it sent."""
    assert areas_of(answer) is None
