"""How far counts scatter beyond chance: images come in bursts, and days differ for all alike.

Taken from neighbouring times of the whole report, so that a rate that rose once adds little: what is looked for must
not hide itself.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.float64]
LEAST_SLOTS = 4
"""Fewer times say nothing of scatter."""
LEAST_PAIRS = 4
"""Nor do fewer pairs of times with images."""
_DOUBT = 3.0
"""So many times the inverse root of the pairs is what a row's own scatter is uncertain by."""
_TRUST = 10
"""So many pairs of times of its own weigh as much as what a group is by its kind."""


class _Sums(NamedTuple):
    """Sums over pairs of neighbouring times: squares, what chance alone gives, what days add for each unit of it."""

    squares: Counts
    chance: Counts
    days: Counts
    pairs: Counts


@dataclass(frozen=True, slots=True)
class Scatter:
    """The variance of a count of n images at rate p in one slot is `burst` n p (1 - p) + `day` (n p)^2.

    A `burst` of 3 means: images come in threes that share a verdict (quasi-binomial). `day` is the squared coefficient
    of variation of the rate between slots, common to all. 1 and 0 are those of independent images.
    """

    burst: float = 1.0
    day: float = 0.0
    degrees: float = 1_000.0
    """Of how many pairs of times that is known."""

    def effects(self, images: Counts, rates: Counts) -> Counts:
        """Give for each row how many images count as one: the design effect of its total.

        `images` is (rows, slots), `rates` the rate of each row.
        """
        size = (images**2).sum(axis=1) / np.maximum(images.sum(axis=1), 1)
        return self.effect_of(size, rates)

    def effect_of(self, size: Counts, rates: Counts) -> Counts:
        """Give the design effect where a typical image shares its slot with `size` - 1 others of its row."""
        odds = np.clip(rates, 1e-4, 0.999) / (1 - np.clip(rates, 1e-4, 0.999))
        return self.burst + self.day * odds * size


def scatter_of(images: Counts, hits: Counts) -> Scatter:
    """Estimate the scatter of hits among images from all rows (streams) and slots.

    Two moment equations: bursts show in the rows, what is common to all shows in their sum.
    """
    if images.shape[1] < LEAST_SLOTS or not hits.any():
        return Scatter()
    first = _ratios(_with_single_slots(_sums(images, hits), images, hits))[0]
    rows = _with_single_slots(_sums(images, hits, max(first, 1.0)), images, hits)
    whole = _sums(images.sum(axis=0, keepdims=True), hits.sum(axis=0, keepdims=True))
    (fine, fine_days, many), (coarse, coarse_days, few) = (_ratios(one) for one in (rows, whole))
    if few < LEAST_PAIRS:  # a batch beside a few old images: nothing is known of days, and bursts would be guessed
        return Scatter()
    doubt = (2 / max(few, 1)) ** 0.5
    if coarse <= max(fine, 1.0) * (1 + doubt) or coarse_days <= fine_days:
        return Scatter(max(1.0, fine), 0.0, max(many, 1.0))
    day = (coarse * (1 + doubt) - max(fine, 1.0)) / (coarse_days - fine_days)  # few pairs: it may be that much more
    return Scatter(max(1.0, fine - day * fine_days), day, max(few, 1.0))


def own_factors(images: Counts, hits: Counts, effects: Counts) -> Counts:
    """Say for each row how many times its counts scatter more than `effects` has it, never less than once.

    What a row has of its own is drawn to what all rows have together, and counts only beyond its own uncertainty: the
    squares of few bursts scatter themselves.
    """
    if images.shape[1] < LEAST_SLOTS:
        return np.ones(len(images))
    sums = _sums(images, hits)
    if _sums(images.sum(axis=0, keepdims=True), hits.sum(axis=0, keepdims=True)).pairs.sum() < LEAST_PAIRS:
        return np.ones(len(images))
    expected = sums.chance * effects
    together = max(1.0, sums.squares.sum() / max(expected.sum(), 1e-9))
    doubt = 1 + _DOUBT / np.sqrt(np.maximum(sums.pairs, 1))
    mean = np.where(sums.pairs > 0, expected / np.maximum(sums.pairs, 1), 0)
    own = (sums.squares / doubt + _TRUST * together * mean) / np.maximum(expected + _TRUST * mean, 1e-12)
    factors: Counts = np.where(sums.chance > 0, np.maximum(own, together), together)
    return factors


def _ratios(sums: _Sums) -> tuple[float, float, float]:
    chance = max(float(sums.chance.sum()), 1e-12)
    return float(sums.squares.sum()) / chance, float(sums.days.sum()) / chance, float(sums.pairs.sum())


def _sums(images: Counts, hits: Counts, burst: float = 1.0) -> _Sums:
    """Compare each slot of a row that has images with the next one that has.

    A row's own rate makes p (1 - p) too small, by one of its bursts.
    """
    row, slot = np.nonzero(images)
    n, y = images[row, slot], hits[row, slot]
    rates = hits.sum(axis=1) / np.maximum(images.sum(axis=1), 1)
    at = np.flatnonzero(row[1:] == row[:-1])
    ours = row[at]
    weight = n[at] * n[at + 1] / (n[at] + n[at + 1])
    rate = rates[ours]
    squares = (weight * (y[at] / n[at] - y[at + 1] / n[at + 1])) ** 2
    bursts = np.maximum(images.sum(axis=1) / burst, 2.0)[ours]
    parts = (squares, weight * rate * (1 - rate) * bursts / (bursts - 1), 2 * (weight * rate) ** 2, np.ones(len(at)))
    return _Sums(*(np.bincount(ours, part, minlength=len(images)).astype(float) for part in parts))


def _with_single_slots(sums: _Sums, images: Counts, hits: Counts) -> _Sums:
    """Add rows that have one slot alone, such as rare classes: held against the rate of all."""
    alone = ((images > 0).sum(axis=1) == 1) & (images.sum(axis=1) > 1)
    n, y, rate = images[alone].sum(axis=1), hits[alone].sum(axis=1), hits.sum() / max(images.sum(), 1)
    squares, chance = ((y - n * rate) ** 2).sum(), (n * rate * (1 - rate)).sum()
    return _Sums(
        np.append(sums.squares, squares),
        np.append(sums.chance, chance),
        np.append(sums.days, ((n * rate) ** 2).sum()),
        np.append(sums.pairs, alone.sum()),
    )
