"""What a rate says and what it does not: intervals and exact one-sided tests, all in pure arithmetic."""

import itertools
import math
import operator
from collections.abc import Iterator, Sequence
from statistics import NormalDist

Z_95 = 1.959963984540054
"""The normal quantile of a two-sided 95 % interval."""


def wilson_interval(successes: float, trials: float, z: float = Z_95) -> tuple[float, float]:
    """Give the range of true rates that fits `successes` of `trials`.

    The score interval of Wilson (1927), DOI 10.1080/01621459.1927.10502953: the rates p for which
    |successes/trials - p| <= z * sqrt(p (1 - p) / trials). It lies in [0, 1], contains the observed rate and
    stays honest for small samples and for rates near 0 and 1. Without trials it is (0, 1): everything fits.
    """
    if not trials:
        return 0.0, 1.0
    rate = successes / trials
    weight = z * z / trials
    centre = (rate + weight / 2) / (1 + weight)
    spread = math.sqrt(rate * (1 - rate) * weight + weight * weight / 4)
    margin = spread / (1 + weight)
    # At the ends the formula gives exactly 0 and 1; rounding must not.
    low = 0.0 if successes == 0 else max(0.0, min(rate, centre - margin))
    high = 1.0 if successes == trials else min(1.0, max(rate, centre + margin))
    return low, high


def chance_of_at_least(successes: int, trials: int, rate: float) -> float:
    """Give the probability of so many successes or more if the true rate is `rate`, strictly between 0 and 1.

    The upper tail of the binomial distribution: the p-value of the exact one-sided test that the true rate is
    above `rate`. Takes on the order of sqrt(trials) steps.
    """
    if successes <= 0:
        return 1.0
    if successes > trials:
        return 0.0
    if successes <= trials * rate:  # the other tail is the short one
        return 1.0 - chance_of_at_least(trials - successes + 1, trials, 1 - rate)
    # In logarithms: of many trials, powers and binomials are beyond what a float can be.
    log_first = _log_choose(trials, successes)
    log_first += successes * math.log(rate) + (trials - successes) * math.log1p(-rate)
    odds = rate / (1 - rate)
    ratios = ((trials - k) / (k + 1) * odds for k in range(successes, trials))
    return _falling_sum(math.exp(min(log_first, 0.0)), ratios)


def chance_of_difference(ours: tuple[int, int], others: tuple[int, int]) -> float:
    """Give the probability that chance alone sets our rate so far or farther above the others'.

    Both are (successes, trials). Fisher's exact test, one-sided: the upper tail of the hypergeometric
    distribution given all successes and trials. Without trials on either side nothing can differ: 1.
    """
    (successes, trials), (other_successes, other_trials) = ours, others
    marked = successes + other_successes
    population = trials + other_trials
    return _hypergeometric_tail(successes, trials, marked, population)


def chance_with_scatter(ours: tuple[float, float], others: tuple[float, float], effect: float) -> float:
    """Give `chance_of_difference` where so many images count as one (the design effect, at least 1).

    Rao and Scott's first-order correction, DOI 10.1214/aos/1176346391, applied to counts rather than to the statistic,
    so that few bursts are judged as few. Parts of a success count for nothing.
    """
    (successes, trials), (other_successes, other_trials) = ours, others
    few = round(trials / effect)
    many = round(other_trials / effect)
    ours_in_bursts = min(math.floor(successes / effect + 1e-9), few)
    others_in_bursts = min(math.ceil(other_successes / effect), many)
    return chance_of_difference((ours_in_bursts, few), (others_in_bursts, many))


def chance_above(successes: float, trials: float, rate: float, effect: float = 1.0) -> float:
    """Give `chance_of_at_least` where so many images count as one."""
    few = round(trials / effect)
    return chance_of_at_least(min(math.floor(successes / effect + 1e-9), few), few, rate)


def student_tail(t: float, degrees: float) -> float:
    """Give the probability that a value of Student's distribution is `t` or more, for t of 0 or more."""
    return 0.5 * incomplete_beta(degrees / 2, 0.5, degrees / (degrees + t * t))


def with_doubt(chance: float, degrees: float) -> float:
    """Give the probability where the scatter behind it is known from so many pairs alone: Student's for the normal."""
    if chance <= 0 or chance >= 0.5:
        return chance
    return student_tail(-NormalDist().inv_cdf(chance), degrees)


def incomplete_beta(a: float, b: float, x: float) -> float:
    """Give the regularised incomplete beta function, by its continued fraction (Lentz; DLMF 8.17.22)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - incomplete_beta(b, a, 1 - x)
    log_choose = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    front = math.exp(log_choose + a * math.log(x) + b * math.log1p(-x)) / a
    fraction = c = 1.0
    d = 0.0
    for step in range(500):
        m = step // 2
        if step == 0:
            term = 1.0
        elif step % 2 == 0:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        else:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d = 1 / (1 + term * d or 1e-300)
        c = 1 + term / c or 1e-300
        fraction *= c * d
        if abs(1 - c * d) < 1e-15:
            break
    return min(1.0, front * (fraction - 1))


def holm_adjusted(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for having looked at so many things at once; the order is kept.

    Holm's step-down procedure: with all those below alpha called findings, the probability of one false
    finding or more is at most alpha, whatever the dependence. Holm (1979), Scandinavian Journal of Statistics
    6, 65-70.
    """
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    rising = sorted(range(len(p_values)), key=p_values.__getitem__)
    for rank, index in enumerate(rising):
        left = len(p_values) - rank
        # Never below one before it: the order of p-values is that of the corrected ones.
        highest = max(highest, min(1.0, p_values[index] * left))
        adjusted[index] = highest
    return adjusted


def _hypergeometric_tail(successes: int, draws: int, marked: int, population: int) -> float:
    unmarked = population - marked
    if successes <= max(0, draws - unmarked):
        return 1.0
    if successes > min(draws, marked):
        return 0.0
    if successes * population <= draws * marked:
        return 1.0 - _hypergeometric_tail(marked - successes + 1, population - draws, marked, population)
    log_first = _log_choose(marked, successes) + _log_choose(unmarked, draws - successes)
    log_first -= _log_choose(population, draws)
    most = min(draws, marked)
    ratios = ((marked - k) * (draws - k) / ((k + 1) * (unmarked - draws + k + 1)) for k in range(successes, most))
    return _falling_sum(math.exp(min(log_first, 0.0)), ratios)


def _falling_sum(first: float, ratios: Iterator[float]) -> float:
    """Sum terms that each are the one before times a falling ratio, until they no longer count."""
    total = 0.0
    for term in itertools.accumulate(ratios, operator.mul, initial=first):
        total += term
        if term <= total * 1e-17:
            break
    return min(total, 1.0)


def _log_choose(items: int, chosen: int) -> float:
    return math.lgamma(items + 1) - math.lgamma(chosen + 1) - math.lgamma(items - chosen + 1)
