"""Samples of any depth as brightness, or as the measurements they are."""

import numpy as np
import pytest

from imageguard_daemon.quality.decode.luma import scaled_to_8_bit

RAMP = np.linspace(0, 1, 64 * 64).reshape(64, 64)


@pytest.mark.parametrize(
    "samples",
    [
        pytest.param((28_000 + 3000 * RAMP).astype(np.uint16), id="kelvin x 100"),
        pytest.param((3000 + 900 * RAMP).astype(np.uint16), id="14-bit sensor"),
        pytest.param((-10 + 50 * RAMP).astype(np.float32), id="degrees Celsius"),
        pytest.param((270 + 50 * RAMP).astype(np.float32), id="kelvin"),
        pytest.param((-500 + 4000 * RAMP).astype(np.int32), id="elevation"),
    ],
)
def test_measurements_fill_the_range_that_they_have(samples: np.ndarray) -> None:
    """A thermal image is neither dark nor flat because its numbers are far from zero; dead pixels change nothing."""
    scaled = scaled_to_8_bit(samples).astype(int)
    assert np.abs(scaled - 255 * RAMP).max() <= 2
    dead = samples.copy()
    dead[::16, 5] = 0
    again = scaled_to_8_bit(dead).astype(int)
    assert np.abs(again - scaled)[dead == samples].max() <= 2


@pytest.mark.parametrize(
    ("samples", "white"),
    [
        pytest.param((3000 * RAMP).astype(np.uint16), 4095, id="12 bits in 16"),
        pytest.param((60_000 * RAMP).astype(np.uint16), 65_535, id="16 bits"),
        pytest.param((40_000 + 25_000 * RAMP).astype(np.uint16), 65_535, id="a bright photo"),
        pytest.param((0.3 + 0.1 * RAMP).astype(np.float32), 1, id="0 to 1"),
        pytest.param((30 * RAMP).astype(np.float32), 30, id="high dynamic range"),
        pytest.param(np.full((64, 64), 30_000, np.uint16), 32_767 * 2 + 1, id="one grey"),
    ],
)
def test_brightness_stays_what_it_is(samples: np.ndarray, white: float) -> None:
    """Photos keep their exposure: only what cannot be brightness is stretched."""
    assert np.abs(scaled_to_8_bit(samples).astype(int) - samples.astype(float) * 255 / white).max() <= 1


def test_colour_is_never_stretched() -> None:
    """A pale photo in 16 bits of three channels stays pale."""
    pale = np.repeat((28_000 + 3000 * RAMP).astype(np.uint16)[..., None], 3, axis=2)
    assert scaled_to_8_bit(pale).max() < 125


TWELVE_BITS = (4095 * RAMP).astype(np.uint16)


@pytest.mark.parametrize("alpha", [4095, 65535])
def test_transparency_has_a_range_of_its_own(alpha: int) -> None:
    """A channel that says "opaque" with 65535 makes 12-bit colour no dark picture."""
    colour = np.dstack([TWELVE_BITS] * 3)
    with_alpha = np.dstack([colour, np.full_like(TWELVE_BITS, alpha)])
    scaled = scaled_to_8_bit(with_alpha)
    assert np.array_equal(scaled[:, :, :3], scaled_to_8_bit(colour))
    assert scaled[:, :, 3].min() == 255


@pytest.mark.parametrize("shape", ["grey", "colour"])
def test_a_few_hot_pixels_make_no_range(shape: str) -> None:
    """One sample at the end of the scale does not make all others dark."""
    samples = TWELVE_BITS.copy() if shape == "grey" else np.dstack([TWELVE_BITS] * 3)
    expected = scaled_to_8_bit(samples).astype(int)
    samples[3, 7] = 65535
    assert np.abs(scaled_to_8_bit(samples).astype(int) - expected)[10:].max() <= 1


def test_real_highlights_make_a_range() -> None:
    """A dark picture of 16 bits with lamps in it stays dark."""
    samples = TWELVE_BITS.copy()
    samples[:4, :4] = 65535
    assert np.median(scaled_to_8_bit(samples)) < 20


def test_what_stands_for_no_data_is_no_elevation() -> None:
    """A height map with a lake of -9999 is scaled by its heights; the lake is middle grey."""
    heights = (200 + 800 * RAMP).astype(np.float32)
    full = scaled_to_8_bit(heights).astype(int)
    heights[:, :20] = -9999
    scaled = scaled_to_8_bit(heights, no_data=-9999)
    assert (scaled[:, :20] == 128).all()
    assert np.abs(scaled[:, 20:].astype(int) - full[:, 20:]).max() <= 3


def _with_sample(sample: float, kind: str, channels: int) -> np.ndarray:
    pixels = np.repeat(RAMP[..., None], channels, axis=2).astype(kind)
    pixels[3, 4, 0] = sample
    return pixels


SIGNALLING = np.array([0x7F800001], np.uint32).view(np.float32)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("sample", [np.nan, np.inf, 1e300])
def test_no_sample_makes_numpy_warn_the_program_around_us(sample: float, channels: int) -> None:
    """Whatever a damaged file has among its samples: a caller for whom warnings are errors gets the same pixels."""
    damaged = _with_sample(sample, "float64", channels)
    assert np.array_equal(scaled_to_8_bit(damaged)[8:], scaled_to_8_bit(_with_sample(0.5, "float64", channels))[8:])
    signalling = _with_sample(0.5, "float32", channels)
    signalling[3, 4, :1] = SIGNALLING
    assert scaled_to_8_bit(signalling)[3, 4, 0] == 128
