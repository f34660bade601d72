"""Every way to hand an image over gives what the file itself gives, in any thread and process."""

import io
import multiprocessing
import os
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imageguard_daemon import validate
from imageguard_daemon.quality.quiet import Quiet
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
    ],
    ids=["columns first", "negative strides", "every second", "opaque alpha", "16 bit"],
)
def test_how_an_array_lies_in_memory_does_not_matter(view):
    """Views, orders, depth and write protection change nothing, and the array is left as it was."""
    array = view(RGB)
    array.setflags(write=False)
    assert validate(array).measures == validate(RGB).measures


def test_an_array_of_bool_is_black_and_white():
    """True is white."""
    assert validate(RGB[..., 1] > 100).measures == validate(((RGB[..., 1] > 100) * 255).astype(np.uint8)).measures


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.complex64, object, "S3"])
def test_an_array_of_another_type_is_a_mistake(dtype):
    """Nobody guesses whether 1.0 is white; the message says what to do."""
    with pytest.raises(TypeError, match="uint8, uint16 or bool"):
        validate(np.zeros((20, 20), dtype))


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


def test_overlapping_silences_leave_the_filters_as_they_were():
    """Two threads that overlap do not silence the process for good."""
    quiet, before = Quiet(), list(warnings.filters)
    inside, leave = threading.Event(), threading.Event()

    def overlap() -> None:
        with quiet:
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=overlap)
    with quiet:
        thread.start()
        assert inside.wait(10)
    assert warnings.filters[0][0] == "ignore"
    leave.set()
    thread.join()
    assert list(warnings.filters) == before


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_data_loader_worker_judges_as_its_parent_does(method):
    """After the parent has judged, forked and spawned workers give the same, and none hangs."""
    expected = [validate(data).score for data in FILES]
    with multiprocessing.get_context(method).Pool(2) as pool:
        decisions = pool.map_async(validate, FILES).get(timeout=60)
    assert [decision.score for decision in decisions] == expected
