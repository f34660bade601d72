"""Thresholds are loosened where good images need it, and tightened where bad ones show that it pays."""

import random

import pytest

from imageguard_daemon.calibration.thresholds import decisive, propose, rejects
from imageguard_daemon.quality.policy import PRESETS

PRESET = tuple(PRESETS["general"].values())
FINE = (90.0,) * 6


def scores(**changed: float) -> tuple[float, ...]:
    """Give the scores of a fine image, but for some of them."""
    signals = ("blur", "resolution", "noise", "exposure", "compression", "pixelation")
    return tuple(changed.get(signal, 90.0) for signal in signals)


def test_one_signal_is_loosened_and_the_others_stay():
    """Soft good images lower the blur threshold to the softest, and nothing else."""
    good = [scores(blur=25.07 + i) for i in range(30)]
    assert propose(good, [], PRESET, 0) == (25.0, *PRESET[1:])


def test_the_limit_is_spent_where_it_saves_most():
    """One far outlier is given up rather than a signal switched off for its sake."""
    good = [FINE] * 98 + [scores(noise=2.0), scores(blur=39.0)]
    assert propose(good, [], PRESET, 1) == (39.0, *PRESET[1:])


def test_an_image_bad_in_two_signals_costs_only_once():
    """The share is that of images, not of signals."""
    good = [FINE] * 99 + [scores(noise=2.0, blur=3.0)]
    assert propose(good, [], PRESET, 1) == PRESET


def test_bad_images_raise_a_threshold_only_as_far_as_they_lie():
    """Proven by many bad images, a threshold stops in the middle between them and the good ones."""
    thresholds = propose([scores(blur=80.0)] * 50, [scores(blur=60.0)] * 20, PRESET, 0)
    assert thresholds == (70.0, *PRESET[1:])


def test_one_odd_bad_image_proves_nothing():
    """A single bad image just below the good ones may be chance, and raises no threshold."""
    good = [scores(pixelation=95.0)] * 50
    assert propose(good, [scores(pixelation=94.0), *good[:9]], PRESET, 0) == PRESET


def test_the_limit_catches_the_most_bad_images_it_can():
    """Of two signals to give a good image up for, the one that catches more bad images is taken."""
    good = [FINE] * 98 + [scores(blur=10.0), scores(noise=5.0)]
    bad = [scores(blur=20.0)] * 30 + [scores(noise=20.0)] * 10
    thresholds = propose(good, bad, PRESET, 1)
    assert [rejects(thresholds, one) for one in (bad[0], bad[-1])] == [True, False]


def test_leave_one_out_foretells_what_new_images_meet():
    """The expected rate is nearer to the rate on fresh images than the rate on the images at hand."""
    rng = random.Random(5)  # noqa: S311 - invented images

    def draw(count: int) -> list[tuple[float, ...]]:
        return [tuple(min(100.0, max(0.0, rng.gauss(threshold + 5, 12))) for threshold in PRESET) for _ in range(count)]

    at_hand = expected = fresh = 0.0
    for _ in range(20):
        good, new = draw(100), draw(500)
        thresholds = propose(good, [], PRESET, 2)
        rejected = sum(rejects(thresholds, one) for one in good)
        at_hand += rejected / 100
        expected += (rejected + decisive(good, thresholds, PRESET)) / 100
        fresh += sum(rejects(thresholds, one) for one in new) / 500
    assert at_hand < fresh
    assert abs(expected - fresh) < abs(at_hand - fresh) / 2


@pytest.mark.parametrize("limit", [0, 10])
def test_ten_thousand_images_take_seconds(limit):
    """The search is no slower than reading the files would be."""
    rng = random.Random(1)  # noqa: S311 - invented images
    good = [tuple(rng.uniform(20, 100) for _ in PRESET) for _ in range(10_000)]
    thresholds = propose(good, good[:2000], PRESET, limit)
    assert sum(rejects(thresholds, one) for one in good) <= limit
