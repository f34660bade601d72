"""How many images count as one, and how far days differ: held against what was put in and against statsmodels."""

import numpy as np
import pytest

from imageguard_daemon.reporting.scatter import own_factors, scatter_of


def counts(seed: int, burst: int, day: float, rows: int = 18, slots: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Give images and rejections in bursts that share a verdict, on days that differ for all."""
    rng = np.random.default_rng(seed)
    of_day = np.exp(rng.normal(0, day, slots) - day**2 / 2)
    number = rng.poisson(24 / burst, (rows, slots))
    return number * float(burst), rng.binomial(number, np.minimum(0.12 * of_day, 0.9)) * float(burst)


@pytest.mark.parametrize("burst", [1, 3, 10])
def test_bursts_are_counted(burst: int) -> None:
    """The mean of eight streams is the size of the bursts that were put in."""
    mean = np.mean([scatter_of(*counts(seed, burst, 0.0)).burst for seed in range(8)])
    assert mean == pytest.approx(burst, rel=0.08)


def test_what_days_have_in_common_is_told_from_bursts() -> None:
    """Days that vary by 40 %: the squared variation is found, and bursts stay what they are."""
    made = [scatter_of(*counts(seed, 3, 0.4)) for seed in range(12)]
    assert np.mean([one.day for one in made]) == pytest.approx(np.expm1(0.4**2), rel=0.4)
    assert np.mean([one.burst for one in made]) == pytest.approx(3, rel=0.12)


def test_a_step_is_no_scatter() -> None:
    """A rate that rose once adds little: what is looked for does not hide itself."""
    images, rejected = counts(5, 1, 0.0)
    rejected[0, 40:] = np.minimum(images[0, 40:], rejected[0, 40:] + 12)
    assert scatter_of(images, rejected).burst < 1.2
    assert own_factors(images, rejected, np.ones(len(images)))[0] < 1.5


def test_the_dispersion_is_that_of_a_quasi_binomial_model() -> None:
    """Pearson's scale of a model with a rate for each row, by statsmodels, is the same where nothing changes."""
    models = pytest.importorskip("statsmodels.api", reason="statsmodels is not installed")
    images, rejected = counts(3, 3, 0.0)
    row, slot = np.nonzero(images)
    n, y = images[row, slot], rejected[row, slot]
    design = np.eye(len(images))[row]
    fitted = models.GLM(np.column_stack([y, n - y]), design, family=models.families.Binomial()).fit()
    pearson = ((y - n * fitted.mu) ** 2 / (n * fitted.mu * (1 - fitted.mu))).sum() / fitted.df_resid
    assert scatter_of(images, rejected).burst == pytest.approx(pearson, rel=0.12)


def test_few_times_say_nothing() -> None:
    """Three slots, or one class a day, are taken as independent images."""
    assert scatter_of(np.full((4, 3), 50.0), np.full((4, 3), 10.0)).burst == 1
    one_a_day = np.diag(np.full(10, 300.0))
    assert scatter_of(one_a_day, one_a_day * 0.3).burst == 1
