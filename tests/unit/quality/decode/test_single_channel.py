"""What has light in one channel alone is judged by that channel, however it comes in."""

import io
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import pytest
from PIL import Image

from imageguard_daemon import validate
from imageguard_daemon.quality.decode.decoder import decode
from imageguard_daemon.quality.decode.limits import Limits
from imageguard_daemon.quality.decode.luma import Grey, grey_of
from imageguard_daemon.quality.decode.picture import judged_by
from tests.helpers.images import encoded, exposed, photo

SCENE = photo(seed=3)
CHANNELS = {"red": 0, "green": 1, "blue": 2}


def _in_one_channel(scene: np.ndarray, channel: str) -> np.ndarray:
    """Give the luma of a scene as a dye of one colour shows it."""
    rgb = np.zeros_like(scene)
    rgb[..., CHANNELS[channel]] = cv2.cvtColor(scene, cv2.COLOR_RGB2GRAY)
    return rgb


def _saved(rgb: np.ndarray, form: str) -> bytes:
    how = {"quality": 95, "subsampling": 0} if form == "JPEG" else {"lossless": True} if form == "WEBP" else {}
    return encoded(Image.fromarray(rgb), form, **how)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "BMP", "WEBP"])
@pytest.mark.parametrize("channel", CHANNELS)
def test_a_dye_of_one_colour_is_as_bright_as_its_channel(channel: str, form: str):
    """Blue has a ninth of luma: a well exposed blue picture is not under-exposed."""
    decision = validate(_saved(_in_one_channel(SCENE, channel), form))
    assert decision.ok, decision.issues
    assert decision.measures["tone_high"] > 150


def test_every_way_in_takes_the_channel():
    """A file's bytes, an array, and a Pillow picture opened or made get one verdict."""
    rgb = _in_one_channel(SCENE, "blue")
    data = _saved(rgb, "PNG")
    ways = [validate(way).measures for way in (data, rgb, Image.open(io.BytesIO(data)), Image.fromarray(rgb))]
    assert all(way == ways[0] for way in ways)


def test_a_scale_bar_in_white_does_not_hide_it():
    """Letters and bars of another colour are few pixels."""
    rgb = _in_one_channel(SCENE, "blue")
    rgb[-20:-14, -120:-20] = 255
    assert validate(_saved(rgb, "PNG")).ok


@pytest.mark.parametrize("channel", CHANNELS)
def test_too_little_light_in_one_channel_is_underexposed(channel: str):
    """The channel is judged as luma would be."""
    assert "underexposed" in validate(_saved(exposed(_in_one_channel(SCENE, channel), -5), "PNG")).issues


@pytest.mark.parametrize("stops", [3, 5, 7])
@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_a_dark_photo_is_judged_by_its_luma(stops: int, form: str):
    """Where other channels have light, however little, nothing changes: in a dark photo and in a black one."""
    dark = exposed(SCENE, -stops)
    data = _saved(dark, form)
    grey = decode(data, Limits()).grey
    told = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert np.abs(grey.astype(int) - told).max() <= 1
    assert "underexposed" in validate(data).issues


@pytest.mark.parametrize("bits", [12, 16])
def test_deep_colours_never_become_darker_for_it(bits: int):
    """Of 16 bits a channel the upper eight are taken: where a camera left those empty, luma stays."""
    deep = _in_one_channel(SCENE, "blue").astype(np.uint16) << (bits - 8)
    done, data = cv2.imencode(".tiff", deep[..., ::-1])
    assert done
    grey = decode(data.tobytes(), Limits()).grey
    assert grey.mean() >= 0.11 * cv2.cvtColor(SCENE, cv2.COLOR_RGB2GRAY).mean()


def test_transparency_is_not_judged_by_a_channel():
    """Through it middle grey is seen, which has all colours."""
    alpha = np.full(SCENE.shape[:2], 128, np.uint8)
    data = encoded(Image.fromarray(np.dstack([_in_one_channel(SCENE, "blue"), alpha])), "PNG")
    assert validate(data).measures["tone_median"] < 110


BLUE = _in_one_channel(SCENE, "blue")
DARK = grey_of(BLUE)


def _each(*looks: Grey | None) -> tuple[list[int], Callable[[], Iterator[Grey | None]]]:
    """Give looks one after another, and note which were taken."""
    taken: list[int] = []

    def looking() -> Iterator[Grey | None]:
        for number, look in enumerate(looks):
            taken.append(number)
            yield look

    return taken, looking


def test_colours_are_asked_for_only_where_luma_is_dark():
    """Most pictures are not decoded a second time."""
    taken, looks = _each(BLUE)
    bright = grey_of(SCENE)
    assert judged_by(bright, looks) is bright
    assert taken == []


def test_a_glance_that_shows_another_colour_spares_the_whole():
    """And one that shows none does not decide: the whole picture is the last word."""
    taken, looks = _each(SCENE[::8, ::8], BLUE)
    assert judged_by(DARK, looks) is DARK
    assert taken == [0]
    taken, looks = _each(BLUE[::8, ::8], BLUE)
    assert np.array_equal(judged_by(DARK, looks), BLUE[..., 2])
    assert taken == [0, 1]


@pytest.mark.parametrize("whole", [None, BLUE[::2], BLUE >> 4])
def test_colours_that_are_not_those_of_the_luma_do_not_count(whole: Grey | None):
    """Those that cannot be had, are of another size, or are darker than what they are colours of."""
    assert judged_by(DARK, lambda: (BLUE[::8, ::8], whole)) is DARK


def test_without_room_for_colours_luma_is_judged():
    """A verdict on what is there is better than none."""

    def full() -> Iterator[Grey]:
        raise MemoryError
        yield BLUE

    assert judged_by(DARK, full) is DARK


def test_colours_in_memory_are_judged_alike():
    """A grey picture has none."""
    assert np.array_equal(judged_by(DARK, lambda: (BLUE,)), BLUE[..., 2])
    assert judged_by(DARK, lambda: (None,)) is DARK
