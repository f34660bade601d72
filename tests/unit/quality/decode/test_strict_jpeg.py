"""JPEG is decoded alike, and damage told in the same words, with simplejpeg and without."""

import importlib
import itertools
import sys

import cv2
import numpy as np
import pytest
from PIL import Image

from imageguard_daemon.core.errors import UnavailableError
from imageguard_daemon.quality.decode.jpeg import Decode, by_simplejpeg, own_decoder, strictly_decoded
from tests.helpers.images import encoded, jpeg, photo

RGB = photo(320, 240)
WHOLE = {
    "baseline": jpeg(RGB),
    "progressive": jpeg(RGB, progressive=True),
    "grey": encoded(Image.fromarray(RGB).convert("L"), "JPEG"),
    "full chroma": encoded(Image.fromarray(RGB), "JPEG", subsampling=0),
    "restarts": cv2.imencode(".jpg", RGB, [cv2.IMWRITE_JPEG_RST_INTERVAL, 3])[1].tobytes(),
}


@pytest.fixture
def own() -> Decode:
    """Give our own calls to libjpeg."""
    decode = own_decoder()
    if decode is None:
        pytest.skip("the package was built without libjpeg's headers")
    pytest.importorskip("simplejpeg")
    return decode


def answer(decode: Decode, data: bytes, *, inks: bool = False) -> object:
    """Give the pixels, or what was said."""
    try:
        pixels = decode(data, inks)
    except ValueError as error:
        return str(error)
    return pixels.shape, pixels.tobytes()


@pytest.mark.parametrize("kind", WHOLE)
def test_whole_files_have_the_same_pixels(kind: str, own: Decode):
    """Every kind of JPEG gives the same luma, bit by bit."""
    assert answer(own, WHOLE[kind]) == answer(by_simplejpeg, WHOLE[kind])
    assert own(WHOLE[kind], False).shape == (240, 320, 1)


def test_inks_have_the_same_pixels(own: Decode):
    """Four inks are given as they are stored."""
    data = encoded(Image.fromarray(RGB).convert("CMYK"), "JPEG")
    assert answer(own, data, inks=True) == answer(by_simplejpeg, data, inks=True)


def test_odd_samplings_are_left_to_pillow_by_both(own: Decode):
    """Colours sampled in a way that simplejpeg has no name for are refused in the same words, others decoded."""
    at, answers = WHOLE["baseline"].index(b"\xff\xc0") + 11, set()
    for factors in itertools.product((0x11, 0x12, 0x21, 0x22, 0x31), (0x11, 0x12, 0x21, 0x22), (0x11, 0x21, 0x22)):
        changed = bytearray(WHOLE["baseline"])
        changed[at : at + 9 : 3] = factors
        told = [answer(decode, bytes(changed)) for decode in (own, by_simplejpeg)]
        assert len({"subsampling" in one if isinstance(one, str) else one for one in told}) == 1, factors
        answers.add(isinstance(told[0], str))
    assert answers == {True, False}


@pytest.mark.parametrize("kind", WHOLE)
def test_damage_is_told_in_the_same_words(kind: str, own: Decode):
    """Cut, overwritten or shortened in its scan, a file has the same pixels or the same complaint from both."""
    whole, drawn = WHOLE[kind], np.random.default_rng(7)
    scan_at = whole.index(b"\xff\xda") + 20
    complaints = set()
    for _ in range(60):
        at = int(drawn.integers(scan_at, len(whole) - 2))
        for damaged in (
            whole[:at],
            whole[:at] + drawn.bytes(2) + whole[at + 2 :],
            whole[:at] + whole[at + int(drawn.integers(1, 400)) :],
        ):
            told = answer(own, damaged)
            assert told == answer(by_simplejpeg, damaged)
            complaints.add(told if isinstance(told, str) else "")
    assert len(complaints) > 3


def test_no_memory_of_a_damaged_file_is_kept(own: Decode):
    """A damaged file leaves nothing behind: the next whole one has its pixels."""
    whole = WHOLE["baseline"]
    before = answer(own, whole)
    for data in (b"", b"\xff\xd8", whole[:300], whole[:-500]):
        with pytest.raises(ValueError, match=r"\w"):
            own(data, False)
    assert answer(own, whole) == before


def test_without_either_the_repair_is_named(monkeypatch: pytest.MonkeyPatch):
    """Where neither decoder is there, it is said what to install; with our own calls alone, all works."""
    module = importlib.util.find_spec(strictly_decoded.__module__)
    alone = importlib.util.module_from_spec(module)
    monkeypatch.setitem(sys.modules, "simplejpeg", None)
    if own_decoder() is not None:
        module.loader.exec_module(alone)
        assert alone.strictly_decoded(WHOLE["baseline"]).shape == (240, 320, 1)
    monkeypatch.setitem(sys.modules, "imageguard_daemon.quality.decode._jpeg", None)
    with pytest.raises(UnavailableError, match="libjpeg-dev"):
        module.loader.exec_module(alone)
