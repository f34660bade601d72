"""Counts from the audit log, folded into one tally for each thing reported on."""

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
