"""How a rate differs from that of the period before."""

import math
from dataclasses import dataclass

from imageguard_daemon.reporting.statistics import wilson_interval
from imageguard_daemon.reporting.tallies import Tally


@dataclass(frozen=True, slots=True)
class Trend:
    """`change` is the rate now less the rate before, in [-1, 1]; low and high are its 95 % interval."""

    before: Tally
    change: float
    low: float
    high: float

    @property
    def is_certain(self) -> bool:
        """Whether the interval leaves no doubt about the direction."""
        return self.low > 0 or self.high < 0


def trend(now: Tally, before: Tally) -> Trend | None:
    """Compare two periods; None where one of them has no images.

    The interval is Newcombe's hybrid score interval for the difference of two proportions, made from the two Wilson
    intervals: Newcombe (1998), Statistics in Medicine 17, 873-890, method 10.
    """
    if not now.total or not before.total:
        return None
    change = now.rate - before.rate
    (low, high), (low_before, high_before) = (wilson_interval(one.rejected, one.total) for one in (now, before))
    return Trend(
        before,
        change,
        max(-1.0, change - math.hypot(now.rate - low, high_before - before.rate)),
        min(1.0, change + math.hypot(high - now.rate, before.rate - low_before)),
    )
