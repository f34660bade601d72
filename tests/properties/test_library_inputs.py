"""Whatever is handed over, the library gives a decision or says what was wrong with the call."""

import io

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from imageguard_daemon import validate
from tests.helpers.images import encoded, photo

WHOLE = [
    encoded(Image.fromarray(photo(48, 40)), form) for form in ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "AVIF")
]


@settings(max_examples=60, deadline=None)
@given(arrays.arrays(arrays.scalar_dtypes(), arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=12)))
def test_any_array_is_judged_or_refused_in_words(array: np.ndarray) -> None:
    """Every type and shape: a decision, or a TypeError or ValueError that says which are taken."""
    try:
        assert 0 <= validate(array).score <= 1
    except (TypeError, ValueError) as error:
        assert "must be" in str(error)  # noqa: PT017 - either is right


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "F", "LA", "PA", "La", "RGBa"]),
    st.integers(1, 40),
    st.integers(1, 40),
)
def test_every_mode_and_size_of_pillow_is_judged(mode: str, width: int, height: int) -> None:
    """No mode is an exception, however small the image."""
    assert 0 <= validate(Image.new(mode, (width, height))).score <= 1


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(WHOLE), st.data())
def test_bytes_and_an_opened_image_of_them_never_contradict_one_another(whole: bytes, data: st.DataObject) -> None:
    """A damaged file is one however it is handed over: by its bytes, a memoryview, or opened by Pillow."""
    content = bytearray(whole[: data.draw(st.integers(len(whole) // 2, len(whole)))])
    content[data.draw(st.integers(len(content) // 3, len(content) - 1))] ^= data.draw(st.integers(0, 255))
    by_bytes = validate(bytes(content))
    assert validate(memoryview(content)) == by_bytes
    try:
        image = Image.open(io.BytesIO(bytes(content)))
    except (OSError, SyntaxError, ValueError):
        return
    assert validate(image).ok == by_bytes.ok
