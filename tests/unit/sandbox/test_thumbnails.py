"""Thumbnails are made elsewhere, of the image that was judged, or not at all."""

import hashlib
import io
import os
from pathlib import Path

import pytest
from PIL import Image

from imageguard_daemon.config import Scoring
from imageguard_daemon.sandbox import thumbnails
from imageguard_daemon.sandbox.thumbnail_process import HEADER, SIDE, thumbnail
from tests.helpers.images import jpeg, photo, png

SETTINGS = Scoring()


def wanted(path: Path, content: bytes) -> tuple[Path, str]:
    """Put a file there and give what a report asks for."""
    path.write_bytes(content)
    return path, hashlib.sha256(content).hexdigest()


def test_pictures_are_small_and_of_every_kind(tmp_path: Path) -> None:
    """JPEG and PNG become JPEGs of at most 160 pixels, with their proportions."""
    asked = {1: wanted(tmp_path / "a.jpg", jpeg(photo(640, 480))), 2: wanted(tmp_path / "b.png", png(photo(100, 300)))}
    made = thumbnails.thumbnails_of(asked, SETTINGS)
    sizes = {number: Image.open(io.BytesIO(data), formats=["JPEG"]).size for number, data in made.items()}
    assert sizes == {1: (160, 120), 2: (53, 160)}


def test_what_cannot_be_had_is_left_out(tmp_path: Path) -> None:
    """Garbage, a bomb, a file that changed, one that is gone, a pipe and a link cost only their own picture."""
    good = wanted(tmp_path / "good.jpg", jpeg(photo(64, 64)))
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(good[0])
    changed = wanted(tmp_path / "changed.jpg", jpeg(photo(64, 64, seed=2)))
    changed[0].write_bytes(jpeg(photo(64, 64, seed=3)))
    asked = {
        1: wanted(tmp_path / "garbage.jpg", b"\xff\xd8" + os.urandom(1000)),
        2: changed,
        3: (tmp_path / "gone.jpg", good[1]),
        4: (tmp_path / "pipe", good[1]),
        5: (tmp_path / "link", good[1]),
        6: good,
    }
    assert set(thumbnails.thumbnails_of(asked, SETTINGS)) == {6}
    assert thumbnails.thumbnails_of({1: good}, Scoring(max_pixels=100)) == {}


@pytest.mark.parametrize(
    "answer",
    [b"", b"\0", HEADER.pack(0, 0), HEADER.pack(2, 2) + b"x" * 11, HEADER.pack(SIDE + 1, 1) + b"x" * 3 * (SIDE + 1)],
)
def test_an_answer_that_makes_no_sense_is_no_picture(answer: bytes) -> None:
    """Whoever took over the process cannot make us read beyond what it sent."""
    assert thumbnails._jpeg(answer) == b""


def test_the_process_says_what_it_made() -> None:
    """Width and height, then their pixels; for what is no image neither."""
    width, height = HEADER.unpack_from(answer := thumbnail(jpeg(photo(320, 240)), 10**6))
    assert (width, height, len(answer)) == (160, 120, HEADER.size + 3 * 160 * 120)
    assert thumbnail(b"no image", 10**6) == HEADER.pack(0, 0)
    assert thumbnail(jpeg(photo(320, 240)), 1000) == HEADER.pack(0, 0)


def test_a_large_file_is_told_from_one_that_is_gone(tmp_path: Path) -> None:
    """An intact file over the limit of pictures is too large to show, and nothing is wrong with it."""
    path = tmp_path / "large.tif"
    with path.open("wb") as file:
        file.truncate(thumbnails._MOST_BYTES + 1)
    assert thumbnails.is_too_large_to_show(path)
    assert not thumbnails.is_too_large_to_show(tmp_path / "gone.tif")
    path.write_bytes(b"small")
    assert not thumbnails.is_too_large_to_show(path)
