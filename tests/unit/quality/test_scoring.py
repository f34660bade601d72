"""The map from measures to scores."""

import math
from itertools import pairwise

import pytest

from imageguard_daemon.core.model import SIGNALS
from imageguard_daemon.quality.scoring import SCALES, Scale, rounded, signal_scores


@pytest.mark.parametrize("scale", SCALES, ids=lambda scale: scale.measure)
def test_anchors_are_hit_exactly(scale: Scale):
    """Every measure in the table has exactly the score in the table."""
    for score, measure in scale.anchors:
        assert scale.score(measure) == score


@pytest.mark.parametrize("scale", SCALES, ids=lambda scale: scale.measure)
def test_anchors_go_from_best_to_worst(scale: Scale):
    """The table is strictly monotone, so that every score has one limit."""
    assert all(better > worse for (better, _), (worse, _) in pairwise(scale.anchors))
    directions = {math.copysign(1, worse - better) for (_, better), (_, worse) in pairwise(scale.anchors)}
    assert len(directions) == 1


@pytest.mark.parametrize("scale", SCALES, ids=lambda scale: scale.measure)
def test_scores_end_where_the_table_ends(scale: Scale):
    """Measures beyond the table score 0 or 100 and nothing else."""
    assert {scale.score(-math.inf), scale.score(math.inf)} == {0.0, 100.0}
    assert scale.score(math.nan) == 0.0


def test_every_signal_has_a_scale():
    """No signal is without a measure, and exposure has one for each end."""
    assert {scale.signal for scale in SCALES} == set(SIGNALS)
    assert [scale.issue for scale in SCALES if scale.signal == "exposure"] == ["overexposed", "underexposed"]


def test_the_worse_end_of_exposure_counts():
    """One end of the tonal range that is fine does not make up for the other."""
    by_measure = dict.fromkeys((scale.measure for scale in SCALES), 90.0) | {"underexposure": 20.0}
    assert signal_scores(by_measure)["exposure_score"] == 20.0


def test_phrases_have_units():
    """A person reads quantities, not bare numbers."""
    phrases = {scale.measure: scale.phrase(scale.limit(40)) for scale in SCALES}
    assert phrases["blur_sigma_px"] == "2.0 px"
    assert phrases["effective_pixels"] == "25 kilopixels"


@pytest.mark.parametrize("digits", [0, 1, 2])
@pytest.mark.parametrize("limit", [0.5, 40.0, 59.95, 60.0, 99.9481])
@pytest.mark.parametrize("distance", [-30.0, -0.4, -0.004, -1e-9, 0.0, 1e-9, 0.004, 0.04, 0.4])
def test_a_rounded_score_never_contradicts_the_verdict(limit: float, distance: float, digits: int) -> None:
    """59.7 is not told as the 60 that were needed, whatever the number of digits."""
    score = limit + distance
    told = rounded(score, limit, digits)
    assert (told < limit) == (score < limit)
    assert abs(told - score) <= 10.0**-digits
    assert told == round(told, digits)
