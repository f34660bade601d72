"""Verdicts that an upload which pauses would get, too: where writers are not known, they wait until it is surely over.

A whole image is as good now as later. One that is empty, cut off or not readable may be on its way, from a scanner or
an FTP client that pauses for longer than files settle. Pure: the clock is passed in.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from imageguard_daemon.core.model import Candidate, FileIdentity, Measurement

CAPACITY = 5_000
"""So many are remembered; of others the next walk begins to wait again, when there is room again."""
_FORGOTTEN_AFTER_SECONDS = 600.0
_ONCE_PATIENCE_SECONDS = 30.0
_TOO_LARGE = "too_large"


def is_doubtful(measurement: Measurement) -> bool:
    """Tell whether an unfinished upload would be judged like this."""
    return bool(measurement.issue) and measurement.issue != _TOO_LARGE


@dataclass(frozen=True, slots=True)
class _Doubt:
    settled: FileIdentity | None
    since: float
    first_at: float


@dataclass(slots=True)
class Doubts:
    """Remembers since when each doubtful file has lain still. Times are seconds of a monotonic clock."""

    settle_seconds: float
    _doubts: dict[Candidate, _Doubt] = field(default_factory=dict)
    _came_back: dict[str, None] = field(default_factory=dict)
    """Paths of files that were written to after they had been filed."""

    def note_came_back(self, path: str) -> None:
        """Doubt any verdict on this file: filed again at once, it would come back again and again."""
        self._came_back[path] = None
        if len(self._came_back) > CAPACITY:
            del self._came_back[next(iter(self._came_back))]

    def has_come_back(self, path: str) -> bool:
        """Tell whether a file was written to after it had been filed, and has not been filed since."""
        return path in self._came_back

    def was_filed(self, path: str) -> None:
        """Hold no earlier return against what comes under this path."""
        self._came_back.pop(path, None)

    def believe_at(self, candidate: Candidate, now: float) -> float | None:
        """Say when a doubtful verdict on a candidate may be believed; None when it may be now."""
        known = self._doubts.pop(candidate, None)
        if candidate.still_since is None:
            return None
        since = candidate.still_since
        if known is not None and known.settled == candidate.settled:
            since = min(since, known.since)
        believe_at = since + self.settle_seconds
        if now >= believe_at:
            return None
        self._forget_old(now)
        if len(self._doubts) < CAPACITY:
            self._doubts[candidate] = _Doubt(candidate.settled, since, known.first_at if known else now)
        return believe_at

    def worth_waiting_for(self, now: float) -> Iterator[Candidate]:
        """Yield the doubtful candidates that `run --once` waits for: not those that go on changing."""
        patience = self.settle_seconds + _ONCE_PATIENCE_SECONDS
        return (candidate for candidate, doubt in self._doubts.items() if now < doubt.first_at + patience)

    def _forget_old(self, now: float) -> None:
        """Drop what has not been heard of for long: these files are gone."""
        if len(self._doubts) >= CAPACITY:
            last = now - self.settle_seconds - _FORGOTTEN_AFTER_SECONDS
            self._doubts = {candidate: doubt for candidate, doubt in self._doubts.items() if doubt.since > last}
