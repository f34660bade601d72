"""Sources that stop, and sources that deliver far more than they did."""

import numpy as np
import pytest

from imageguard_daemon.config import Reporting
from imageguard_daemon.reporting.finding import Finding
from imageguard_daemon.reporting.panel import Patterns
from imageguard_daemon.reporting.questions.silence import volumes
from tests.helpers.panels import FIRST_DAY, panel_in_time, series

RNG = np.random.default_rng(1)


def found(streams: dict[str, list[int]], end_day: int | None = None) -> list[Finding]:
    """Give what is told of sources with so many images a day, in a report that ends with a day."""
    panel = panel_in_time({("cat", name, ""): [(number, 0) for number in days] for name, days in streams.items()})
    end = None if end_day is None else (FIRST_DAY + end_day) * 86_400.0
    return volumes(Patterns(panel, end_second=end), Reporting())


def test_a_source_that_stopped_is_told_with_what_is_missing() -> None:
    """Sixty days of fifty images, then four of none: since when, how many, and where to look."""
    [finding] = found({"web": [50] * 60 + [0] * 4, "gate": [20] * 64})
    assert (finding.kind, finding.subject) == ("source_stopped", "web")
    assert "nothing since Fri 2025-05-02, after images on 60 of 60 days" in finding.sentence
    assert finding.evidence["missing"] == pytest.approx(200)
    assert finding.command == "imageguard-daemon report ROOT --source web --until 2025-05-02T00:00 --by day"


@pytest.mark.parametrize(
    "days",
    [
        [50] * 60 + [0],
        [50, 50, 50, 50, 50, 0, 0] * 8 + [50] * 5 + [0, 0],
        [50, 0, 0, 0, 0, 0, 0] * 9 + [0] * 7,
        [50, 50] + [0] * 62,
    ],
    ids=["a day", "a weekend", "a week where one is usual", "hardly began"],
)
def test_a_usual_pause_is_none(days: list[int]) -> None:
    """A pause as there were before, or one day, is no news."""
    assert found({"web": days, "gate": [20] * len(days)}) == []


def test_a_log_in_which_everything_stopped_is_one_finding() -> None:
    """The daemon's own silence is told once, when the report ends later than its images."""
    [finding] = found({"web": [50] * 60, "gate": [20] * 60}, end_day=64)
    assert finding.subject == "all sources"
    assert found({"web": [50] * 60, "gate": [20] * 60}, end_day=60) == []
    assert found({"web": [50] * 60, "gate": [20] * 60}, end_day=900) == []


def test_ten_times_as_much_is_told() -> None:
    """Three days of ten times the usual are; one big delivery, and a steady growth, are not."""
    usual = RNG.poisson(50, 60).tolist()
    [finding] = found({"web": [*usual, 500, 510, 490], "gate": [20] * 63})
    assert (finding.kind, finding.subject) == ("source_delivers_more", "web")
    assert found({"web": [*usual, 500]}) == []
    assert found({"web": [10 + day * 4 for day in range(60)]}) == []


def test_a_report_without_times_says_nothing_of_them() -> None:
    """A folder judged in place has one slot."""
    assert volumes(Patterns(panel_in_time({("cat", "web", ""): series((1, 0.0))})), Reporting()) == []
