"""The compiled steps give what NumPy gives, whatever the picture."""

import contextlib
import gc
import importlib
import tracemalloc
from dataclasses import astuple, replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from imageguard_daemon.core.model import Limits
from imageguard_daemon.quality import readout
from imageguard_daemon.quality.decode.decoder import from_grey
from imageguard_daemon.quality.features.lines import lines
from imageguard_daemon.quality.features.vector import COMPILED, NAMES, NUMPY, Backend, Features, extract
from imageguard_daemon.quality.scoring import scale_scores, signal_scores
from tests.helpers.images import blurred, enlarged, exposed, jpeg, noisy, photo, pixelated

if COMPILED is None:
    pytest.skip("the package was built without a compiler", allow_module_level=True)

BUILDS = []
for name in ("_native", "_native_avx2"):
    with contextlib.suppress(ImportError):
        BUILDS.append(importlib.import_module(f"imageguard_daemon.quality.features.{name}"))
native = BUILDS[-1]
Pixels = NDArray[np.uint8]
SIDES = st.integers(8, 330)
SAME_SCORE, SAME_WITHOUT_GRID = 0.3, 2.0
"""Points of score. Where no block grid shows, rounding may decide between two that fit by chance."""
SPOILED = {
    "not": lambda rgb: rgb,
    "blurred": lambda rgb: blurred(rgb, 2.5),
    "noisy": lambda rgb: noisy(rgb, 20),
    "dark": lambda rgb: exposed(rgb, -4),
    "bright": lambda rgb: exposed(rgb, 3),
    "enlarged": lambda rgb: enlarged(rgb, 2.3),
    "pixelated": lambda rgb: pixelated(rgb, 4),
    "compressed": lambda rgb: cv2.imdecode(np.frombuffer(jpeg(rgb, 12), np.uint8), cv2.IMREAD_COLOR),
}


def grey_photo(width: int, height: int, seed: int, kind: str) -> Pixels:
    rgb = SPOILED[kind](photo(max(width, 16), max(height, 16), seed))
    return np.ascontiguousarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)[:height, :width])


def both(grey: Pixels) -> tuple[Features, Features]:
    """Give the features by NumPy and compiled."""
    picture = from_grey(grey, Limits())
    found: list[Features] = [extract(picture, 1024, backend) for backend in (NUMPY, COMPILED) if backend]
    return found[0], found[1]


def apart(first: Features, second: Features) -> dict[str, float]:
    """Give the features that differ, in units of the spread that the networks know."""
    distances = np.abs(first.vector - second.vector) / readout.panels()[-1].networks[0].spread
    return {name: float(distance) for name, distance in zip(NAMES, distances, strict=True) if distance > 0.02}


@given(SIDES, SIDES, st.integers(0, 30), st.sampled_from(sorted(SPOILED)))
@settings(max_examples=60, derandomize=True)
def test_photos_have_the_same_features(width: int, height: int, seed: int, kind: str):
    """Of any size and spoiled in any way, a picture scores the same whether the package was compiled or not."""
    first, second = both(grey_photo(width, height, seed, kind))
    scores = [signal_scores(scale_scores(readout.read_out(found))) for found in (first, second)]
    same_grid = astuple(first.grid) == pytest.approx(astuple(second.grid), rel=1e-4)
    shown = max(first.grid.fit, second.grid.fit) > 0.3
    tolerance = SAME_SCORE if shown or same_grid else SAME_WITHOUT_GRID
    assert scores[0] == pytest.approx(scores[1], abs=tolerance), apart(first, second)
    assert facts(first) == pytest.approx(facts(second), abs=1e-6)


def facts(found: Features) -> tuple[float, ...]:
    return (*astuple(found.exposure), found.repeated)


@pytest.mark.parametrize(("width", "height"), [(3000, 2000), (2047, 2049), (4500, 60), (41, 5000), (1024, 768)])
def test_large_and_narrow_photos_have_the_same_features(width: int, height: int):
    """Samples of large pictures are taken at the same places."""
    tile = grey_photo(600, 400, 3, "not")
    grey = np.tile(tile, (height // 400 + 1, width // 600 + 1))[:height, :width]
    assert apart(*both(np.ascontiguousarray(grey))) == {}


@pytest.mark.parametrize("working_px", [1024, 200], ids=["small", "larger than working size"])
@given(st.integers(40, 700), st.integers(40, 700), st.integers(0, 30), st.booleans(), st.booleans())
@settings(max_examples=40, deadline=None)
def test_one_call_gives_what_single_steps_give(working_px, width, height, seed, flipped, lies):
    """All features at once are, bit by bit, those of one step after another, whichever way the picture was stored."""
    grey = grey_photo(width, height, seed, "not")
    grey = grey[::-1, ::-1] if flipped else grey
    picture = from_grey(np.ascontiguousarray(grey.T if lies else grey), Limits())
    assert COMPILED is not None
    found = [extract(picture, working_px, backend) for backend in (COMPILED, replace(COMPILED, whole=NUMPY.whole))]
    assert np.array_equal(found[0].vector, found[1].vector)
    assert (found[0].grid, facts(found[0])) == (found[1].grid, facts(found[1]))


@given(st.integers(40, 90), st.integers(40, 90), st.integers(0, 2**32 - 1), st.sampled_from([0, 1, 2, 8, 64, 255]))
@settings(max_examples=60)
def test_any_pixels_give_finite_numbers(width: int, height: int, seed: int, most: int):
    """Blank, nearly blank, and wild pixels are all measured."""
    grey = np.random.default_rng(seed).integers(0, most, (height, width), np.uint8, endpoint=True)
    assert np.isfinite(both(grey)[1].vector).all()
    for backend in (NUMPY, COMPILED):
        assert backend is not None
        assert np.isfinite([*backend.blur(grey), *backend.noise(grey), *backend.exposure(grey)[1]]).all()


@given(st.integers(40, 120), st.integers(40, 120), st.integers(0, 7), st.integers(0, 7), st.booleans(), st.booleans())
@settings(max_examples=40)
def test_turned_views_are_read_where_they_lie(width, height, row, column, flipped, lies):
    """A view with other strides gives what its copy gives."""
    grey = grey_photo(200, 200, 1, "not")[: height * 2 : 2, :width]
    view = grey[::-1, ::-1] if flipped else grey
    view = view.T if lies else view
    assert native.compression(view, row, column) == native.compression(np.ascontiguousarray(view), row, column)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((39, 50), np.uint8),
        np.zeros((50, 0), np.uint8),
        np.zeros((50, 50), np.uint16),
        np.zeros((50, 50, 3), np.uint8),
        np.zeros(4000, np.uint8),
        np.zeros((100, 100), np.uint8)[::2, ::2],
    ],
    ids=["too small", "empty", "deep", "colour", "flat", "with gaps"],
)
@pytest.mark.parametrize("name", ["light", "blur", "noise", "exposure"])
def test_what_is_no_working_picture_is_refused(name: str, array: np.ndarray):
    """Nothing is read beyond an array, as anything but its own kind is a ValueError."""
    with pytest.raises(ValueError, match="uint8"):
        getattr(native, name)(array)


def test_other_wrong_arguments_are_refused():
    """Offsets, lengths and types out of range are errors, never reads out of bounds."""
    grey = np.zeros((64, 64), np.uint8)
    for row, column in ((8, 0), (0, 8), (-1, 0)):
        with pytest.raises(ValueError, match="block border"):
            native.compression(grey, row, column)
    with pytest.raises(ValueError, match="lines"):
        native.lines(np.zeros((40, 2049), np.uint8), grey)
    with pytest.raises(TypeError):
        native.blur("no picture")
    with pytest.raises(ValueError, match="uint8"):
        native.compression(np.zeros((30, 64), np.uint8), 0, 0)
    for first, second in ((grey[:39], grey), (grey, grey[:39]), (grey, grey[:, ::-1]), (grey[::2, ::2], grey)):
        with pytest.raises(ValueError, match="uint8"):
            native.features(first, second)
    with pytest.raises(ValueError, match="20 times"):
        native.features(grey, np.zeros((40, 801), np.uint8))


@given(SIDES.filter(lambda side: side >= 40), SIDES.filter(lambda side: side >= 40), st.sampled_from(sorted(SPOILED)))
@settings(max_examples=30)
def test_both_builds_give_the_same_numbers(width: int, height: int, kind: str):
    """With and without AVX2 the features are the same, but for the last digits."""
    if len(BUILDS) < 2:
        pytest.skip("the compiler or the processor knows no AVX2")
    grey = grey_photo(width, height, 5, kind)
    across, down = lines(grey)
    for take in (
        lambda build: build.blur(grey),
        lambda build: build.noise(grey),
        lambda build: build.exposure(grey)[1],
        lambda build: build.lines(across, down)[3],
        lambda build: build.compression(grey, 1, 2)[1],
    ):
        assert take(BUILDS[0]) == pytest.approx(take(BUILDS[1]), rel=1e-3, abs=1e-3)


def test_a_picture_with_gaps_is_copied_first():
    """Pixels that lie apart in both directions are measured all the same."""
    grey = grey_photo(200, 160, 1, "not")[::2, ::2]
    assert apart(*both(grey)) == {}
    with pytest.raises(ValueError, match="uint8"):
        native.compression(grey, 0, 0)


def test_memory_is_given_back():
    """A thousand pictures later nothing more is held."""
    grey = grey_photo(120, 90, 1, "not")
    across, down = lines(grey)

    def all_once() -> None:
        native.blur(grey), native.noise(grey), native.exposure(grey)
        native.lines(across, down), native.compression(grey, 1, 2), native.features(grey.T, grey)

    all_once()
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(1000):
        all_once()
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 20_000


def test_a_package_without_compiled_steps_measures():
    """Where there is no compiler, NumPy does it all."""
    assert isinstance(NUMPY, Backend)
    found = extract(from_grey(grey_photo(100, 80, 2, "not"), Limits()), 1024, NUMPY)
    assert len(found.vector) == len(NAMES)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_networks_answer_the_same(seed: int):
    """Any numbers, in the range of training or far from it, get the same answers compiled and by NumPy."""
    vector = np.random.default_rng(seed).normal(0, 10, len(NAMES)).astype(np.float32)
    for panel in readout.panels():
        columns = np.array([NAMES.index(name) for name in panel.features], np.int32)
        expected = [answer for network in panel.networks for answer in network(vector[columns])]
        for build in BUILDS:
            assert build.answers(vector, columns, panel.in_a_row(), panel.widths) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("columns", "weights", "widths"),
    [
        ([0, 9], 11, (2, 1)),
        ([0, -1], 11, (2, 1)),
        ([0], 11, (2, 1)),
        ([0, 1], 12, (2, 1)),
        ([0, 1], 11, (2,)),
        ([], 0, (0, 1)),
    ],
    ids=["no such column", "none before the first", "too few columns", "too few weights", "no layer", "no input"],
)
def test_networks_that_do_not_fit_are_refused(columns: list[int], weights: int, widths: tuple[int, ...]):
    """Nothing is read beyond the weights, nor beyond the features."""
    numbers = np.ones(weights, np.float32)
    with pytest.raises(ValueError, match=r"column|layers"):
        native.answers(np.ones(3, np.float32), np.array(columns, np.int32), numbers, widths)
