"""When the share of some images rose: change points in many series at once.

Model: each series has one rate, but for one time in which it is higher. Null: one rate throughout, with the scatter of
neighbouring times (`scatter.py`). Looked at are all times that last to the end, and times of 1, 2, 4, ... slots that
ended; the best of each is corrected for how many there were (Bonferroni), and by whoever asks for how many series.
"""

import itertools
import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from imageguard_daemon.reporting.finding import ALPHA, CLEARLY_HIGHER
from imageguard_daemon.reporting.scatter import MIN_SLOTS, Scatter, own_factors, scatter_of
from imageguard_daemon.reporting.statistics import chance_with_scatter, with_doubt

Counts = npt.NDArray[np.float64]
POINTS = 0.01
"""A rate that rose by less is not news, however certain it is."""
_PROMISING, _OF_MANY, _MANY_SLOTS = 3.0, 4.0, 12
"""What is fewer standard errors away is not looked at closely; with many slots it would be chance anyway."""
_LIKELY = 0.01
"""More than this by chance is nothing, whatever it is corrected for."""
_SHORT_SLOTS, _STANDS_OUT = 3, {True: 2.0, False: 1.3}
"""A time must lie so many times as far above the rest as the next best of its length: more so if it is a day or two."""
_MIN_BURSTS = 3
"""Rejections of fewer bursts are not a change, whatever their number."""
_ROWS_AT_A_TIME = 128


@dataclass(frozen=True, slots=True)
class Rise:
    """The rate was higher in the slots from `begin` on and before `end`; `z` are standard errors.

    `chance` is corrected for all the times that might have been it. `drifts`: it rose slowly from `begin` on.
    """

    begin: int
    end: int
    chance: float
    z: float
    drifts: bool = False


class _Windows(NamedTuple):
    begins: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]


class Rises:
    """Looks for rises in rows of counts; `images` and `hits` are (rows, slots), `scatter` that of their streams."""

    def __init__(
        self,
        images: Counts,
        hits: Counts,
        scatter: Scatter | None = None,
        factors: Counts | None = None,
        *,
        least: int = 10,
    ) -> None:
        self.images, self.hits = images, hits
        self._scatter = scatter or scatter_of(images, hits)
        self._least = least
        if factors is None:
            rates = hits.sum(axis=1) / np.maximum(images.sum(axis=1), 1)
            factors = own_factors(images, hits, self._scatter.effects(images, rates))
        self._factors = factors
        self._slots = images.shape[1]
        self._kinds = (_lasting(self._slots), _ended(self._slots))

    def find(self, looked_at: int = 1) -> list[Rise | None]:
        """Give the rise of each row; none that is chance once it is corrected for having looked at so many."""
        rises: list[Rise | None] = [None] * len(self.images)
        for row in np.flatnonzero(np.isfinite(self.bounds())).tolist():
            rises[row] = self.of(row, looked_at)
        return rises

    def bounds(self) -> Counts:
        """Say for each row how many standard errors its rise has at most; -inf where it has none."""
        bounds = np.full(len(self.images), -np.inf)
        if self._slots < MIN_SLOTS:
            return bounds
        total, bad = self.images.sum(axis=1), self.hits.sum(axis=1)
        rows = np.flatnonzero((total >= 2 * self._least) & (bad >= _MIN_BURSTS) & (bad < total))
        # Some rows at a time: each has a number for every window, of which there are thousands.
        for at in range(0, len(rows), _ROWS_AT_A_TIME):
            part = rows[at : at + _ROWS_AT_A_TIME]
            for kind in self._kinds:
                best = self._standard_errors(part, kind).max(axis=1, initial=-np.inf)
                bounds[part] = np.maximum(bounds[part], best)
        return np.where(bounds >= self._least_z, bounds, -np.inf)

    @property
    def _least_z(self) -> float:
        """How many standard errors are worth a closer look."""
        return _OF_MANY if self._slots > _MANY_SLOTS else _PROMISING

    def of(self, row: int, looked_at: int = 1) -> Rise | None:
        """Give the rise of a row with a bound: the best of the windows of both kinds, unless all of them are chance."""
        likely = min(_LIKELY, ALPHA / max(looked_at, 1))
        promising = [self._promising(row, windows) for windows in self._kinds]
        if not any(rise and rise.chance < likely for rise in promising):
            return None
        lasting, ended = (rise and self._standing_out(row, rise) for rise in promising)
        return _likelier(lasting, ended)

    def _standard_errors(self, rows: npt.NDArray[np.int64], windows: _Windows) -> Counts:
        """Give how many standard errors each window of each row is above the rest; -inf where that is not news."""
        images, hits = self.images[rows], self.hits[rows]
        # Sums up to each slot: of any window, the sum is a difference.
        summed = _summed(images)
        summed_bad = _summed(hits)
        squares = _summed(images**2)
        inside, bad, square = (
            part[:, windows.ends] - part[:, windows.begins] for part in (summed, summed_bad, squares)
        )
        total, total_bad, total_squares = (part[:, -1:] for part in (summed, summed_bad, squares))
        outside = total - inside
        bad_outside = total_bad - bad
        overall = total_bad / total
        factors = self._factors[rows][:, None]
        with np.errstate(invalid="ignore", divide="ignore"):  # windows without images are left out below
            effect = factors * self._scatter.effect_of(square / inside, overall)
            effect_outside = factors * self._scatter.effect_of((total_squares - square) / outside, overall)
            rate = bad / inside
            other = bad_outside / outside
            before = (summed_bad / summed)[:, windows.begins]
            of_one = overall * (1 - overall)
            variance = of_one * (effect / inside + effect_outside / outside)
            z = (rate - other) / np.sqrt(variance)
            # Higher than before, too: else what was bad at first, and is better since, would be told as a rise.
            is_higher = is_clear(rate, other) & is_clear(rate, before)
            news = is_higher & (bad >= _MIN_BURSTS * effect)
        has_before = summed[:, windows.begins] >= self._least
        enough = (inside >= self._least) & has_before
        return np.where(news & enough, z, -np.inf)

    def _promising(self, row: int, windows: _Windows) -> Rise | None:
        z = self._standard_errors(np.array([row]), windows)[0]
        if not len(z) or z.max() < self._least_z:
            return None
        at = int(z.argmax())
        begin = int(windows.begins[at])
        end = int(windows.ends[at])
        # Twice, for the two kinds of windows (Bonferroni).
        chance = 2 * len(z) * self._chance(row, begin, end)
        return Rise(begin, end, chance, float(z[at])) if chance <= _LIKELY else None

    def _standing_out(self, row: int, rise: Rise) -> Rise | None:
        begin, end = self._sharpened(row, rise.begin, rise.end)
        return replace(rise, begin=begin, end=end) if self._stands_out(row, begin, end) else None

    def _chance(self, row: int, begin: int, end: int) -> float:
        images = self.images[row]
        hits = self.hits[row]
        n = images[begin:end].sum()
        y = hits[begin:end].sum()
        others = images.sum() - n
        other_y = hits.sum() - y
        size = (images[begin:end] ** 2).sum() / n
        overall = hits.sum() / images.sum()
        effect = float(self._factors[row] * self._scatter.effect_of(size, overall))
        exact = chance_with_scatter((y, n), (other_y, others), effect)
        return with_doubt(exact, self._scatter.degrees)

    def _sharpened(self, row: int, begin: int, end: int) -> tuple[int, int]:
        """Move the ends of a time that ended to where they fit best, by half its length at most."""
        if end == self._slots:
            return begin, end
        room = max((end - begin) // 2, 1)
        first = max(1, begin - room)
        last = min(self._slots - 1, end + room)
        begins = range(first, begin + room // 2 + 1)
        ends = range(end - room // 2, last + 1)
        pairs = np.array([pair for pair in itertools.product(begins, ends) if pair[0] < pair[1]])
        windows = _Windows(pairs[:, 0], pairs[:, 1])
        z = self._standard_errors(np.array([row]), windows)[0]
        best = int(z.argmax())
        if not np.isfinite(z[best]):
            return begin, end
        return int(windows.begins[best]), int(windows.ends[best])

    def _stands_out(self, row: int, begin: int, end: int) -> bool:
        """Check whether no other time of its length comes near it: then it is not a usual bad day."""
        images = self.images[row]
        hits = self.hits[row]
        length = end - begin
        starts = np.arange(self._slots - length + 1)
        summed = _summed(images[None])[0]
        summed_bad = _summed(hits[None])[0]
        inside = summed[starts + length] - summed[starts]
        bad = summed_bad[starts + length] - summed_bad[starts]
        rest = max(images.sum() - inside[begin], 1)
        rate = (hits.sum() - bad[begin]) / rest
        above = (bad - inside * rate) / np.sqrt(np.maximum(inside, 1))
        # Times that overlap with this one share its images, and are not its rivals.
        apart = (starts + length <= begin) | (starts >= end)
        if not apart.any():
            return True
        is_short = np.count_nonzero(images[begin:end]) < _SHORT_SLOTS
        return bool(above[begin] >= _STANDS_OUT[bool(is_short)] * above[apart].max())


def is_clear(rate: Counts, other: Counts) -> npt.NDArray[np.bool_]:
    """Check whether rates are so much higher that it is worth telling."""
    is_much_higher = rate >= CLEARLY_HIGHER * other
    # Where most are rejected a rate cannot double; then fewer accepted ones count, if the rates differ enough.
    are_fewer_accepted = (1 - other >= CLEARLY_HIGHER * (1 - rate)) & (rate - other >= 0.1)
    return (is_much_higher | are_fewer_accepted) & (rate - other >= POINTS)


def with_drift(rise: Rise, images: Counts, hits: Counts) -> Rise:
    """Tell a slow rise to the end from a sudden one, by which of the two fits better (least squares, by images)."""
    slots = len(images)
    active = images > 0
    if rise.end != slots or np.count_nonzero(active) < 10:
        return rise
    rates = hits[active] / images[active]
    weights = images[active]
    times = np.flatnonzero(active)
    step = _misfit((times >= rise.begin).astype(float), rates, weights)
    starts = times[1:-3]
    slopes = [_misfit(np.maximum(times - start, 0.0), rates, weights) for start in starts]
    best = int(np.argmin(slopes))
    noise = step / max(len(times) - 2, 1)
    if step - slopes[best] < 4 * noise:
        return rise
    return Rise(int(starts[best]), slots, rise.chance, rise.z, drifts=True)


def _misfit(shape: Counts, rates: Counts, weights: Counts) -> float:
    """Give the weighted squares that a line through a shape leaves."""
    centred = shape - np.average(shape, weights=weights)
    level = rates - np.average(rates, weights=weights)
    against = float((weights * centred**2).sum())
    with_level = float((weights * centred * level).sum())
    # Never downwards: asked for is how well a rise fits.
    slope = max(with_level / against, 0.0) if against else 0.0
    left = level - slope * centred
    return float((weights * left**2).sum())


def _likelier(lasting: Rise | None, ended: Rise | None) -> Rise | None:
    """Choose what lasts unless what ended fits clearly better: what still goes on must not be called over."""
    if lasting is None or ended is None:
        return lasting or ended
    # Half the difference of the squares is that of the log likelihoods: a thousand times as likely.
    gain = ended.z**2 - lasting.z**2
    return ended if gain > 2 * math.log(1000) else lasting


def _lasting(slots: int) -> _Windows:
    begins = np.arange(1, slots)
    return _Windows(begins, np.full(len(begins), slots))


def _ended(slots: int) -> _Windows:
    begins: list[int] = []
    ends: list[int] = []
    length = 1
    while length <= slots // 2:
        starts = range(1, slots - length, max(length // 2, 1))  # half overlapping: none falls between two
        begins += starts
        ends += [start + length for start in starts]
        length *= 2
    return _Windows(np.array(begins, np.int64), np.array(ends, np.int64))


def _summed(rows: Counts) -> Counts:
    nothing = np.zeros((len(rows), 1))
    return np.concatenate((nothing, rows.cumsum(axis=1)), axis=1)
