"""Rates that rose in the last hours: told soon, rarely by mistake, and over when they are."""

import numpy as np
import pytest

from imageguard_daemon.config import Reporting
from imageguard_daemon.reporting.finding import Finding
from imageguard_daemon.reporting.panel import Patterns
from imageguard_daemon.reporting.questions.now import (
    alarms,
    by_day,
    hourly_panel,
    limit_for,
    risen_now,
    spread_of,
)
from imageguard_daemon.reporting.scatter import scatter_of
from tests.helpers.panels import HOUR_MS, Series, cells_in_time

WEEKS = 28 * 24
Counts = np.ndarray


def hours(seed: int, rates: Counts, a_day: float, burst: int = 1, rows: int = 1) -> tuple[Counts, Counts]:
    """Give images and rejections of every hour, in bursts that share a verdict."""
    rng = np.random.default_rng(seed)
    number = rng.poisson(a_day / 24 / burst, (rows, len(rates)))
    return number * float(burst), rng.binomial(number, rates) * float(burst)


def stepped(before: float, after: float, after_hours: int) -> Counts:
    """Give four weeks at one rate and so many hours at another."""
    return np.concatenate((np.full(WEEKS, before), np.full(after_hours, after)))


def delay(seed: int, before: float, after: float, a_day: float) -> int:
    """Give the hours from a step to the alarm."""
    images, rejected = hours(seed, stepped(before, after, 14 * 24), a_day)
    spread = spread_of(images, rejected, scatter_of(by_day(images[:, :WEEKS]), by_day(rejected[:, :WEEKS])))
    [found] = alarms(images, rejected, spread, limit_for(20))
    return next((one.raised - WEEKS for one in found if one.raised >= WEEKS), 10_000)


@pytest.mark.parametrize(
    ("before", "after", "a_day", "most"), [(0.05, 0.1, 500, 60), (0.05, 0.15, 250, 36), (0.01, 0.05, 2_000, 24)]
)
def test_a_step_is_told_within_days(before: float, after: float, a_day: float, most: int) -> None:
    """From 5 to 10 % at 500 a day in two days or so; in the median of nine streams."""
    assert sorted(delay(seed, before, after, a_day) for seed in range(9))[4] <= most


@pytest.mark.parametrize(
    ("rate", "burst", "day"), [(0.02, 1, 0), (0.05, 3, 0), (0.18, 1, 0), (0.35, 10, 0), (0.18, 1, 0.3), (0.05, 3, 0.5)]
)
def test_a_quarter_without_a_change_has_no_alarm(rate: float, burst: int, day: float) -> None:
    """Twenty groups looked at in each of 2,500 hours, also where days are good or bad for all of them."""
    days = np.exp(np.random.default_rng(6).normal(0, day, 105))
    images, rejected = hours(7, np.repeat(np.minimum(rate * days, 0.9), 24), 800, burst, rows=20)
    spread = spread_of(images, rejected, scatter_of(by_day(images), by_day(rejected)))
    assert sum(map(len, alarms(images, rejected, spread, limit_for(20)))) == 0


def found(rates: Counts, others: dict[tuple[str, str, str], Series] | None = None) -> list[Finding]:
    """Give what is told of one source with these rates beside a quiet one, and others."""
    images, rejected = hours(3, rates, 600)
    quiet_images, quiet = hours(4, np.full(len(rates), 0.05), 600)
    counts = {
        ("cat", name, ""): list(zip(n[0].astype(int).tolist(), y[0].astype(int).tolist(), strict=True))
        for name, n, y in (("web", images, rejected), ("gate", quiet_images, quiet))
    }
    cells = cells_in_time(counts | (others or {}), slot_ms=HOUR_MS)
    return risen_now(Patterns(hourly_panel(cells)), Reporting())


def test_an_alarm_names_the_source_the_hour_and_both_rates() -> None:
    """A person knows where and when to look."""
    [finding] = found(stepped(0.05, 0.4, 12))
    assert (finding.kind, finding.subject) == ("source_got_worse", "web")
    assert abs(finding.evidence["since"] - 1_743_379_200) <= 3 * 3_600  # Monday, 31 March 2025, 0:00
    assert "in the four weeks before, 4.9 %" in finding.sentence
    assert finding.evidence["false_alarms_a_year"] == 1


def test_a_young_log_is_not_said_to_be_four_weeks_old() -> None:
    """With six days behind it the finding says six days."""
    [finding] = found(np.concatenate((np.full(6 * 24, 0.05), np.full(12, 0.5))))
    assert "; in the 6 days before, 4." in finding.sentence


def test_a_source_among_thousands_of_classes_is_told() -> None:
    """More streams than fit into memory by the hour leave classes out, not the question."""
    classes = {(f"class{number}", "shop", ""): [(0, 0)] * (number % WEEKS) + [(1, 0)] for number in range(3_000)}
    assert [one.subject for one in found(stepped(0.05, 0.4, 12), classes)] == ["web"]


def test_what_begins_while_all_are_worse_is_told_beside_it() -> None:
    """An old alarm of all images hides no new one of a source; what is only a part of it is not told again."""
    hours_after, small = 4 * 24, dict[tuple[str, str, str], Series]()
    for number in range(60):
        every = [20] * WEEKS + [6] * hours_after
        small["cat", f"small{number}", ""] = [(1, int((at + number) % one == 0)) for at, one in enumerate(every)]
    assert [one.subject for one in found(stepped(0.05, 0.05, hours_after), small)] == ["all images"]
    worse = np.concatenate((np.full(len(every) - 12, 0.05), np.full(12, 0.6)))
    assert [one.subject for one in found(worse, small)] == ["all images", "web"]


def test_a_day_begins_at_midnight_whenever_the_counts_do() -> None:
    """Hours of two days must not be one: what days have of their own would seem half as much."""
    days = np.add.reduceat(np.arange(60.0), [0, 7, 31, 55])
    assert by_day(np.arange(60.0)[None], 17)[0].tolist() == days.tolist()


def test_a_long_period_is_looked_at_by_its_last_hours() -> None:
    """Where alerts look at a hundred days, what rose in the last hours is told all the same."""
    [finding] = found(np.concatenate((np.full(72 * 24, 0.05), stepped(0.05, 0.4, 12))))
    assert "in the four weeks before" in finding.sentence


def test_an_alarm_ends_when_the_rate_is_as_before() -> None:
    """A bad day that ended days ago is no alarm now."""
    assert found(np.concatenate((stepped(0.05, 0.4, 24), np.full(72, 0.05)))) == []


def test_a_young_log_has_no_alarms() -> None:
    """Three days are no baseline."""
    assert found(np.concatenate((np.full(48, 0.05), np.full(24, 0.5)))) == []
