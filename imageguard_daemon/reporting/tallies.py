"""Counts from the audit log, folded into one tally for each thing reported on; and how a rate differs from another.

Of reviews: which verdicts people called right, and where rejected images are by now.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from imageguard_daemon.audit.counts import Count, Dimension
from imageguard_daemon.audit.reviewed_images import ReviewCount
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


@dataclass(frozen=True, slots=True)
class Reviewed:
    """Of reviewed images, by the latest word on each: how many rejections people called right and how many wrong.

    `approved` and `missed` are the same of acceptances: `missed` are bad images that people rejected, and of these
    `missed_purged` were deleted since. The others are of rejections. `rejudged` were released by other thresholds, on
    which people have said nothing. `purged` are deleted ones, which are among the right. `returned` were written to
    after they had been filed and went back into the inbox, where they were judged again. `archived` left the log when
    nobody noted yet whether they had been released or deleted.
    """

    right: int = 0
    wrong: int = 0
    rejudged: int = 0
    purged: int = 0
    archived: int = 0
    returned: int = 0
    approved: int = 0
    missed: int = 0
    missed_purged: int = 0

    @property
    def total(self) -> int:
        """How many rejections people have looked at."""
        return self.right + self.wrong

    @property
    def looked_through(self) -> int:
        """How many acceptances people have said something of."""
        return self.approved + self.missed

    @property
    def deleted(self) -> int:
        """How many were deleted, whoever had rejected them."""
        return self.purged + self.missed_purged

    @property
    def moved(self) -> bool:
        """Whether any image is elsewhere than where the daemon filed it."""
        return bool(self.left or self.missed)

    def in_quarantine(self, rejected: int) -> int:
        """Give how many are in quarantine by now, of whom the daemon rejected so many."""
        return max(0, rejected - self.left) + self.missed - self.missed_purged

    @property
    def miss_rate(self) -> float:
        """The share of reviewed acceptances that was wrong; 0 of nothing is 0."""
        return self.missed / self.looked_through if self.looked_through else 0.0

    @property
    def miss_interval(self) -> tuple[float, float]:
        """The Wilson 95 % interval of the share of acceptances that was wrong."""
        return wilson_interval(self.missed, self.looked_through)

    @property
    def released(self) -> int:
        """How many are accepted by now."""
        return self.wrong + self.rejudged

    @property
    def left(self) -> int:
        """How many of the daemon's rejections are in quarantine no more."""
        return self.released + self.purged + self.archived + self.returned

    @property
    def precision(self) -> float:
        """The share that was right; 0 of nothing is 0."""
        return self.right / self.total if self.total else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """The Wilson 95 % interval of the share that was right."""
        return wilson_interval(self.right, self.total)


@dataclass(frozen=True, slots=True)
class Recall:
    """The share of the bad images that were rejected, with the ends between which it lies."""

    share: float
    low: float
    high: float


def recall(reviewed: Reviewed, rejected: int, accepted: int) -> Recall | None:
    """Estimate the recall of the daemon, of whose verdicts so many were rejections and acceptances.

    Taken is that the reviewed images of either kind are like the rest of that kind. The ends are those of both shares'
    95 % intervals, each at its worse and its better one; what people have said of single images counts as it is.
    None where people have not looked at both kinds, or have approved nothing: then nobody knows how many they looked
    through to find what they rejected.
    """
    if not reviewed.total or not reviewed.approved:
        return None
    (right_low, right_high), (missed_low, missed_high) = reviewed.interval, reviewed.miss_interval

    def of(right: float, missed: float) -> float:
        caught = max(right * rejected, reviewed.right)
        lost = max(missed * accepted, reviewed.missed)
        return caught / (caught + lost) if caught + lost else 0.0

    return Recall(of(reviewed.precision, reviewed.miss_rate), of(right_low, missed_high), of(right_high, missed_low))


def reviewed(counts: Iterable[ReviewCount]) -> Reviewed:
    """Take all counts together."""
    actions = Counter[tuple[str, str]]()
    for count in counts:
        actions[count.verdict, count.action] += count.images
    confirm, release, rejudge, purge, archived, returned = (
        actions["quarantined", action] for action in ("confirm", "release", "rejudge", "purge", "archived", "return")
    )
    approve, reject, purged_then = (actions["accepted", action] for action in ("approve", "reject", "purge"))
    gone = (purge, archived, returned)
    return Reviewed(confirm + purge, release, rejudge, *gone, approve, reject + purged_then, purged_then)


def reviewed_by(by: Sequence[Dimension], counts: Iterable[ReviewCount]) -> dict[tuple[str, ...], Reviewed]:
    """Give one for each combination of labels in these dimensions."""
    parts: defaultdict[tuple[str, ...], list[ReviewCount]] = defaultdict(list)
    for count in counts:
        parts[tuple(count.labels[dimension] for dimension in by)].append(count)
    return {labels: reviewed(part) for labels, part in parts.items()}
