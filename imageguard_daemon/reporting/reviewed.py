"""What people did with rejected images: which rejections were right, and how many are in quarantine no more."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from imageguard_daemon.audit.counts import Dimension
from imageguard_daemon.audit.reviewed import ReviewCount
from imageguard_daemon.reporting.statistics import wilson_interval


@dataclass(frozen=True, slots=True)
class Reviewed:
    """Of rejected images, by the latest word on each: how many rejections people called right and how many wrong.

    `rejudged` were released by other thresholds, on which people have said nothing. `purged` are deleted ones, which
    are among the right. `returned` were written to after they had been filed and went back into the inbox, where they
    were judged again. `archived` left the log when nobody noted yet whether they had been released or deleted.
    """

    right: int = 0
    wrong: int = 0
    rejudged: int = 0
    purged: int = 0
    archived: int = 0
    returned: int = 0

    @property
    def total(self) -> int:
        """How many people have looked at."""
        return self.right + self.wrong

    @property
    def released(self) -> int:
        """How many are accepted by now."""
        return self.wrong + self.rejudged

    @property
    def left(self) -> int:
        """How many are in quarantine no more."""
        return self.released + self.purged + self.archived + self.returned

    @property
    def precision(self) -> float:
        """The share that was right; 0 of nothing is 0."""
        return self.right / self.total if self.total else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """The Wilson 95 % interval of the share that was right."""
        return wilson_interval(self.right, self.total)


def reviewed(counts: Iterable[ReviewCount]) -> Reviewed:
    """Take all counts together."""
    actions = Counter[str]()
    for count in counts:
        actions[count.action] += count.images
    right = actions["confirm"] + actions["purge"]
    gone = (actions["purge"], actions["archived"], actions["return"])
    return Reviewed(right, actions["release"], actions["rejudge"], *gone)


def reviewed_by(by: Sequence[Dimension], counts: Iterable[ReviewCount]) -> dict[tuple[str, ...], Reviewed]:
    """Give one for each combination of labels in these dimensions."""
    parts: defaultdict[tuple[str, ...], list[ReviewCount]] = defaultdict(list)
    for count in counts:
        parts[tuple(count.labels[one] for one in by)].append(count)
    return {labels: reviewed(part) for labels, part in parts.items()}
