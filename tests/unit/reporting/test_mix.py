"""When other reasons reject than before, and what is said of the rate then."""

from collections.abc import Mapping

import pytest

from imageguard_daemon.config import Reporting
from imageguard_daemon.reporting.finding import Finding
from imageguard_daemon.reporting.panel import Patterns
from imageguard_daemon.reporting.questions.mix import reasons_changed
from tests.helpers.panels import panel_in_time

SETTINGS = Reporting()


def told(before: Mapping[str, int], after: Mapping[str, int]) -> list[Finding]:
    """Give the findings on one stream: twenty days of 200 images with these rejections, then ten with those."""
    days = [(200, before)] * 20 + [(200, after)] * 10
    return reasons_changed(Patterns(panel_in_time({("cat", "gate", ""): days})), SETTINGS, [])


def test_reasons_that_change_at_the_same_rate_are_told_with_both_shares() -> None:
    """Blurry ones became noisy ones: the rate hides it, the finding does not."""
    [finding] = told({"blurry": 16, "noisy": 4}, {"blurry": 4, "noisy": 16})
    assert (finding.kind, finding.where) == ("reasons_changed", {"reason": "noisy"})
    assert finding.sentence == (
        "All images: since Sun 2025-03-23, 80.0 % of 200 rejections are for noisy; before, 20.0 % of 400. The rate "
        "itself hardly changed (10.0 %, before 10.0 %)."
    )


@pytest.mark.parametrize(
    ("after", "words"),
    [
        ({"blurry": 2, "noisy": 10}, "The rate itself fell (6.0 %, before 10.0 %)."),
        ({"blurry": 4, "noisy": 28}, "The rate itself rose, too (16.0 %, before 10.0 %)."),
        ({"blurry": 4, "noisy": 18}, "The rate itself hardly changed (11.0 %, before 10.0 %)."),
    ],
)
def test_what_is_said_of_the_rate_is_so(after: Mapping[str, int], words: str) -> None:
    """It fell, it rose, or it hardly changed: whichever the numbers say."""
    [finding] = told({"blurry": 16, "noisy": 4}, after)
    assert finding.sentence.endswith(words)


def test_a_reason_that_only_lost_its_company_is_no_finding() -> None:
    """When the blurry ones are gone, all that is left is noisy: nothing there got worse."""
    assert told({"blurry": 20, "noisy": 4}, {"blurry": 0, "noisy": 4}) == []
