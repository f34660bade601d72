"""Colours are looked at in one size and up to one size of picture, however it comes in."""

import io
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from PIL import Image

from imageguard_daemon import validate
from imageguard_daemon.quality import colours
from imageguard_daemon.quality.decoding import Limits, Picture, decode, from_grey, from_pillow
from imageguard_daemon.quality.luma import grey_of
from tests.helpers.images import Rgb, encoded, exposed, photo

LIMITS = Limits()


def _opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()  # what was not is judged by its file
    return image


def _jpeg(rgb: Rgb) -> bytes:
    return encoded(Image.fromarray(rgb), "JPEG", quality=95, subsampling=0)


def _png(rgb: Rgb) -> bytes:
    return encoded(Image.fromarray(rgb), "PNG", compress_level=1)


WAYS: dict[str, Callable[[Rgb], Picture]] = {
    "JPEG": lambda rgb: decode(_jpeg(rgb), LIMITS),
    "PNG": lambda rgb: decode(_png(rgb), LIMITS),
    "TIFF": lambda rgb: decode(encoded(Image.fromarray(rgb), "TIFF"), LIMITS),
    "WebP": lambda rgb: decode(encoded(Image.fromarray(rgb), "WEBP", lossless=True), LIMITS),
    "array": lambda rgb: from_grey(grey_of(rgb), LIMITS, rgb),
    "Pillow": lambda rgb: from_pillow(Image.fromarray(rgb), LIMITS),
    "JPEG by Pillow": lambda rgb: from_pillow(_opened(_jpeg(rgb)), LIMITS),
}
SIZES = {(200, 150): (200, 150), (401, 301): (256, 192), (500, 67): (256, 34), (260, 1150): (58, 256)}
BLUE = photo(96, 64) * np.array([0, 0, 1], np.uint8)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", SIZES)
def test_a_glance_has_one_size_and_one_look(way: str, size: tuple[int, int]) -> None:
    """Averaged down to 256 px, also where a decoder may give less or more; smaller pictures are left as they are."""
    rgb = photo(*size)
    pixels = WAYS[way](rgb).glance()
    assert pixels is not None
    assert pixels.shape[1::-1] == SIZES[size]
    expected = cv2.resize(rgb, SIZES[size], interpolation=cv2.INTER_AREA)
    assert np.abs(pixels.astype(int) - expected).mean() < 4


@pytest.mark.parametrize("way", WAYS)
def test_beyond_one_size_no_colours_are_looked_at(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By luma alone a large picture is judged, whichever way it comes in: in memory no less than as a file."""
    monkeypatch.setattr(colours, "MOST_PX", BLUE.size // 3)
    picture = WAYS[way](BLUE)
    assert picture.glance() is not None
    assert picture.grey.mean() == pytest.approx(BLUE[..., 2].mean(), abs=2)
    monkeypatch.setattr(colours, "MOST_PX", BLUE.size // 3 - 1)
    picture = WAYS[way](BLUE)
    assert picture.glance() is None
    assert picture.grey.mean() < 30


@pytest.mark.parametrize("most_px", [10_000, 50_000_000])
@pytest.mark.parametrize("scene", [exposed(photo(seed=3), 2.5), photo() * np.array([0, 0, 1], np.uint8)])
def test_every_way_in_has_the_same_measures(scene: Rgb, most_px: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """On either side of the limit."""
    monkeypatch.setattr(colours, "MOST_PX", most_px)
    data = _png(scene)
    ways = [validate(way).measures for way in (data, scene, Image.open(io.BytesIO(data)), Image.fromarray(scene))]
    assert all(way == ways[0] for way in ways)
