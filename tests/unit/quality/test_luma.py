"""Samples of any depth as brightness, or as the measurements they are."""

import numpy as np
import pytest

from imageguard_daemon.quality.luma import scaled_to_8_bit

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
