"""What is taught is true."""

import numpy as np
import pytest

from imageguard_daemon.quality.readout import TARGETS
from tests.helpers.images import photo
from training import damage
from training.truth import (
    Truth,
    detail_kept,
    equivalent_quality,
    from_labels,
    overexposure,
    overexposure_interval,
    underexposure,
)


def test_what_is_unknown_is_never_an_error():
    """A measure without a truth accepts every score."""
    low, high = Truth().scores().T
    assert (low < -5).all()
    assert (high > 5).all()


def test_an_interval_of_measures_is_one_of_scores():
    """The worse end of a measure is the lower score, also where more is better."""
    scores = Truth({"blur_sigma_px": (1.15, 2.0), "jpeg_quality": (15, 50)}).scores()
    assert scores[TARGETS.index("blur_sigma_px")] == pytest.approx([0.4, 0.75])
    assert scores[TARGETS.index("jpeg_quality")] == pytest.approx([0.4, 0.75])


def test_an_open_end_excludes_nothing_on_its_side():
    """At least 2 px of blur is met by any score up to that of 2 px."""
    scores = from_labels({"blur_sigma_px": "2.0..", "jpeg_quality": "..15"}).scores()
    for measure in ("blur_sigma_px", "jpeg_quality"):
        low, high = scores[TARGETS.index(measure)]
        assert low < -5
        assert high == pytest.approx(0.4)


def test_labels_are_read_as_written():
    """A value, an interval, an end; an empty cell is unknown."""
    truth = from_labels({"noise_sigma": "5", "enlargement": "1..1.4", "overexposure": "", "note": "a church"})
    assert truth.intervals == {"noise_sigma": (5, 5), "enlargement": (1, 1.4)}


def test_a_label_that_is_no_number_is_refused():
    """A typing error must not become silence."""
    with pytest.raises(ValueError, match="much"):
        from_labels({"noise_sigma": "much"})


def test_more_stops_are_worse():
    """The index of exposure rises with the stops, on a bright scene earlier."""
    assert np.all(np.diff([overexposure(stops, 0.5) for stops in np.linspace(0, 5, 20)]) >= 0)
    assert np.all(np.diff([underexposure(stops) for stops in np.linspace(0, 8, 20)]) >= 0)
    assert overexposure(2, 0.8) > overexposure(2, 0.1)
    assert underexposure(0) == overexposure(0, 0.5) == 0


@pytest.mark.parametrize("quality", [10, 30, 60])
def test_equivalent_quality_of_a_jpeg_is_its_own(quality: int):
    """Harm is told in libjpeg quality."""
    scene = damage.to_bytes(photo(400, 300).astype(np.float32) / 255)
    grey = damage.to_bytes(damage.luma(scene.astype(np.float32) / 255))
    shown = damage.jpeg(
        np.repeat(grey[..., None], 3, axis=2).astype(np.float32) / 255, quality, np.random.default_rng(1)
    )
    assert equivalent_quality(grey, damage.to_bytes(damage.luma(shown))) == pytest.approx(quality, abs=3)


def test_white_paper_is_not_over_exposed_by_more_light():
    """A page in black and white loses nothing to three stops more; a photo of middle tones does."""
    page = np.ones((200, 200), np.float32)
    page[40:160:8, 30:170] = 0.0
    assert detail_kept(page, page) == 1
    assert overexposure_interval(3, page, page)[0] == 0
    scene = photo(200, 200)[..., 0].astype(np.float32) / 255
    blown = np.clip(scene * 3.5, 0, 1).astype(np.float32)
    low, high = overexposure_interval(4, scene, blown)
    assert 0.5 < low < high


def test_a_blur_beyond_the_scale_of_scores_is_still_told_apart():
    """Sources that are soft by nature begin where the score ends at 0: 8 and 12 px are different truths."""
    eight, twelve = (Truth({"blur_sigma_px": (px, px)}).scores()[TARGETS.index("blur_sigma_px")] for px in (8, 12))
    assert twelve[0] < eight[0] < 0


@pytest.mark.parametrize(
    ("labels", "is_good"),
    [
        ({"blur_sigma_px": "..1.4", "overexposure": "..0.25", "underexposure": "..0.25"}, True),
        (
            {"blur_sigma_px": "..1.4", "overexposure": "..0.25", "underexposure": "..0.25", "jpeg_quality": "..15"},
            False,
        ),
        ({"blur_sigma_px": "2.5..", "overexposure": "..0.25", "underexposure": "..0.25"}, False),
        ({"blur_sigma_px": "..1.4"}, False),
    ],
)
def test_only_what_is_known_to_be_good_is_damaged(labels: dict[str, str], is_good: bool):
    """Damage adds to what is there: what is already blurred, or what nobody knows of, teaches nothing."""
    assert from_labels(labels).is_good is is_good
