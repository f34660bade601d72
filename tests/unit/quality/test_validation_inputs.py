"""Every way to hand an image over gives what the file itself gives, in any thread and process."""

import io
import multiprocessing
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from PIL import Image

from imageguard_daemon import validate
from tests.helpers.images import encoded, jpeg, photo, png, with_orientation

RGB = photo(320, 240)
FILES = [png(RGB), jpeg(RGB, 60), jpeg(RGB)[:3000], encoded(Image.fromarray(RGB).convert("P"), "GIF"), b"text"]


class BytesPath:
    """A PathLike of bytes, as `os.scandir(b".")` gives."""

    def __init__(self, path: Path) -> None:
        self._path = os.fsencode(path)

    def __fspath__(self) -> bytes:
        return self._path


def test_buffers_and_path_likes_are_taken(tmp_path: Path):
    """A bytearray, a memoryview and a path of bytes are the file they stand for."""
    data = png(RGB)
    (tmp_path / "a.png").write_bytes(data)
    scores = {
        validate(given).score for given in (data, bytearray(data), memoryview(data), BytesPath(tmp_path / "a.png"))
    }
    assert len(scores) == 1


@pytest.mark.parametrize(
    "view",
    [
        np.asfortranarray,
        lambda rgb: np.ascontiguousarray(rgb[::-1, ::-1])[::-1, ::-1],
        lambda rgb: np.repeat(rgb, 2, axis=1)[:, ::2],
        lambda rgb: np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)]),
        lambda rgb: rgb.astype(np.uint16) * 257,
        lambda rgb: (rgb.astype(np.uint16) * 257).astype(">u2"),
    ],
    ids=[
        "columns first",
        "negative strides",
        "every second",
        "opaque alpha",
        "16 bit",
        "16 bit, most significant byte first",
    ],
)
def test_how_an_array_lies_in_memory_does_not_matter(view):
    """Views, orders, depth and write protection change nothing, and the array is left as it was."""
    array = view(RGB)
    array.setflags(write=False)
    assert validate(array).measures == validate(RGB).measures


def test_an_array_of_bool_is_black_and_white():
    """True is white."""
    assert validate(RGB[..., 1] > 100).measures == validate(((RGB[..., 1] > 100) * 255).astype(np.uint8)).measures


@pytest.mark.parametrize(
    ("dtype", "hint"),
    [
        (np.float32, r"float32; if its values are of 0 \.\.\. 1, give \(array \* 255\)"),
        (np.int32, r"int32; if its values are of 0 \.\.\. 255, give array.astype"),
        *((kind, "") for kind in (np.complex64, object, "S3")),
    ],
)
def test_an_array_of_another_type_is_a_mistake(dtype, hint):
    """Nobody guesses whether 1.0 is white; the message says what to do."""
    with pytest.raises(TypeError, match=f"uint8, uint16 or bool, not {hint}"):
        validate(np.zeros((20, 20), dtype))


@pytest.mark.parametrize(
    ("given", "error", "told"),
    [
        (RGB / 255.0, TypeError, r"\(array \* 255\)\.astype"),
        (RGB.transpose(2, 0, 1), ValueError, r"transpose\(1, 2, 0\)"),
        (io.BytesIO(b"x"), TypeError, r"file\.read\(\)"),
        (SimpleNamespace(numpy=lambda: RGB), TypeError, r"tensor\.permute"),
    ],
)
def test_who_gives_something_near_is_told_what_to_give(given, error, told):
    """Floats, channels first, open files and tensors: the message has the way from there."""
    with pytest.raises(error, match=told):
        validate(given)


@pytest.mark.parametrize("number", [np.float32(99), np.int64(99), np.float64(99)])
def test_numbers_of_numpy_are_numbers(number):
    """Thresholds that were computed need no conversion."""
    assert validate(RGB, thresholds={"blur_score": number}).thresholds["blur_score"] == 99.0


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP"])
@pytest.mark.parametrize("how", ["with", "close", "file"])
def test_a_closed_image_is_a_mistake_and_no_damage(tmp_path, form, how):
    """Whoever closed it hears so; nobody's photo is called corrupt for it."""
    path = tmp_path / "image"
    path.write_bytes(encoded(Image.fromarray(RGB), form))
    with path.open("rb") as file:
        image = Image.open(file if how == "file" else path)
    if how == "with":
        with image:
            pass
    elif how == "close":
        image.close()
    try:
        assert validate(image).reason != "corrupt"  # some formats have all bytes in memory
    except ValueError as error:
        assert "closed" in str(error)  # noqa: PT017 - either is right
    copy = Image.fromarray(RGB)
    copy.close()
    with pytest.raises(ValueError, match="is closed"):
        validate(copy)


@pytest.mark.parametrize(("mode", "of"), [("La", "LA"), ("RGBa", "RGBA")])
def test_premultiplied_modes_are_read(mode, of):
    """Pillow's modes of intermediate results are images, too."""
    image = Image.fromarray(RGB).convert("RGBA").convert(of)
    assert validate(image.convert(mode)).measures == validate(image).measures


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_deep_arrays_are_scaled_as_their_files_are(bits):
    """An array of uint16 is judged as the PNG that has it."""
    deep = RGB.astype(np.uint16) << (bits - 8)
    _, file = cv2.imencode(".png", deep[:, :, ::-1])
    assert validate(deep).measures == pytest.approx(validate(file.tobytes()).measures)


@pytest.mark.parametrize("quality", [12, 40, 92])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_pillow_image_gives_what_its_file_gives(quality, orientation):
    """Table, camera's turn and pixels come along with a Pillow image that was just opened."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = jpeg(RGB, quality, exif=exif.tobytes())
    ours, files = validate(Image.open(io.BytesIO(data))).measures, validate(data).measures
    assert (ours["width"], ours["height"], ours["jpeg_quality"]) == pytest.approx(
        (files["width"], files["height"], files["jpeg_quality"])
    )
    assert ours["tone_median"] == pytest.approx(files["tone_median"], abs=2)


def test_scores_ignore_how_the_camera_was_held():
    """All eight orientations have the same scores."""
    assert len({tuple(validate(with_orientation(RGB, turn)).scores.values()) for turn in range(1, 9)}) == 1


def test_eight_threads_judge_as_one_does():
    """Results do not depend on what else is judged at the moment."""
    serial = [validate(data) for data in FILES] * 8
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(validate, FILES * 8)) == serial


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_data_loader_worker_judges_as_its_parent_does(method):
    """After the parent has judged, forked and spawned workers give the same, and none hangs."""
    expected = [validate(data).score for data in FILES]
    with multiprocessing.get_context(method).Pool(2) as pool:
        decisions = pool.map_async(validate, FILES).get(timeout=60)
    assert [decision.score for decision in decisions] == expected
