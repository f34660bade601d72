"""Counts from the audit log, folded into one tally for each thing reported on."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from imageguard_daemon.audit.counts import Count
from imageguard_daemon.reporting.statistics import wilson_interval


@dataclass(frozen=True, slots=True)
class Tally:
    """How many images were judged, and how many of them were rejected for which reason."""

    total: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)

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
        return Tally(self.total - part.total, dict(Counter(self.reasons) - Counter(part.reasons)))


def tally(counts: Iterable[Count]) -> Tally:
    """Take all counts together."""
    total, reasons = 0, Counter[str]()
    for count in counts:
        total += count.images
        if count.verdict == "quarantined":
            reasons[count.reason] += count.images
    return Tally(total, dict(reasons))


def tallies_by(position: int, counts: Iterable[Count]) -> dict[str, Tally]:
    """Give one tally for each key at this position of the counts' keys."""
    parts: defaultdict[str, list[Count]] = defaultdict(list)
    for count in counts:
        parts[count.keys[position]].append(count)
    return {key: tally(part) for key, part in parts.items()}


def together(tallies: Iterable[Tally]) -> Tally:
    """Add tallies up."""
    total, reasons = 0, Counter[str]()
    for part in tallies:
        total += part.total
        reasons.update(part.reasons)
    return Tally(total, dict(reasons))
