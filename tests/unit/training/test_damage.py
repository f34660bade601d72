"""Damage for training is what its name and number say."""

import cv2
import numpy as np
import pytest

from tests.helpers.images import photo
from training import damage, scenes

PHOTO = photo(240, 180).astype(np.float32) / 255


def generator() -> np.random.Generator:
    return np.random.default_rng(7)


def widths_px(kernel: np.ndarray) -> tuple[float, float]:
    """Give the standard deviations of a kernel along both axes."""
    share = kernel / kernel.sum()
    places = np.arange(len(kernel))
    along = [share.sum(axis=axis) for axis in (0, 1)]
    return tuple(float(np.sqrt((line * (places - (line * places).sum()) ** 2).sum())) for line in along)


@pytest.mark.parametrize("sigma", [0.8, 2.0, 5.0])
@pytest.mark.parametrize("seed", range(4))
def test_every_kernel_is_as_wide_as_it_is_called(sigma: float, seed: int):
    """A blur of sigma px spreads light by sigma px, whether Gaussian, disc or path."""
    rng = np.random.default_rng(seed)
    for kernel in (damage.gaussian_kernel(sigma), damage.disc_kernel(sigma, rng), damage.path_kernel(sigma, rng)):
        # Every kernel is smoothed a little where it falls between pixels.
        assert 0.85 * sigma < np.sqrt(np.square(widths_px(kernel)).mean()) < 1.1 * np.hypot(sigma, 0.6)


@pytest.mark.parametrize("sigma", [3.0, 12.0])
def test_noise_is_as_strong_as_asked_on_middle_grey(sigma: float):
    """Sigma is told in grey levels of luma."""
    grey = np.full((200, 200, 3), 0.5, np.float32)
    found = [
        float(damage.luma(damage.noise(grey, sigma, np.random.default_rng(seed))).std() * 255) for seed in range(12)
    ]
    assert np.median(found) == pytest.approx(sigma, rel=0.15)


@pytest.mark.parametrize("stops", [1.0, 3.0])
def test_exposure_goes_the_way_it_is_told(stops: float):
    """More light is brighter, less is darker."""
    usual = float(PHOTO.mean())
    assert float(damage.expose(PHOTO, stops, generator()).mean()) > usual
    assert float(damage.expose(PHOTO, -stops, generator()).mean()) < usual


def test_blocks_are_as_large_as_the_factor():
    """Pixelation by 6 leaves a sixth of the columns that differ from their neighbour."""
    blocks = damage.pixelate(PHOTO, 6, generator())
    changes = (np.abs(np.diff(blocks, axis=1)).max(axis=(0, 2)) > 0).sum()
    assert changes + 1 == 240 / 6


@pytest.mark.parametrize(
    "spoil",
    [
        lambda image, rng: damage.blur(image, damage.gaussian_kernel(2)),
        lambda image, rng: damage.blur_background(image, damage.disc_kernel(2, rng), rng),
        lambda image, rng: damage.noise(image, 20, rng),
        lambda image, rng: damage.expose(image, 2, rng),
        lambda image, rng: damage.enlarge(image, 3, rng),
        lambda image, rng: damage.pixelate(image, 3, rng),
        lambda image, rng: damage.average_frames(image, 3, rng),
        *(lambda image, rng, codec=codec: codec(image, 20, rng) for codec in damage.CODECS.values()),
        *scenes.TURNED,
    ],
)
@pytest.mark.parametrize(
    "image", [PHOTO, np.zeros_like(PHOTO), np.ones((9, 70, 3), np.float32)], ids=["photo", "black", "thin"]
)
def test_damage_keeps_size_and_range(spoil, image: np.ndarray):
    """Whatever is done, the picture stays a picture of 0 to 1, of a black frame and of a thin strip, too."""
    damaged = spoil(image, generator())
    assert damaged.shape == image.shape
    assert damaged.dtype == np.float32
    assert damaged.min() >= 0
    assert damaged.max() <= 1


@pytest.mark.parametrize("drawn", scenes.DRAWN)
def test_drawn_scenes_are_large_sharp_pictures(drawn):
    """Pages, screens and stars have detail between neighbouring pixels."""
    image = drawn(generator())
    assert min(image.shape[:2]) >= 150
    assert image.min() >= 0
    assert image.max() <= 1
    assert float(np.abs(cv2.Laplacian(damage.luma(image), cv2.CV_32F)).max()) > 0.2


def test_averaged_frames_are_blurred_along_the_path():
    """Light is spread by about the sigma that was asked for, as by a moving camera's frames."""
    point = np.zeros((101, 101, 3), np.float32)
    point[50, 50] = 1
    spread = damage.to_linear(damage.average_frames(point, 4, np.random.default_rng(3)))[..., 0]
    assert np.sqrt(np.square(widths_px(spread)).mean()) == pytest.approx(4, rel=0.35)


def test_lights_leave_streaks_when_they_move():
    """A lamp is brighter than white, so that it is still white when its light is spread."""
    night = np.full((80, 80, 3), 0.02, np.float32)
    night[40, 40] = 1
    kernel = damage.path_kernel(4, np.random.default_rng(1))
    plain, bright = damage.blur(night, kernel), damage.blur(damage.lights(night, generator()), kernel)
    assert bright.max() > 1.5 * plain.max()
