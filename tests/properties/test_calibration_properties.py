"""What holds for thresholds proposed from any scores."""

from hypothesis import given
from hypothesis import strategies as st

from imageguard_daemon.calibration.thresholds import propose, rejects
from imageguard_daemon.quality.policy import PRESETS

PRESET = tuple(PRESETS["general"].values())
# Few different scores make ties, which are where a limit is easily missed.
SCORE = st.one_of(st.sampled_from([0.0, 30.0, 39.9, 40.0, 60.0, 100.0]), st.floats(0, 100))
IMAGES = st.lists(st.tuples(*[SCORE] * 6), min_size=10, max_size=30)
LIMIT = st.integers(0, 9)


def count(thresholds, images):
    return sum(rejects(thresholds, scores) for scores in images)


@given(IMAGES, st.one_of(st.just([]), IMAGES), LIMIT)
def test_never_more_good_images_are_rejected_than_allowed(good, bad, limit):
    """The limit holds for all six signals together, whatever the scores are."""
    thresholds = propose(good, bad, PRESET, limit)
    assert count(thresholds, good) <= limit
    assert all(0 <= threshold <= 100 for threshold in thresholds)


@given(IMAGES, LIMIT)
def test_without_bad_images_nothing_gets_stricter_than_the_preset(good, limit):
    """Good images alone are no reason to reject more; where none is below the preset, its threshold stays."""
    thresholds = propose(good, [], PRESET, limit)
    for column, threshold, preset in zip(zip(*good, strict=True), thresholds, PRESET, strict=True):
        assert threshold <= preset
        assert threshold == preset or min(column) < preset


@given(IMAGES, LIMIT)
def test_a_larger_limit_loosens_no_threshold(good, limit):
    """Who allows more rejections gets thresholds as near to the preset or nearer, in every signal."""
    tight, wide = (propose(good, [], PRESET, allowed) for allowed in (limit, limit + 1))
    assert all(a <= b for a, b in zip(tight, wide, strict=True)) or limit + 1 >= len(good)


@given(IMAGES, IMAGES, st.integers(0, 8))
def test_a_larger_limit_lets_no_bad_image_escape(good, bad, limit):
    """Who allows more rejections of good images catches as many bad ones or more."""
    tight, wide = (propose(good, bad, PRESET, allowed) for allowed in (limit, limit + 1))
    assert count(wide, bad) >= count(tight, bad)


@given(IMAGES, st.one_of(st.just([]), IMAGES), LIMIT, st.randoms())
def test_the_order_of_files_does_not_matter_to_the_limit(good, bad, limit, random):
    """Images in another order keep the limit too."""
    random.shuffle(good)
    assert count(propose(good, bad, PRESET, limit), good) <= limit


@given(IMAGES, LIMIT)
def test_a_preset_that_keeps_the_limit_stays(good, limit):
    """Where nothing is wrong, nothing is proposed."""
    if count(PRESET, good) <= limit:
        assert propose(good, [], PRESET, limit) == PRESET
