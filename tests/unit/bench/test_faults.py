"""Damage made for measuring is of the strength it says, and the same for the same seed."""

import numpy as np
import pytest

from bench import faults
from bench.kinds import KINDS, PAIRS
from imageguard_daemon.core.model import ISSUES, SIGNALS
from tests.helpers.images import photo

GREY = np.full((120, 160, 3), 118, np.uint8)  # 18 % of white in linear light


def drawn(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def luma_sigma(rgb: np.ndarray) -> float:
    return float((rgb @ [0.299, 0.587, 0.114]).std())


def spread_of_a_point(name: str, strength: float) -> float:
    """Give the standard deviation, in px along one axis on average, of the light that one bright pixel becomes."""
    rgb = np.zeros((101, 101, 3), np.uint8)
    rgb[50, 50] = 255
    light = faults.to_light(KINDS[name].damaged(rgb, strength, drawn()))[..., 0].astype(float)
    y, x = np.mgrid[-50:51, -50:51]
    variance = (light * (x * x + y * y)).sum() / light.sum() - ((light * x).sum() / light.sum()) ** 2
    return float(np.sqrt((variance - ((light * y).sum() / light.sum()) ** 2) / 2))


@pytest.mark.parametrize("name", KINDS)
def test_the_same_seed_makes_the_same_damage(name: str):
    """A figure can be measured again."""
    scene, kind = photo(96, 64), KINDS[name]
    first, again, other = (kind.damaged(scene, kind.fatal, drawn(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert first.dtype == np.uint8
    if name in {"grain", "high ISO", "motion"}:
        assert not np.array_equal(first, other)


@pytest.mark.parametrize("name", KINDS)
def test_damage_leaves_the_original_alone(name: str):
    """Copies are damaged, never the photo that the next copy is made from."""
    scene = photo(96, 64)
    before = scene.copy()
    KINDS[name].damaged(scene, KINDS[name].severe, drawn())
    assert np.array_equal(scene, before)


def test_light_and_stored_values_are_inverse():
    """All 256 levels survive the way to linear light and back."""
    levels = np.arange(256, dtype=np.uint8)[None, :, None].repeat(3, axis=2)
    assert np.array_equal(faults.to_rgb(faults.to_light(levels)), levels)


@pytest.mark.parametrize(
    ("name", "strength", "sigma"),
    [("gaussian", 2.0, 2.0), ("defocus", 5.0, 2.5), ("motion", 14.0, 14 / np.sqrt(24))],
)
def test_blur_spreads_light_as_far_as_it_says(name: str, strength: float, sigma: float):
    """A disc of radius r is as wide as a Gaussian of r / 2, a line of length l has l / sqrt(12) along itself."""
    assert spread_of_a_point(name, strength) == pytest.approx(sigma, rel=0.15)


@pytest.mark.parametrize("name", ["grain", "high ISO"])
@pytest.mark.parametrize("sigma", [3.0, 12.0])
def test_noise_at_mid_grey_has_the_sigma_it_says(name: str, sigma: float):
    """The strength of noise is its standard deviation in levels of luma."""
    assert luma_sigma(KINDS[name].damaged(GREY, sigma, drawn())) == pytest.approx(sigma, rel=0.06)


def test_photon_noise_is_weaker_in_the_dark():
    """High ISO is no grain: of a quarter of the light the noise in light is half, but for what reading adds."""
    dark = faults.under(GREY, 2, drawn())
    in_the_dark, at_mid_grey = (faults.to_light(faults.high_iso(rgb, 4, drawn())).std() for rgb in (dark, GREY))
    assert in_the_dark == pytest.approx(0.5 * at_mid_grey, rel=0.15)


def test_a_stop_is_a_factor_of_two_in_light():
    """Exposure doubles or halves linear light."""
    light = faults.to_light(GREY).mean()
    assert faults.to_light(faults.over(GREY, 1, drawn())).mean() == pytest.approx(2 * light, rel=0.02)
    assert faults.to_light(faults.under(GREY, 1, drawn())).mean() == pytest.approx(light / 2, rel=0.02)


def test_enlarging_keeps_the_size_and_a_thumbnail_has_the_pixels_it_says():
    """Only thumbnails are smaller than the photo."""
    scene = photo(320, 240)
    for name in set(KINDS) - {"thumbnail"}:
        assert KINDS[name].damaged(scene, KINDS[name].severe, drawn()).shape == scene.shape
    small = faults.thumbnail(scene, 10, drawn())
    assert small.shape[0] * small.shape[1] == pytest.approx(10_000, rel=0.03)
    assert faults.thumbnail(scene, 100, drawn()) is scene


def test_blocks_are_of_equal_pixels():
    """Four times pixelated is made of blocks of four by four."""
    blocks = faults.pixelation(photo(160, 120), 4, drawn()).reshape(30, 4, 40, 4, 3)
    assert np.array_equal(blocks, np.broadcast_to(blocks[:, :1, :, :1], blocks.shape))


@pytest.mark.parametrize("name", KINDS)
def test_strengths_cover_the_range_and_lie_in_the_right_zone(name: str):
    """Every kind is tried from mild to severe, and some strengths are fatal."""
    kind, mildest = KINDS[name], set()
    for seed in range(20):
        strengths = kind.strengths(7, drawn(seed))
        badness = [kind.badness(strength) for strength in strengths]
        assert badness == sorted(badness)
        assert all(min(kind.mild, kind.severe) <= s <= max(kind.mild, kind.severe) for s in strengths)
        assert kind.zone(strengths[-1]) == "reject" == kind.zone(kind.fatal_strength(drawn(seed)))
        mildest.add(kind.zone(strengths[0]))
    assert ("pass" in mildest) == (kind.harmless is not None)


def test_kinds_speak_of_known_issues_and_signals():
    """A misspelt issue would count every verdict as wrong."""
    for kind in KINDS.values():
        assert kind.issues <= set(ISSUES)
        assert kind.signal in SIGNALS
    assert {name for pair in PAIRS for name in pair} <= set(KINDS)
    assert all(not KINDS[first].issues & KINDS[second].issues for first, second in PAIRS)
