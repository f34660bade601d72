"""Limits are held against as many images as there are bursts, not as there are files."""

import numpy as np
import pytest

from imageguard_daemon.config import Reporting
from imageguard_daemon.reporting.panel import Patterns
from imageguard_daemon.reporting.questions.boundary import missed_by_little
from imageguard_daemon.reporting.questions.level import arriving_again, lone_classes, mostly_rejected_sources
from imageguard_daemon.reporting.score_stats import Boundary
from tests.helpers.panels import Series, panel_in_time

SETTINGS = Reporting()
SIZE = 10


def bursts(seed: int, days: int, a_day: int, rate: float) -> Series:
    """Give days of images that come in bursts which share a verdict."""
    rng = np.random.default_rng(seed)
    number = rng.poisson(a_day, days)
    return [(int(n) * SIZE, int(bad) * SIZE) for n, bad in zip(number, rng.binomial(number, rate), strict=True)]


def site(new: Series) -> Patterns:
    """Give a site of eighteen cameras with bursts, and a new source."""
    cameras = {("", "gate", f"camera{n}"): bursts(n, 40, 1, 0.1) for n in range(18)}
    return Patterns(panel_in_time({**cameras, ("", "new", ""): new}))


def test_three_bad_bursts_of_four_are_no_source_that_is_mostly_rejected() -> None:
    """Thirty of forty images would prove it, were they independent; thirty bad bursts of forty do."""
    assert mostly_rejected_sources(site([(SIZE, SIZE), (SIZE, 0), (SIZE, SIZE), (SIZE, SIZE)]), SETTINGS) == []
    [finding] = mostly_rejected_sources(site(bursts(5, 40, 2, 0.85)), SETTINGS)
    assert finding.subject == "new"


def test_two_bursts_that_came_again_are_not_above_the_limit_beyond_chance() -> None:
    """Twenty of 80 images, in two bursts of eight, are nothing; twenty of eighty such bursts are."""
    seen = site([(SIZE, 0)] * 8)
    again = seen.panel.duplicates
    source = np.array([stream[1] == "new" for stream in seen.panel.streams])
    again[source] = 20
    assert arriving_again(seen, SETTINGS) == []
    seen = site([(SIZE, 0)] * 80)
    seen.panel.duplicates[np.array([stream[1] == "new" for stream in seen.panel.streams])] = 200
    assert [one.subject for one in arriving_again(seen, SETTINGS)] == ["new"]


def test_three_bursts_of_four_just_below_a_threshold_are_no_pattern() -> None:
    """Thirty of forty images that lack little would be one, were they independent."""
    boundary = Boundary("default", "blur_score", 40, 30, 40.0)
    assert missed_by_little([boundary], SETTINGS, SIZE) == ()
    assert len(missed_by_little([boundary], SETTINGS)) == 1


@pytest.mark.parametrize("rate", [0.75])
def test_a_class_without_others_has_the_probability_that_it_was_held_against(rate: float) -> None:
    """What is told of a lone class counts its bursts: 600 images are no six hundred tries."""
    seen = Patterns(panel_in_time({("cat", "web", ""): bursts(3, 60, 1, rate)}))
    [finding] = lone_classes(seen, SETTINGS)
    assert 1e-12 < finding.evidence["p_value"] < 0.002
