"""Counts become a report: totals, groups and their order."""

from datetime import UTC, datetime, timedelta

import pytest

from imageguard_daemon.audit.counts import Count, Dimension, Scope
from imageguard_daemon.reporting.report import EVERYTHING, Report, groupings_for, period_before
from imageguard_daemon.reporting.tallies import Tally
from tests.helpers.reports import report_of

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
    return report_of(COUNTS, by, days=DAYS)


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
    assert list(reported(Dimension.class_).groups) == [("lynx",), ("dog",), ("cat",)]


def test_groups_by_source_fold_their_classes() -> None:
    """A source has the images of all its classes."""
    assert reported(Dimension.source).groups["scraper",] == Tally(41, {"low_resolution": 30, "blurry": 1})


def test_days_go_by_in_order() -> None:
    """A report by day reads like a calendar."""
    assert list(reported(Dimension.day).groups) == [("2025-03-01",), ("2025-03-02",), ("2025-03-03",)]


def test_reasons_are_shares_of_all_images() -> None:
    """By reason, a rate is what this reason cost of everything that came in."""
    groups = reported(Dimension.reason).groups
    assert list(groups) == [("low_resolution",), ("blurry",)]
    assert groups["blurry",].rate == pytest.approx(11 / 141)
    assert sum(group.rejected for group in groups.values()) == 41


@pytest.mark.parametrize("by", Dimension)
def test_every_dimension_is_counted_once(by: Dimension) -> None:
    """A report counts what findings need and what it is grouped by, nothing twice; reasons always come along."""
    groupings = groupings_for((by,), timedelta(days=30))
    assert groupings[0] == EVERYTHING
    assert len(set(groupings)) == len(groupings)
    assert by is Dimension.reason or by in EVERYTHING or (by,) in groupings


def test_a_cross_with_reasons_has_the_total_of_its_group() -> None:
    """Class by reason: of the 100 cats 10 were blurry."""
    groups = report_of(COUNTS, Dimension.class_, Dimension.reason).groups
    assert groups["cat", "blurry"] == Tally(100, {"blurry": 10})
    assert sum(group.rejected for group in groups.values()) == 41


def test_a_cross_of_classes_and_sources_loses_nothing() -> None:
    """Every combination that has images is a group."""
    groups = report_of(COUNTS, Dimension.source, Dimension.class_).groups
    assert {keys: group.total for keys, group in groups.items()} == {
        ("studio", "cat"): 100,
        ("scraper", "dog"): 1,
        ("scraper", "lynx"): 40,
    }


def test_periods_come_in_order_also_when_crossed() -> None:
    """Time goes first, whatever place it was given."""
    groups = report_of(COUNTS, Dimension.class_, Dimension.day).groups
    assert [keys[1] for keys in groups] == sorted(keys[1] for keys in groups)


def test_the_period_before_is_as_long_and_ends_where_this_one_begins() -> None:
    """A week is compared with the week before; a report without a beginning with nothing."""
    scope = Scope(since=datetime(2025, 3, 8, tzinfo=UTC), source="studio")
    before = period_before(scope, datetime(2025, 3, 15, tzinfo=UTC))
    assert before == Scope(datetime(2025, 3, 1, tzinfo=UTC), scope.since, "studio")
    assert period_before(Scope(), datetime(2025, 3, 15, tzinfo=UTC)) is None


def test_the_most_frequent_reason_leads_and_ties_are_settled() -> None:
    """Equal counts are ordered by name, so that two reports on one log are equal."""
    assert Tally(9, {"noisy": 3, "blurry": 3, "corrupt": 1}).top_reason == "blurry"
    assert Tally(9, {}).top_reason == ""
