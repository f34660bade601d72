"""Thresholds that hold for images nobody has seen: a distribution-free, one-sided tolerance limit.

Thresholds are chosen from one part of the good images. That part also gives the only way in which they may be loosened
further, a line of ever lower thresholds. How far down that line is then read off the other part: as far as it takes
for so few of its images to be rejected that more than the limit of all would seldom show so few. On a line that is
fixed beforehand that is the order statistic of one number, whatever the distribution of the scores: Wilks (1941),
Annals of Mathematical Statistics 12, 91-96. Of images that thresholds were chosen from it would not be true.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from imageguard_daemon.calibration.thresholds import Scores, proposals, propose, rejects
from imageguard_daemon.reporting.statistics import chance_of_at_least

_STEP = 10
"""Thresholds have one digit: tenths."""


@dataclass(frozen=True, slots=True)
class Limit:
    """At most this share of all good images is to be rejected, with this confidence; both in (0, 1)."""

    share: float
    confidence: float


def images_needed(limit: Limit) -> int:
    """Give how many images of which none is rejected show that the limit holds: 299 for 1 % at 95 %."""
    return math.ceil(math.log(1 - limit.confidence) / math.log1p(-limit.share))


def most_rejected(images: int, limit: Limit) -> int:
    """Give how many of so many images may be rejected for the limit to be shown; -1 if not even none shows it."""
    low, high = -1, images  # every number up to `low` shows it, `high` does not
    while high - low > 1:
        middle = (low + high) // 2
        if chance_of_at_least(middle + 1, images, limit.share) >= limit.confidence:
            low = middle
        else:
            high = middle
    return low


@dataclass(frozen=True, slots=True)
class Line:
    """Thresholds made from good images, and ever lower ones: the further down, the fewer images are rejected.

    First fewer and fewer of the images that they were made from are given up; then each threshold goes down in the
    measure in which these images scatter in its signal. One that none of them comes near to stays long.
    """

    good: Sequence[Scores]
    bad: Sequence[Scores]
    preset: Scores

    def thresholds(self, allowed: int, checked: Sequence[Scores], rejected: int) -> Scores:
        """Give the last thresholds on the line, from its lower end, before more of these images are rejected than may.

        The line ends where `allowed` of the images that thresholds are made from are rejected. Whoever goes along a
        line that is fixed, and stops at the first that cannot be shown, is wrong as often as one test is.
        """
        best: Scores | None = None
        for found in proposals(self.good, self.bad, self.preset, allowed):
            if sum(rejects(found, scores) for scores in checked) > rejected:
                break
            best = found
        return best or self._further_down(checked, rejected)

    def _further_down(self, checked: Sequence[Scores], rejected: int) -> Scores:
        begin = propose(self.good, self.bad, self.preset, 0)
        columns = list(zip(*self.good, strict=True))
        lowest = [min(column) for column in columns]
        scatter = [median(column) - least or 1.0 for column, least in zip(columns, lowest, strict=True)]

        def place(scores: Scores) -> float:
            """Say how far down the line an image is accepted."""
            lacking = zip(scores, begin, lowest, scatter, strict=True)
            return max((least - score) / unit if score < limit else 0.0 for score, limit, least, unit in lacking)

        at = sorted(map(place, checked), reverse=True)[rejected]
        lowered = (min(limit, least - at * unit) for limit, least, unit in zip(begin, lowest, scatter, strict=True))
        return tuple(max(0.0, math.floor(value * _STEP + 1e-9) / _STEP) for value in lowered)
