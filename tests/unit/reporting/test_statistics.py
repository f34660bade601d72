"""The arithmetic behind findings, against numbers from textbooks and from counting everything out."""

import math
from itertools import combinations

import pytest

from imageguard_daemon.reporting.statistics import (
    chance_of_at_least,
    chance_of_difference,
    chance_with_scatter,
    holm_adjusted,
    incomplete_beta,
    student_tail,
    wilson_interval,
    with_doubt,
)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        # Newcombe (1998), Statistics in Medicine 17, table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_interval_agrees_with_the_literature(successes: int, trials: int, low: float, high: float) -> None:
    """The interval is the one published for these samples, to four digits."""
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=5e-5)


def test_nothing_seen_excludes_nothing() -> None:
    """Without images every rate is possible."""
    assert wilson_interval(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize("rate", [0.01, 0.2, 0.5, 0.93])
@pytest.mark.parametrize("trials", [1, 7, 40])
def test_binomial_tail_is_the_sum_of_its_terms(trials: int, rate: float) -> None:
    """The fast tail equals the plain sum, for every number of successes."""
    for successes in range(trials + 2):
        terms = (math.comb(trials, k) * rate**k * (1 - rate) ** (trials - k) for k in range(successes, trials + 1))
        assert chance_of_at_least(successes, trials, rate) == pytest.approx(math.fsum(terms), abs=1e-12)


def test_difference_is_the_share_of_all_ways_to_draw() -> None:
    """Fisher's test equals counting out every way the rejected images could fall."""
    images = [True] * 4 + [False] * 5
    draws = list(combinations(range(9), 5))
    for rejected in range(6):
        share = sum(sum(images[i] for i in draw) >= rejected for draw in draws) / len(draws)
        assert chance_of_difference((rejected, 5), (4 - rejected, 4)) == pytest.approx(share)


def test_a_difference_needs_two_sides() -> None:
    """Compared with nothing, nothing is higher."""
    assert chance_of_difference((36, 40), (0, 0)) == 1.0


def test_a_hundred_million_images_are_no_harder() -> None:
    """The tests stay exact and quick at the size the log grows to: one standard deviation gives 15.9 %."""
    trials = 100_000_000
    one_deviation = int(trials * 0.2 + math.sqrt(trials * 0.2 * 0.8))
    assert chance_of_at_least(one_deviation, trials, 0.2) == pytest.approx(0.1587, abs=1e-3)
    assert chance_of_difference((one_deviation, trials), (trials // 5, trials)) == pytest.approx(0.2398, abs=1e-3)


def test_holm_multiplies_step_by_step() -> None:
    """The smallest counts n times, the next n - 1 times, never less than the one before, and the order is kept."""
    assert holm_adjusted([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm_adjusted([0.9, 0.8]) == [1.0, 1.0]
    assert holm_adjusted([]) == []


@pytest.mark.parametrize("a", [0.5, 3, 40, 900])
@pytest.mark.parametrize("x", [1e-6, 0.02, 0.5, 0.97])
def test_the_incomplete_beta_function_is_that_of_scipy(a: float, x: float) -> None:
    """The continued fraction agrees to twelve digits."""
    special = pytest.importorskip("scipy.special", reason="scipy is not installed")
    for b in (0.5, 2, 70):
        assert incomplete_beta(a, b, x) == pytest.approx(float(special.betainc(a, b, x)), rel=1e-9, abs=1e-300)


@pytest.mark.parametrize("degrees", [1, 5, 59, 1_000])
def test_students_tail_and_what_scatter_makes_of_a_chance_are_those_of_scipy(degrees: float) -> None:
    """A probability is turned into a normal quantile, and that into Student's."""
    stats = pytest.importorskip("scipy.stats", reason="scipy is not installed")
    for t in (0.0, 0.7, 4.0, 12.0):
        assert student_tail(t, degrees) == pytest.approx(float(stats.t.sf(t, degrees)), rel=1e-9)
    for chance in (0.2, 1e-5, 1e-30):
        expected = float(stats.t.sf(stats.norm.isf(chance), degrees))
        assert with_doubt(chance, degrees) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("ours", [(3, 40), (30, 100), (0, 10), (200, 900)])
def test_fishers_test_is_that_of_scipy(ours: tuple[int, int]) -> None:
    """One-sided, in tables small and large."""
    stats = pytest.importorskip("scipy.stats", reason="scipy is not installed")
    (bad, total), others = ours, (25, 500)
    table = [[bad, total - bad], [others[0], others[1] - others[0]]]
    expected = stats.fisher_exact(table, alternative="greater").pvalue
    assert chance_of_difference(ours, others) == pytest.approx(float(expected), rel=1e-7)
    assert chance_with_scatter((bad * 4, total * 4), (100, 2_000), 4.0) == pytest.approx(float(expected), rel=1e-7)
