"""Counts become a report: totals, groups and their order."""

import pytest

from imageguard_daemon.audit.counts import Count, Dimension, Scope
from imageguard_daemon.config import Reporting
from imageguard_daemon.reporting.report import FINDINGS_GROUPING, Report, groupings_for, make_report
from imageguard_daemon.reporting.tallies import Tally

COUNTS = [
    Count(("cat", "studio"), "accepted", "", 90),
    Count(("cat", "studio"), "quarantined", "blurry", 10),
    Count(("dog", "scraper"), "quarantined", "low_resolution", 1),
    Count(("lynx", "scraper"), "accepted", "", 10),
    Count(("lynx", "scraper"), "quarantined", "low_resolution", 29),
    Count(("lynx", "scraper"), "quarantined", "blurry", 1),
]
DAYS = [Count((f"2025-03-{day:02}",), "accepted", "", day) for day in (3, 1, 2)]


def reported(by: Dimension) -> Report:
    """Give the report on the counts above."""
    return make_report(by, Scope(), (COUNTS, DAYS)[: len(groupings_for(by))], Reporting())


def test_totals_are_those_of_all_groups() -> None:
    """Accepted and rejected images add up to all of them, whatever the grouping."""
    for by in Dimension:
        overall = reported(by).overall
        assert (overall.total, overall.rejected) == (141, 41)
        assert overall.ranked_reasons() == {"low_resolution": 30, "blurry": 11}


def test_findings_do_not_depend_on_the_grouping() -> None:
    """Grouping by day still tells which class is always rejected."""
    findings = reported(Dimension.class_).findings
    assert all(reported(by).findings == findings for by in Dimension)
    assert any(finding.subject == "lynx" for finding in reported(Dimension.day).findings)


def test_the_worst_group_that_is_sure_comes_first() -> None:
    """One rejected of one ranks below thirty of forty."""
    assert list(reported(Dimension.class_).groups) == ["lynx", "dog", "cat"]


def test_groups_by_source_fold_their_classes() -> None:
    """A source has the images of all its classes."""
    assert reported(Dimension.source).groups["scraper"] == Tally(41, {"low_resolution": 30, "blurry": 1})


def test_days_go_by_in_order() -> None:
    """A report by day reads like a calendar."""
    assert list(reported(Dimension.day).groups) == ["2025-03-01", "2025-03-02", "2025-03-03"]


def test_reasons_are_shares_of_all_images() -> None:
    """By reason, a rate is what this reason cost of everything that came in."""
    groups = reported(Dimension.reason).groups
    assert list(groups) == ["low_resolution", "blurry"]
    assert groups["blurry"].rate == pytest.approx(11 / 141)
    assert sum(group.rejected for group in groups.values()) == 41


@pytest.mark.parametrize("by", Dimension)
def test_the_log_is_asked_no_more_than_needed(by: Dimension) -> None:
    """What findings need already answers most groupings; no grouping needs more than two questions."""
    covered = by in {*FINDINGS_GROUPING, Dimension.reason}
    assert groupings_for(by) == ((FINDINGS_GROUPING,) if covered else (FINDINGS_GROUPING, (by,)))


def test_the_most_frequent_reason_leads_and_ties_are_settled() -> None:
    """Equal counts are ordered by name, so that two reports on one log are equal."""
    assert Tally(9, {"noisy": 3, "blurry": 3, "corrupt": 1}).top_reason == "blurry"
    assert Tally(9, {}).top_reason == ""
