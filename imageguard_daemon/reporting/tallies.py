"""Counts from the audit log, folded into one tally for each thing reported on; and how a rate differs from another."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from imageguard_daemon.audit.counts import Count
from imageguard_daemon.reporting.statistics import wilson_interval


@dataclass(frozen=True, slots=True)
class Tally:
    """How many images were judged, how many of them were rejected for which reason, how many were there before."""

    total: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)
    duplicates: int = 0

    @property
    def rejected(self) -> int:
        """Images in quarantine, whatever the reason."""
        return sum(self.reasons.values())

    @property
    def rate(self) -> float:
        """Rejected images as a share of all, 0 when there are none."""
        return self.rejected / self.total if self.total else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """The Wilson 95 % interval of the rate."""
        return wilson_interval(self.rejected, self.total)

    @property
    def top_reason(self) -> str:
        """The most frequent reason, or an empty string; of equals the first in the alphabet."""
        return next(iter(self.ranked_reasons()), "")

    def ranked_reasons(self) -> dict[str, int]:
        """Give the reasons, the most frequent first."""
        return dict(sorted(self.reasons.items(), key=lambda item: (-item[1], item[0])))

    def without(self, part: "Tally") -> "Tally":
        """Take a part out again."""
        reasons = dict(Counter(self.reasons) - Counter(part.reasons))
        return Tally(self.total - part.total, reasons, self.duplicates - part.duplicates)


def tally(counts: Iterable[Count]) -> Tally:
    """Take all counts together."""
    total, duplicates, reasons = 0, 0, Counter[str]()
    for count in counts:
        total += count.images
        duplicates += count.duplicates
        if count.verdict == "quarantined":
            reasons[count.reason] += count.images
    return Tally(total, dict(reasons), duplicates)


def tallies_by(positions: Sequence[int], counts: Iterable[Count]) -> dict[tuple[str, ...], Tally]:
    """Give one tally for each combination of keys at these positions of the counts' keys."""
    parts: dict[tuple[str, ...], tuple[list[int], dict[str, int]]] = {}
    for keys, verdict, reason, images, duplicates in counts:  # a year by day and camera has a hundred thousand
        sums, reasons = parts.setdefault(tuple([keys[position] for position in positions]), ([0, 0], {}))
        sums[0] += images
        sums[1] += duplicates
        if verdict == "quarantined":
            reasons[reason] = reasons.get(reason, 0) + images
    return {keys: Tally(total, reasons, duplicates) for keys, ((total, duplicates), reasons) in parts.items()}


def tallies_at(position: int, counts: Iterable[Count]) -> dict[str, Tally]:
    """Give one tally for each key at this position of the counts' keys."""
    return {key: part for (key,), part in tallies_by((position,), counts).items()}


def together(tallies: Iterable[Tally]) -> Tally:
    """Add tallies up."""
    total, duplicates, reasons = 0, 0, Counter[str]()
    for part in tallies:
        total += part.total
        duplicates += part.duplicates
        reasons.update(part.reasons)
    return Tally(total, dict(reasons), duplicates)


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
    (low, high), (low_before, high_before) = now.interval, before.interval
    return Trend(
        before,
        change,
        max(-1.0, change - math.hypot(now.rate - low, high_before - before.rate)),
        min(1.0, change + math.hypot(high - now.rate, before.rate - low_before)),
    )
