"""Pictures are made elsewhere, of the image that was judged, or not at all."""

import hashlib
import io
import os
from pathlib import Path

import pytest
from PIL import Image

from imageguard_daemon.config import Scoring
from imageguard_daemon.sandbox import pictures
from imageguard_daemon.sandbox.answers import read_areas
from tests.helpers.images import jpeg, photo, png

SETTINGS = Scoring()


def wanted(path: Path, content: bytes) -> tuple[Path, str]:
    """Put a file there and give what a report asks for."""
    path.write_bytes(content)
    return path, hashlib.sha256(content).hexdigest()


def test_pictures_are_small_and_of_every_kind(tmp_path: Path) -> None:
    """JPEG and PNG become JPEGs of at most 160 pixels, with their proportions."""
    asked = {1: wanted(tmp_path / "a.jpg", jpeg(photo(640, 480))), 2: wanted(tmp_path / "b.png", png(photo(100, 300)))}
    made = pictures.thumbnails_of(asked, SETTINGS)
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
    assert set(pictures.thumbnails_of(asked, SETTINGS)) == {6}
    assert pictures.thumbnails_of({1: good}, Scoring(max_pixels=100)) == {}


def test_a_confined_process_makes_the_map_of_what_it_can_decode() -> None:
    """A photo has one, garbage none, and the process lives on."""
    maker = pictures.MapMaker(Scoring())
    try:
        assert maker.make(b"\xff\xd8 no image") == b""
        areas = read_areas(maker.make(jpeg(photo(320, 240))))
        assert areas is not None
        assert (areas.width, areas.height, areas.columns) == (320, 240, 13)
        assert maker._client._process is not None
        assert maker._client._process.poll() is None
    finally:
        maker.close()


def test_a_report_has_no_pictures_where_no_process_can_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is written all the same; nothing is told of the images."""
    monkeypatch.setattr("sys.executable", "/bin/false")
    asked = {1: wanted(tmp_path / "a.jpg", jpeg(photo(64, 64)))}
    assert pictures.thumbnails_of(asked, SETTINGS) == {}


def test_a_large_file_is_told_from_one_that_is_gone(tmp_path: Path) -> None:
    """An intact file over the limit of pictures is too large to show, and nothing is wrong with it."""
    path = tmp_path / "large.tif"
    with path.open("wb") as file:
        file.truncate(pictures._MOST_BYTES + 1)
    assert pictures.is_too_large_to_show(path)
    assert not pictures.is_too_large_to_show(tmp_path / "gone.tif")
    path.write_bytes(b"small")
    assert not pictures.is_too_large_to_show(path)
