"""What must hold for every sample, not only for those in a table."""

import math

from hypothesis import given
from hypothesis import strategies as st

from imageguard_daemon.reporting.statistics import (
    chance_of_at_least,
    chance_of_difference,
    holm_adjusted,
    wilson_interval,
)

SAMPLES = st.integers(1, 10_000_000).flatmap(lambda trials: st.tuples(st.integers(0, trials), st.just(trials)))
SMALL_SAMPLES = st.integers(0, 60).flatmap(lambda trials: st.tuples(st.integers(0, trials), st.just(trials)))
RATES = st.floats(0.001, 0.999)
PROBABILITIES = st.floats(0, 1)


@given(SAMPLES)
def test_the_interval_holds_the_observed_rate_and_stays_within_0_and_1(sample: tuple[int, int]) -> None:
    """Low, rate and high come in this order, between 0 and 1."""
    successes, trials = sample
    low, high = wilson_interval(successes, trials)
    assert 0 <= low <= successes / trials <= high <= 1


@given(SAMPLES)
def test_rejected_and_accepted_mirror_each_other(sample: tuple[int, int]) -> None:
    """The interval of the accepted share is that of the rejected share, turned round."""
    successes, trials = sample
    low, high = wilson_interval(successes, trials)
    other_low, other_high = wilson_interval(trials - successes, trials)
    assert math.isclose(low, 1 - other_high, abs_tol=1e-12)
    assert math.isclose(high, 1 - other_low, abs_tol=1e-12)


@given(SAMPLES, st.integers(2, 100))
def test_more_images_at_the_same_rate_say_more(sample: tuple[int, int], factor: int) -> None:
    """The interval of a larger sample lies within that of a smaller one."""
    successes, trials = sample
    low, high = wilson_interval(successes, trials)
    closer_low, closer_high = wilson_interval(successes * factor, trials * factor)
    assert low <= closer_low + 1e-12
    assert closer_high <= high + 1e-12


@given(SAMPLES, RATES)
def test_the_tail_is_a_probability_that_falls_with_every_success(sample: tuple[int, int], rate: float) -> None:
    """One more rejected image never makes chance a better explanation."""
    successes, trials = sample
    here, next_one = (chance_of_at_least(count, trials, rate) for count in (successes, successes + 1))
    # lgamma of ten million carries an error of about 1e-8 into the sum.
    assert 0 <= next_one <= here + 1e-6 <= 1 + 1e-6


@given(SMALL_SAMPLES, RATES)
def test_the_tail_is_the_sum_of_its_terms(sample: tuple[int, int], rate: float) -> None:
    """The fast tail is the binomial distribution, for every small sample and rate."""
    successes, trials = sample
    terms = (math.comb(trials, k) * rate**k * (1 - rate) ** (trials - k) for k in range(successes, trials + 1))
    assert math.isclose(chance_of_at_least(successes, trials, rate), math.fsum(terms), rel_tol=1e-6, abs_tol=1e-12)


@given(SMALL_SAMPLES, SMALL_SAMPLES)
def test_the_difference_is_the_sum_of_its_terms(ours: tuple[int, int], others: tuple[int, int]) -> None:
    """Fisher's test equals the hypergeometric distribution added up, for every small pair of samples."""
    marked, population = ours[0] + others[0], ours[1] + others[1]
    ways = sum(
        math.comb(marked, k) * math.comb(population - marked, ours[1] - k)
        for k in range(ours[0], min(marked, ours[1]) + 1)
    )
    expected = ways / math.comb(population, ours[1])
    assert math.isclose(chance_of_difference(ours, others), expected, rel_tol=1e-6, abs_tol=1e-12)


@given(st.lists(PROBABILITIES, max_size=30))
def test_holm_never_helps_and_never_reorders(p_values: list[float]) -> None:
    """A corrected p-value is at least the raw one, at most 1, and what was more certain stays so."""
    adjusted = holm_adjusted(p_values)
    assert all(raw <= corrected <= 1 for raw, corrected in zip(p_values, adjusted, strict=True))
    ranked = [corrected for _, corrected in sorted(zip(p_values, adjusted, strict=True))]
    assert ranked == sorted(ranked)
