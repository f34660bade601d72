"""Thresholds that many images miss by little."""

import pytest

from imageguard_daemon.config import Reporting
from imageguard_daemon.reporting.questions.boundary import just_below
from imageguard_daemon.reporting.survey import Borderline


def test_a_threshold_that_many_miss_by_little_is_told() -> None:
    """The finding names the threshold and the command that tries a lower one."""
    [finding] = just_below({"blur_score": Borderline(200, 150, 40.0)}, Reporting())
    assert "150 of 200 images rejected for blur alone (75.0 %) lie within 5 points of its threshold, 40." in (
        finding.sentence
    )
    assert "`simulate --set blur_score=35`" in finding.look_at
    assert finding.evidence["threshold"] == 40.0


@pytest.mark.parametrize("borderline", [Borderline(200, 104, 40.0), Borderline(9, 9, 40.0), Borderline(200, 0, 40.0)])
def test_a_threshold_with_images_all_below_it_is_not_told(borderline: Borderline) -> None:
    """About half is no pattern, and nine images are none."""
    assert just_below({"blur_score": borderline}, Reporting()) == []
