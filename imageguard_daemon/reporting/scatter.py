"""How far counts scatter beyond chance: images come in bursts, and days differ for all alike.

Taken from neighbouring times of the whole report, so that a rate that rose once adds little: what is looked for must
not hide itself.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.float64]
MIN_SLOTS = 4
"""Fewer times say nothing of scatter."""
_MIN_PAIRS = 20
"""Fewer pairs of times say nothing of scatter."""
_RARE = 20
_MAX_ROWS, _FOLDED_ROWS = 64, 16
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

    def effects_at(self, images: Counts, rate: float) -> Counts:
        """Give the design effect of each row were its rate this one: that of a limit it is checked against."""
        return self.effects(images, np.full(len(images), rate))

    def effect_of(self, size: Counts, rates: Counts) -> Counts:
        """Give the design effect where a typical image shares its slot with `size` - 1 others of its row."""
        inner = np.clip(rates, 1e-4, 0.999)
        odds = inner / (1 - inner)
        return self.burst + self.day * odds * size


def scatter_of(images: Counts, hits: Counts) -> Scatter:
    """Estimate the scatter of hits among images from all rows (streams) and slots.

    What days have in common shows where different rows move together, and only there: a class that came in one day is
    no bad day. What remains within the rows are bursts.
    """
    if images.shape[1] < MIN_SLOTS or not hits.any():
        return Scatter()
    # How far a row's own rate misleads depends on the size of bursts, which is only known then: twice is enough.
    sums = _with_rare_rows(_sums(images, hits), images, hits)
    burst = max(_ratios(sums).squares, 1.0)
    sums = _with_rare_rows(_sums(images, hits, burst), images, hits)
    second = _ratios(sums)
    if second.pairs < _MIN_PAIRS:
        return Scatter()
    day, pairs_of_days = _common(images, hits, max(second.squares, 1.0))
    burst = max(1.0, second.squares - day * second.days)
    return Scatter(burst, day, pairs_of_days if day else second.pairs)


def _common(images: Counts, hits: Counts, burst: float) -> tuple[float, float]:
    """Give the squared coefficient of variation that slots have for all rows, and of how many pairs it is known.

    It is the mean product of what two rows do between neighbouring slots. 0 where that may be chance.
    """
    if len(images) > _MAX_ROWS:  # rare streams have no neighbouring slots of their own
        images, hits = (_folded(part) for part in (images, hits))
    rates = (hits.sum(axis=1) / np.maximum(images.sum(axis=1), 1))[:, None]
    now = images[:, :-1]
    after = images[:, 1:]
    rate_now = hits[:, :-1] / np.maximum(now, 1)
    rate_after = hits[:, 1:] / np.maximum(after, 1)
    weight = now * after / np.maximum(now + after, 1)
    moved = weight * (rate_now - rate_after)
    expected = weight * rates
    chance = (burst * weight * rates * (1 - rates)).sum(axis=0)
    together = _products_of_rows(moved)
    share = _products_of_rows(expected)
    pairs = float(np.count_nonzero(chance))
    uncertain_by = (2 * float((chance**2).sum())) ** 0.5
    if share <= 0 or together <= uncertain_by:
        return 0.0, pairs
    # Twice, since both of two neighbouring slots vary.
    squared_variation = together / (2 * share)
    return squared_variation * (1 + (2 / pairs) ** 0.5), pairs  # few pairs: it may be that much more


def _products_of_rows(rows: Counts) -> float:
    """Add up, over all slots, the products of each row with each other one: the square of the sum less the squares."""
    return float((rows.sum(axis=0) ** 2 - (rows**2).sum(axis=0)).sum())


def _folded(rows: Counts) -> Counts:
    return np.array([rows[at::_FOLDED_ROWS].sum(axis=0) for at in range(_FOLDED_ROWS)])


def own_factors(images: Counts, hits: Counts, effects: Counts) -> Counts:
    """Say for each row how many times its counts scatter more than `effects` has it, never less than once.

    What a row has of its own is drawn to what all rows have together, and counts only beyond its own uncertainty: the
    squares of few bursts scatter themselves.
    """
    if images.shape[1] < MIN_SLOTS:
        return np.ones(len(images))
    sums = _sums(images, hits)
    if sums.pairs.sum() < _MIN_PAIRS:
        return np.ones(len(images))
    pairs = np.maximum(sums.pairs, 1)
    expected = sums.chance * effects
    together = max(1.0, sums.squares.sum() / max(expected.sum(), 1e-9))
    doubt = 1 + _DOUBT / np.sqrt(pairs)
    mean = np.where(sums.pairs > 0, expected / pairs, 0)
    # As if each row had _TRUST pairs more, that scatter as all rows do.
    squares = sums.squares / doubt + _TRUST * together * mean
    own = squares / np.maximum(expected + _TRUST * mean, 1e-12)
    factors: Counts = np.where(sums.chance > 0, np.maximum(own, together), together)
    return factors


class _Ratios(NamedTuple):
    """Squares and what days add, in units of what chance alone gives; and of how many pairs that is known."""

    squares: float
    days: float
    pairs: float


def _ratios(sums: _Sums) -> _Ratios:
    chance = max(float(sums.chance.sum()), 1e-12)
    squares, days, pairs = (float(part.sum()) for part in (sums.squares, sums.days, sums.pairs))
    return _Ratios(squares / chance, days / chance, pairs)


def _sums(images: Counts, hits: Counts, burst: float = 1.0) -> _Sums:
    """Compare each slot of a row that has images with the next one that has.

    A row's own rate makes p (1 - p) too small, by one of its bursts.
    """
    row, slot = np.nonzero(images)
    total = images.sum(axis=1)
    n = images[row, slot]
    slot_rates = hits[row, slot] / images[row, slot]
    at = np.flatnonzero(row[1:] == row[:-1])  # slots whose next one is of the same row
    ours = row[at]
    weight = n[at] * n[at + 1] / (n[at] + n[at + 1])
    rate = (hits.sum(axis=1) / np.maximum(total, 1))[ours]
    bursts = np.maximum(total / burst, 2.0)[ours]
    squares = (weight * (slot_rates[at] - slot_rates[at + 1])) ** 2
    chance = weight * rate * (1 - rate) * bursts / (bursts - 1)
    days = 2 * (weight * rate) ** 2
    pairs = np.ones(len(at))

    def of_rows(part: Counts) -> Counts:
        return np.bincount(ours, part, minlength=len(images)).astype(float)

    return _Sums(of_rows(squares), of_rows(chance), of_rows(days), of_rows(pairs))


def _with_rare_rows(sums: _Sums, images: Counts, hits: Counts) -> _Sums:
    """Add rows that have few images in one slot alone, such as rare classes: checked against the rate of all.

    A class that was delivered at once is not among them: that it differs is what others ask.
    """
    n, y = images.sum(axis=1), hits.sum(axis=1)
    alone = ((images > 0).sum(axis=1) == 1) & (n > 1) & (n <= _RARE)
    if np.count_nonzero(alone) < _MIN_PAIRS:
        return sums
    n = n[alone]
    y = y[alone]
    rate = hits.sum() / max(images.sum(), 1)
    return _Sums(
        np.append(sums.squares, ((y - n * rate) ** 2).sum()),
        np.append(sums.chance, (n * rate * (1 - rate)).sum()),
        np.append(sums.days, ((n * rate) ** 2).sum()),
        np.append(sums.pairs, alone.sum()),
    )
