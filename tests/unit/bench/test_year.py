"""The invented year is believable, its patterns are found, and chance is not."""

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from bench.big_log import database_in, fill, index, upgrade
from bench.patterns import false_findings, findings_in, is_found, recall
from bench.year import Keyed, Year, patterns_of_a_bad_year
from imageguard_daemon.audit.counts import Dimension, Scope
from imageguard_daemon.audit.opening import open_log
from imageguard_daemon.config import Reporting
from imageguard_daemon.reporting.query import report_on
from imageguard_daemon.reporting.simulation import Rules, simulate

YEAR = Year(100_000, seed=3, planted=patterns_of_a_bad_year())


def test_planted_patterns_are_found() -> None:
    """At least 90 of 100 patterns in a season of twenty thousand images are told by the finding that names them."""
    results = recall(trials=20, images=20_000)
    found, tried = (sum(numbers) for numbers in zip(*results.values(), strict=True))
    assert found >= 0.9 * tried, results


def test_chance_is_not_told_as_a_pattern() -> None:
    """Of reports on shuffled verdicts, none or nearly none has a finding (`bench.patterns` counts thousands)."""
    kinds = false_findings(30, 5_000, shuffled=True)
    assert 30 - kinds.pop("", 0) <= 1, kinds


def test_a_bad_year_tells_all_of_its_patterns() -> None:
    """Seven patterns at once do not hide one another."""
    findings = findings_in(YEAR)
    assert [each for each in patterns_of_a_bad_year() if not is_found(each, findings)] == []


def test_invented_decisions_are_those_of_the_daemon() -> None:
    """Judged again by the thresholds they were judged by, no verdict and no reason changes."""
    keyed = Keyed()
    batches = [keyed.batch(day) for day in Year(5_000, days=20, seed=5, planted=patterns_of_a_bad_year(20)).batches()]
    made = simulate(keyed.keys, batches, Rules({}), lambda _: {})
    assert made.overall.total == 5_000
    assert made.overall.newly_accepted == made.overall.newly_rejected == made.unreadable == 0
    assert made.reasons_before == made.reasons_after


def test_the_log_of_a_year_says_what_the_year_says(tmp_path: Path) -> None:
    """Through the database, the migration and the roll-ups a report finds what it finds without them."""
    year = Year(6_000, days=60, seed=4, planted=patterns_of_a_bad_year(60))
    fill(tmp_path, year)
    index(tmp_path)
    upgrade(tmp_path)
    with open_log(database_in(tmp_path)) as log:
        through_the_log = report_on(log, (Dimension.class_,), Scope(), Reporting()).findings
    again = Year(6_000, days=60, seed=4, planted=patterns_of_a_bad_year(60))
    assert tuple(replace(one, example=None) for one in through_the_log) == findings_in(again)
    assert [one.example.relative_path for one in through_the_log if one.example]
    with sqlite3.connect(database_in(tmp_path)) as connection:
        assert connection.execute("SELECT count(*) FROM decisions").fetchone() == (6_000,)


@pytest.mark.parametrize("shuffled", [True, False])
def test_the_same_seed_is_the_same_year(shuffled: bool) -> None:
    """Whoever repeats a measurement gets its numbers."""
    first, second = ([day.scores.sum() for day in Year(900, 30, 8, shuffled=shuffled).batches()] for _ in range(2))
    assert str(first) == str(second)
