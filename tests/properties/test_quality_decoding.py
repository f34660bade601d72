"""What holds for all bytes and all pixels."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from imageguard_daemon import validate
from imageguard_daemon.core.model import ISSUES, Limits
from imageguard_daemon.quality.decode.pillow_pixels import camera_name
from imageguard_daemon.quality.measurement import measure_bytes
from tests.helpers.images import jpeg, photo, png

LIMITS = Limits(max_pixels=1_000_000)
MAGIC = [
    b"",
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"GIF89a",
    b"BM",
    b"II*\0",
    b"MM\0*",
    b"RIFF\x40\0\0\0WEBP",
    b"\0\0\0\x14ftypavif",
]
FILES = [jpeg(photo(48, 40)), png(photo(48, 40))]


@given(st.sampled_from(MAGIC), st.binary(max_size=400))
def test_any_bytes_give_measures_or_an_issue(magic: bytes, rest: bytes):
    """No bytes whatsoever raise, whatever format they pretend to be."""
    result = measure_bytes(magic + rest, LIMITS)
    assert (result.measures is None) == bool(result.issue)
    assert result.issue in ("", *ISSUES)


@given(st.sampled_from(FILES), st.integers(0, 10_000), st.binary(min_size=1, max_size=20))
def test_any_damage_gives_measures_or_an_issue(data: bytes, at: int, patch: bytes):
    """An image file overwritten anywhere with anything is judged."""
    at %= len(data)
    result = measure_bytes(data[:at] + patch + data[at + len(patch) :], LIMITS)
    assert (result.measures is None) == bool(result.issue)


@given(
    st_numpy.arrays(
        np.uint8,
        st.tuples(st.integers(1, 70), st.integers(1, 70)),
        elements=st.integers(0, 255),
    )
)
def test_any_pixels_give_a_sane_decision(pixels):
    """Every grey picture has six scores of 0 to 100 and finite measures."""
    decision = validate(pixels)
    assert all(0 <= score <= 100 for score in decision.scores.values())
    assert all(np.isfinite(value) for value in decision.measures.values())
    assert decision.ok == (decision.score >= 0.5)


@given(st.one_of(st.none(), st.text(), st.integers()), st.one_of(st.none(), st.text()))
def test_camera_names_are_one_short_printable_line(make, model):
    """Whatever EXIF holds, a log line stays one line."""
    name = camera_name(make, model)
    assert len(name) <= 100
    assert name.splitlines() in ([], [name])
    assert not any(character < " " or "\x7f" <= character <= "\x9f" for character in name)
    name.encode()
