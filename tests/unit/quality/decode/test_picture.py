"""Light in one channel alone is judged by that channel, and colours are looked at in one size, however they come in."""

import io
import struct
import zlib
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import pytest
from PIL import Image

from imageguard_daemon import validate
from imageguard_daemon.core.model import Limits
from imageguard_daemon.quality.decode import picture as picture_module
from imageguard_daemon.quality.decode.decoder import Picture, decode, from_grey, from_pillow
from imageguard_daemon.quality.decode.luma import Grey, grey_of
from imageguard_daemon.quality.decode.picture import judged_by
from tests.helpers.images import Rgb, encoded, exposed, photo

LIMITS = Limits()
SCENE = photo(seed=3)
CHANNELS = {"red": 0, "green": 1, "blue": 2}


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
    monkeypatch.setattr(picture_module, "MAX_COLOUR_PX", BLUE.size // 3)
    picture = WAYS[way](BLUE)
    assert picture.glance() is not None
    assert picture.grey.mean() == pytest.approx(BLUE[..., 2].mean(), abs=2)
    monkeypatch.setattr(picture_module, "MAX_COLOUR_PX", BLUE.size // 3 - 1)
    picture = WAYS[way](BLUE)
    assert picture.glance() is None
    assert picture.grey.mean() < 30


@pytest.mark.parametrize("most_px", [10_000, 50_000_000])
@pytest.mark.parametrize("scene", [exposed(photo(seed=3), 2.5), photo() * np.array([0, 0, 1], np.uint8)])
def test_every_way_in_has_the_same_measures(scene: Rgb, most_px: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """On either side of the limit."""
    monkeypatch.setattr(picture_module, "MAX_COLOUR_PX", most_px)
    data = _png(scene)
    ways = [validate(way).measures for way in (data, scene, Image.open(io.BytesIO(data)), Image.fromarray(scene))]
    assert all(way == ways[0] for way in ways)


def _with_junk(data: bytes, junk: bytes) -> bytes:
    return data[:2] + junk + data[2:]


def _with_huge_text(data: bytes) -> bytes:
    """Put a text into a PNG that Pillow finds too long."""
    body = b"zTXtComment\0\0" + zlib.compress(bytes(2 << 20))
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return data[:33] + chunk + data[33:]


def _with_broken_tag(data: bytes) -> bytes:
    """Have a TIFF's description lie beyond its end; Pillow reads no tag after it."""
    at = int.from_bytes(data[4:8], "little")
    entry = data.index(struct.pack("<HH", 270, 2), at)
    return data[: entry + 8] + b"\xff\xff\xff\x7f" + data[entry + 12 :]


def _deep(rgb: Rgb, suffix: str) -> bytes:
    done, data = cv2.imencode(suffix, rgb[..., ::-1].astype(np.uint16) << 4)
    assert done
    return data.tobytes()


DYED = photo(seed=3) * np.array([0, 0, 1], np.uint8)
ODD: dict[str, Callable[[Rgb], bytes]] = {
    "JPEG with a short JFIF": lambda rgb: _with_junk(_jpeg(rgb), b"\xff\xe0\x00\x06JFIF"),
    "JPEG with junk": lambda rgb: _with_junk(_jpeg(rgb), b"\xff\x01ab"),
    "JPEG with a broken index": lambda rgb: _with_junk(_jpeg(rgb), b"\xff\xe2\x00\x0eMPF\0II*\0\xff\xff\xff\xff"),
    "PNG with a long text": lambda rgb: _with_huge_text(_png(rgb)),
    "PNG of 12 bits": lambda rgb: _deep(rgb, ".png"),
    "TIFF of 12 bits": lambda rgb: _deep(rgb, ".tiff"),
    "TIFF with a broken tag": lambda rgb: _with_broken_tag(
        encoded(Image.fromarray(rgb), "TIFF", description="told at length")
    ),
}


@pytest.mark.parametrize("kind", ODD)
def test_colours_come_from_what_luma_was_decoded_from(kind: str) -> None:
    """What Pillow refuses, or scales otherwise, has the colours that its luma was made of."""
    picture = decode(ODD[kind](DYED), LIMITS)
    assert picture.grey.mean() == pytest.approx(DYED[..., 2].mean(), abs=2)
    scene = exposed(photo(), 2)
    pixels = decode(ODD[kind](scene), LIMITS).glance()
    assert pixels is not None
    assert np.abs(pixels.astype(int) - from_grey(grey_of(scene), LIMITS, scene).glance()).mean() < 4


def test_an_image_of_deep_samples_has_one_verdict() -> None:
    """As an array and as a file."""
    deep = DYED.astype(np.uint16) << 4
    assert validate(deep).measures == validate(_deep(DYED, ".png")).measures == validate(_deep(DYED, ".tiff")).measures


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


DYE = _in_one_channel(SCENE, "blue")
DARK = grey_of(DYE)


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
    taken, looks = _each(DYE)
    bright = grey_of(SCENE)
    assert judged_by(bright, looks) is bright
    assert taken == []


def test_a_glance_that_shows_another_colour_spares_the_whole():
    """And one that shows none does not decide: the whole picture is the last word."""
    taken, looks = _each(SCENE[::8, ::8], DYE)
    assert judged_by(DARK, looks) is DARK
    assert taken == [0]
    taken, looks = _each(DYE[::8, ::8], DYE)
    assert np.array_equal(judged_by(DARK, looks), DYE[..., 2])
    assert taken == [0, 1]


@pytest.mark.parametrize("whole", [None, DYE[::2], DYE >> 4])
def test_colours_that_are_not_those_of_the_luma_do_not_count(whole: Grey | None):
    """Those that cannot be had, are of another size, or are darker than what they are colours of."""
    assert judged_by(DARK, lambda: (DYE[::8, ::8], whole)) is DARK


def test_without_room_for_colours_luma_is_judged():
    """A verdict on what is there is better than none."""

    def full() -> Iterator[Grey]:
        raise MemoryError
        yield DYE

    assert judged_by(DARK, full) is DARK


def test_colours_in_memory_are_judged_alike():
    """A grey picture has none."""
    assert np.array_equal(judged_by(DARK, lambda: (DYE,)), DYE[..., 2])
    assert judged_by(DARK, lambda: (None,)) is DARK
