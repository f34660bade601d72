"""Other decoders as judges: what counts as agreement, and what is printed."""

import io

import numpy as np
from PIL import Image

from bench import references
from bench.conformance import Judged, printed
from bench.variants import VARIANTS
from tests.helpers.images import photo

RGB = photo(96, 64)


def test_decoders_agree_on_one_picture_and_not_on_two():
    """Size and picture count; how it is turned does not."""
    same, other = VARIANTS["png"](RGB), VARIANTS["png"](photo(96, 64, seed=5))
    turned = io.BytesIO()
    Image.fromarray(np.rot90(RGB)).save(turned, "PNG")
    answers = {"Pillow": references.answer("Pillow", same), "OpenCV": references.answer("OpenCV", same)}
    assert references.agreeing(answers) == ["OpenCV", "Pillow"]
    assert references.agreeing({**answers, "Pillow": references.answer("Pillow", turned.getvalue())}) != []
    assert references.agreeing({**answers, "Pillow": references.answer("Pillow", other)}) == []
    assert references.agreeing({**answers, "Pillow": None}) == []


def test_a_decoder_that_goes_on_after_damage_does_not_vouch_for_it():
    """OpenCV gives a picture for a JPEG with a hole; what libjpeg says of it counts."""
    data = VARIANTS["jpeg"](photo(320, 240))
    middle = len(data) // 2
    assert references.answer("OpenCV", data) is not None
    assert references.answer("OpenCV", data[:middle] + bytes(600) + data[middle + 600 :]) is None


def test_what_is_refused_or_accepted_wrongly_is_named():
    """The two lists have the files that matter, and no other."""
    size = (9, 9)
    refused = Judged("a/refused.png", "PNG", "corrupt", "why", {"Pillow": size, "OpenCV": size}, ("OpenCV", "Pillow"))
    accepted = Judged("a/accepted.png", "PNG", "", "", {"Pillow": None, "OpenCV": None})
    rare = Judged("a/rare.tif", "TIFF", "", "", {"Pillow": "unknown", "OpenCV": None, "libvips": "unknown"})
    fine = Judged("a/fine.png", "PNG", "", "", {"Pillow": size, "OpenCV": size}, ("OpenCV", "Pillow"))
    text = printed({"a": [refused, accepted, rare, fine]})
    assert "valid, refused: 1\n  a/refused.png: why" in text
    assert "broken, accepted: 1\n  a/accepted.png" in text
    assert "rare" not in text
    assert "fine" not in text
