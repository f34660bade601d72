"""What must change no score: how a picture is turned, in which lossless file it is, what is written beside it."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from bench.kinds import KINDS
from imageguard_daemon import validate
from tests.helpers.images import encoded, photo

TURNING_TOLERANCE = 0.5
"""Points of score that turning or mirroring may cost: features are taken from the picture put upright."""
TURNS = {
    "a quarter": lambda rgb: np.rot90(rgb, 1),
    "half": lambda rgb: np.rot90(rgb, 2),
    "three quarters": lambda rgb: np.rot90(rgb, 3),
    "mirrored": np.fliplr,
    "upside down": np.flipud,
    "transposed": lambda rgb: rgb.transpose(1, 0, 2),
}
LOSSLESS = {
    "PNG": {"compress_level": 1},
    "BMP": {},
    "TIFF": {"compression": "tiff_lzw"},
    "WEBP": {"lossless": True, "quality": 0},
}
sides = st.integers(150, 420)
pictures = st.tuples(sides, sides, st.integers(0, 50), st.sampled_from([None, *KINDS]), st.floats(0, 1))


def picture(drawn: tuple[int, int, int, str | None, float]) -> np.ndarray:
    """Give a code-made photo, spoiled in one of the ways or in none."""
    width, height, seed, name, share = drawn
    rgb = photo(width, height, seed)
    if name is None:
        return rgb
    kind = KINDS[name]
    return kind.damaged(rgb, kind.mild * (kind.severe / kind.mild) ** share, np.random.default_rng(seed))


@pytest.mark.parametrize("turn", TURNS)
@given(pictures)
@settings(max_examples=15, derandomize=True)
def test_scores_ignore_turning_and_mirroring(turn: str, drawn):
    """A picture is as good upside down: within five points of each score."""
    rgb = picture(drawn)
    assert dict(validate(np.ascontiguousarray(TURNS[turn](rgb))).scores) == pytest.approx(
        dict(validate(rgb).scores), abs=TURNING_TOLERANCE
    )


@given(pictures)
@settings(max_examples=15)
def test_scores_ignore_the_lossless_file_format(drawn):
    """The same pixels have exactly the same measures and scores, from whichever file, or as an array."""
    rgb = picture(drawn)
    expected = validate(rgb)
    for image_format, options in LOSSLESS.items():
        found = validate(encoded(Image.fromarray(rgb), image_format, **options))
        assert found.scores == expected.scores, image_format
        assert found.measures == expected.measures, image_format


def png_with(rgb: np.ndarray, text: dict[str, str], icc: bytes) -> bytes:
    information = PngImagePlugin.PngInfo()
    for key, value in text.items():
        information.add_text(key, value)
    return encoded(Image.fromarray(rgb), "PNG", compress_level=1, pnginfo=information, icc_profile=icc or None)


latin = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=30)


@given(pictures, st.dictionaries(latin, latin, max_size=3), st.binary(max_size=200))
@settings(max_examples=10)
def test_scores_ignore_what_a_png_says_of_itself(drawn, text: dict[str, str], icc: bytes):
    """Text and colour profiles, sound or not, change no score."""
    rgb = picture(drawn)
    assert validate(png_with(rgb, text, icc)).scores == validate(rgb).scores


@given(pictures, latin, latin, st.integers(20, 95))
@settings(max_examples=10)
def test_scores_ignore_what_a_jpeg_says_of_itself(drawn, make: str, comment: str, quality: int):
    """EXIF, comments and resolution leave the same JPEG with the same scores."""
    rgb, plain = Image.fromarray(picture(drawn)), io.BytesIO()
    exif = Image.Exif()
    exif[0x010F], exif[0x0112], exif[0x9003] = make, 1, "2026:01:01 00:00:00"
    rgb.save(plain, "JPEG", quality=quality)
    annotated = encoded(rgb, "JPEG", quality=quality, exif=exif.tobytes(), comment=comment.encode(), dpi=(300, 300))
    assert validate(annotated).scores == validate(plain.getvalue()).scores
