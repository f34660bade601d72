"""What the daemon has done since it started, for the status line, `status` and the log."""

from collections import Counter, deque
from dataclasses import dataclass, field

RATE_WINDOW_SECONDS = 30.0


@dataclass(slots=True)
class Totals:
    """Counts since the start, and the rate over the last half minute."""

    verdicts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    _times: deque[float] = field(default_factory=lambda: deque(maxlen=100_000))

    def count(self, verdict: str, reason: str, now: float) -> None:
        """Add one image that was judged and moved."""
        self.verdicts[verdict] += 1
        if reason:
            self.reasons[reason] += 1
        self._times.append(now)

    @property
    def total(self) -> int:
        """How many images were judged and moved."""
        return self.verdicts.total()

    def images_per_second(self, now: float) -> float:
        """Give the rate over the last half minute."""
        while self._times and self._times[0] < now - RATE_WINDOW_SECONDS:
            self._times.popleft()
        if not self._times:
            return 0.0
        return len(self._times) / max(now - self._times[0], 1.0)
