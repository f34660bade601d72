"""Frames that show nothing are told from pictures that show little."""

import cv2
import numpy as np
import pytest
from PIL import Image

from imageguard_daemon import validate
from imageguard_daemon.quality.features.blank import nothing_shown
from tests.helpers.images import encoded, jpeg, photo, png

SCENE = photo(640, 480)
OFF = dict.fromkeys(("blur_score", "resolution_score", "noise_score", "exposure_score"), 0) | {
    "compression_score": 0,
    "pixelation_score": 0,
}


def solid(*colour: int) -> np.ndarray:
    return np.full((480, 640, 3), colour, np.uint8)


def grain(level: float, sigma: float) -> np.ndarray:
    noise = np.random.default_rng(1).normal(level, sigma, (480, 640, 1))
    return np.clip(noise, 0, 255).astype(np.uint8).repeat(3, axis=2)


def cut(rows: int, *colour: int, columns: int = 0) -> np.ndarray:
    """Give a scene of which only so many rows were decoded, and a part of the sixteen before them."""
    made = SCENE.copy()
    made[rows:] = colour
    if columns:
        made[rows - 16 : rows, columns:] = colour
    return made


def drawn(*shapes: tuple[tuple[int, int], tuple[int, int], int], ground: int) -> np.ndarray:
    made = solid(ground, ground, ground)
    for start, end, level in shapes:
        cv2.rectangle(made, start, end, (level, level, level), -1)
    return made


BLANK = {
    "green": solid(0, 135, 0),
    "black": solid(0, 0, 0),
    "white": solid(255, 255, 255),
    "one level of rounding": solid(90, 90, 90) + np.indices((480, 640)).sum(axis=0, dtype=np.uint8)[..., None] % 2,
    "a covered lens": grain(2, 3),
    "a covered lens at high ISO": grain(3, 9),
    "a sensor full of light": grain(254, 3),
    "grey from row 200": cut(200, 128, 128, 128),
    "black after a tenth": cut(48, 0, 0, 0),
    "grey from within a row of blocks": cut(304, 128, 128, 128, columns=250),
    "the last quarter is missing": cut(360, 60, 90, 40),
}
SHOWS = {
    "a photo": SCENE,
    "low key": (SCENE * 0.12).astype(np.uint8),
    "high key": (255 - (255 - SCENE) * 0.12).astype(np.uint8),
    "stars": drawn(*(((x, x // 2), (x + 3, x // 2 + 3), 180) for x in range(20, 600, 90)), ground=4),
    "one line of text on a page": drawn(((60, 60), (300, 66), 30), ground=255),
    "a page with an empty half": cut(200, 255, 255, 255),
    "a letterboxed frame": cut(400, 0, 0, 0) * (np.arange(480) >= 80)[:, None, None].astype(np.uint8),
    "a subject on a flat ground": drawn(((200, 60), (420, 300), 180), ground=90),
    "a mask of classes 0 and 1": drawn(((101, 75), (333, 222), 1), ground=0),
    "a bar of a screenshot": drawn(((0, 0), (640, 40), 60), ground=30),
    "a bar that is too small": cut(400, 0, 0, 0),
    "hills before the night": np.where(
        np.arange(480)[:, None, None] > (240 + 40 * np.sin(np.arange(640) / 60))[None, :, None], np.uint8(0), SCENE
    ),
}


@pytest.mark.parametrize("name", BLANK)
def test_what_shows_nothing_is_blank_whatever_the_thresholds(name: str) -> None:
    """From pixels, from a PNG, from a JPEG and from a Pillow image alike, with every check switched off."""
    rgb = BLANK[name]
    for image in (rgb, png(rgb), jpeg(rgb, 90), Image.fromarray(rgb)):
        decision = validate(image, thresholds=OFF)
        assert (decision.reason, decision.score, decision.measures) == ("blank", 0.0, {})
        assert decision.detail


@pytest.mark.parametrize("name", SHOWS)
def test_what_shows_little_is_not_blank(name: str) -> None:
    """Dark, light, empty and flat pictures are judged by what they show."""
    for image in (SHOWS[name], png(SHOWS[name]), jpeg(SHOWS[name], 90)):
        assert "blank" not in validate(image).issues


def test_what_is_only_transparent_is_blank() -> None:
    """A picture behind pixels that nobody sees shows nothing."""
    hidden = np.dstack([SCENE, np.zeros((480, 640), np.uint8)])
    assert validate(hidden).reason == "blank"
    assert validate(encoded(Image.fromarray(hidden), "PNG")).reason == "blank"


def test_what_is_blank_is_told_in_words() -> None:
    """A person reads what there is, and how much of it."""
    assert nothing_shown(cut(180, 128, 128, 128)[..., 0]) == "the last 62 % of the rows are one flat value"
    assert nothing_shown(BLANK["green"][..., 0]) == "one colour: all pixels are alike"
    assert nothing_shown(BLANK["one level of rounding"][..., 0]) == "one colour: all pixels are within 2 grey levels"
    assert nothing_shown(BLANK["a covered lens"][..., 0]).startswith("nothing but black: its parts differ by")


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (16, 16), (33, 4)])
def test_every_size_has_an_answer(size: tuple[int, int]) -> None:
    """Of however few pixels: one colour is blank, two are not."""
    grey = np.full(size, 77, np.uint8)
    assert nothing_shown(grey) == "one colour: all pixels are alike"
    grey[0, : max(1, size[1] // 2)] = 255
    assert not nothing_shown(grey) or size == (1, 1)
