"""Where a picture is sharp and clipped."""

import cv2
import numpy as np
import pytest

from imageguard_daemon.quality.area_map import AreaMap, area_map, turned
from tests.helpers.images import photo


def _luma(side=480):
    return np.asarray(cv2.cvtColor(np.asarray(photo(side, side)), cv2.COLOR_RGB2GRAY))


def test_more_blur_is_seen_everywhere():
    """The middle tile's blur grows with the blur of the picture, and stays within half and twice what was done."""
    grey, middles = _luma(), []
    for sigma in (1.0, 2.0, 4.0):
        found = area_map(np.asarray(cv2.GaussianBlur(grey, (0, 0), sigma)), 1024)
        middles.append(float(np.nanmedian(found.blur_sigma_px)))
        assert sigma / 2.5 <= middles[-1] <= 2.5 * sigma
    assert middles == sorted(middles)


def test_a_blurred_half_is_told_from_a_sharp_one():
    """Tiles of the half that was blurred say more px than those of the other."""
    grey = _luma()
    grey[:, 240:] = cv2.GaussianBlur(grey, (0, 0), 4)[:, 240:]
    found = area_map(grey, 1024)
    left, right = found.blur_sigma_px[:, :9], found.blur_sigma_px[:, 11:]
    assert np.nanquantile(left, 0.75) < np.nanquantile(right, 0.25)


def test_clipped_areas_are_where_they_are():
    """A white and a black quarter are white and black, the rest is neither."""
    grey = np.full((240, 240), 128, np.uint8)
    grey[:120, :120], grey[120:, 120:] = 255, 0
    found = area_map(grey, 1024)
    assert found.white[0, 0] == found.black[-1, -1] == 1
    assert found.white[0, -1] == found.black[0, -1] == found.white[-1, -1] == 0


def test_nothing_to_be_sharp_and_tiny_pictures():
    """A tile without detail has no blur, where others have; what is too small for tiles has no map."""
    grey = _luma()
    grey[:, :240] = 100
    found = area_map(grey, 1024)
    assert np.isnan(found.blur_sigma_px[2:-2, :8]).all()
    assert not np.isnan(found.blur_sigma_px[:, 12:]).all()
    assert area_map(np.zeros((39, 400), np.uint8), 1024) is None


@pytest.mark.parametrize("orientation", range(10))
def test_a_map_is_turned_as_its_picture(orientation):
    """What EXIF says is done to the map as Pillow does it to the picture."""
    from PIL import Image, ImageOps

    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    image = Image.fromarray(values.astype(np.uint8))
    image.getexif()[0x0112] = orientation
    found = turned(AreaMap(72, 48, values, values, values), orientation)
    expected = np.asarray(ImageOps.exif_transpose(image))
    assert (found.black == expected).all()
    assert (found.height, found.width) == tuple(24 * side for side in expected.shape)
