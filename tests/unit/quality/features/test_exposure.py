"""Too much light is told by colours that are partly clipped, where luma leaves a doubt."""

import io
from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image

from imageguard_daemon import validate
from imageguard_daemon.core.model import Limits
from imageguard_daemon.quality.decode import decoder, opencv
from imageguard_daemon.quality.decode.decoder import decode
from imageguard_daemon.quality.features.exposure import partly_clipped_share
from imageguard_daemon.quality.measurement import measure_picture
from tests.helpers.images import Rgb, encoded, exposed, photo, png

LIMITS = Limits()


def _before_white(scene: Rgb) -> Rgb:
    """Give a scene as a shop shows it: in the middle of a white page."""
    height, width = (round(side * 0.7) for side in scene.shape[:2])
    page = np.full_like(scene, 250)
    top, left = ((side - inner) // 2 for side, inner in zip(scene.shape, (height, width), strict=False))
    page[top : top + height, left : left + width] = cv2.resize(scene, (width, height), interpolation=cv2.INTER_AREA)
    return page


GOOD = _before_white(photo(seed=3))
BAD = exposed(GOOD, 2.5)
GREY_TWIN = cv2.cvtColor(BAD, cv2.COLOR_RGB2GRAY)
FORMATS: dict[str, dict[str, object]] = {
    "PNG": {"compress_level": 1},
    "BMP": {},
    "TIFF": {},
    "WEBP": {"lossless": True},
    "GIF": {},
    "JPEG": {"quality": 95, "subsampling": 0},
    "AVIF": {"quality": 90, "speed": 10},
}


def test_too_much_light_is_found_where_only_colours_show_it():
    """In luma alone, what is left before white looks like a cut-out."""
    assert validate(GREY_TWIN).ok
    assert validate(BAD).reason == "overexposed"
    assert validate(GOOD).ok


@pytest.mark.parametrize("form", FORMATS)
def test_colours_are_had_from_every_format(form: str):
    """And their share is nearly the same in each; GIF has 256 colours, JPEG is decoded at a quarter of its size."""
    larger = cv2.resize(BAD, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    pixels = decode(encoded(Image.fromarray(larger), form, **FORMATS[form]), LIMITS).glance()
    expected, good = (decoder.from_pillow(Image.fromarray(rgb), LIMITS).glance() for rgb in (BAD, GOOD))
    assert partly_clipped_share(pixels) == pytest.approx(partly_clipped_share(expected), abs=0.05)
    assert partly_clipped_share(good) == 0


def test_every_way_in_sees_the_colours():
    """A file's bytes, an array, and a Pillow picture opened or made have the same measures."""
    data = png(BAD)
    ways = [validate(way).measures for way in (data, BAD, Image.open(io.BytesIO(data)), Image.fromarray(BAD))]
    assert all(way == ways[0] for way in ways)


def _painted(paint: Callable[[Rgb], object]) -> Rgb:
    page = np.full((256, 256, 3), 255, np.uint8)
    paint(page)
    return page


def _shadow(page: Rgb) -> None:
    page[100:, :, 2] = np.linspace(241, 255, 256).astype(np.uint8)


PURE = {
    "a yellow button": lambda page: cv2.rectangle(page, (40, 40), (200, 120), (255, 255, 0), -1),
    "a red flower": lambda page: cv2.circle(page, (128, 128), 90, (255, 40, 30), -1),
    "the shadow of a product": _shadow,
    "black ink": lambda page: cv2.putText(page, "ink", (20, 128), 0, 3, (0, 0, 0), 9),
    "eight coloured pixels": lambda page: page[9, :8, 2].__setitem__(slice(None), range(0, 160, 20)),
    "nothing": lambda _page: None,
}


@pytest.mark.parametrize("what", PURE)
def test_pure_colours_by_design_do_not_count(what: str):
    """One shade, however much of it, is a choice; what is nearly white, and what one channel fills, is no sign."""
    assert partly_clipped_share(_painted(PURE[what])) < 0.02


def test_colours_are_looked_at_only_where_luma_leaves_a_doubt():
    """Most images are not decoded again."""
    picture = replace(decode(png(photo()), LIMITS), glance=lambda: pytest.fail("looked at colours"))
    assert measure_picture(picture, LIMITS).measures is not None


def test_without_colours_luma_decides(monkeypatch: pytest.MonkeyPatch):
    """Grey pictures and cut-outs have none to look at, and there may be no room for them."""
    assert decode(encoded(Image.fromarray(GREY_TWIN), "JPEG"), LIMITS).glance() is None
    clear = np.dstack([BAD, np.full(BAD.shape[:2], 128, np.uint8)])
    assert decode(encoded(Image.fromarray(clear), "PNG"), LIMITS).glance() is None
    picture = decode(png(BAD), LIMITS)

    def full(*_what: object, **_how: object) -> None:
        raise MemoryError

    monkeypatch.setattr(opencv, "pixels_of", full)
    assert picture.glance() is None
    assert (
        measure_picture(picture, LIMITS).measures
        == measure_picture(decoder.from_grey(GREY_TWIN, LIMITS), LIMITS).measures
    )
