"""Which files stopped changing. Pure: clock and stat are passed in."""

from dataclasses import dataclass, field
from itertools import islice, takewhile

from imageguard_daemon.model import FileIdentity

Seen = tuple[FileIdentity | None, ...]
"""What was seen of a file and the files that go with it; None for one that is not there."""


@dataclass(frozen=True, slots=True)
class _Still:
    seen: Seen
    since: float


@dataclass(slots=True)
class Settling:
    """Remembers since when each file has looked the same, for at most `capacity` files.

    Times are seconds of a monotonic clock. Every change puts a file at the end of the line, so that the line is
    always in the order in which files can become ready and nothing is ever searched.
    """

    settle_seconds: float
    capacity: int
    _line: dict[str, _Still] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._line)

    def __contains__(self, path: str) -> bool:
        return path in self._line

    @property
    def full(self) -> bool:
        """Whether there is no room for another file."""
        return len(self._line) >= self.capacity

    def observe(self, path: str, seen: Seen, now: float) -> None:
        """Note what a file looks like now; a look that differs from the last one starts its wait again."""
        known = self._line.get(path)
        if known is None and self.full:
            return
        if known is None or known.seen != seen:
            self._line.pop(path, None)
            self._line[path] = _Still(seen, now)

    def restart(self, path: str, seen: Seen, now: float) -> None:
        """Start the wait again whatever the file looks like: it is known to be still open for writing."""
        self._line.pop(path, None)
        self._line[path] = _Still(seen, now)

    def forget(self, path: str) -> None:
        """Drop a file that is gone or handed on."""
        self._line.pop(path, None)

    def due(self, now: float, limit: int) -> list[str]:
        """Give, longest wait first, at most `limit` files whose wait is over; each needs one more look."""
        over = takewhile(lambda item: item[1].since + self.settle_seconds <= now, self._line.items())
        return [path for path, _ in islice(over, limit)]

    def settled(self, path: str, seen: Seen, now: float) -> bool:
        """Take one more look; True when the file has looked like this for `settle_seconds`."""
        self.observe(path, seen, now)
        still = self._line.get(path)
        return still is not None and now >= still.since + self.settle_seconds

    def paths(self) -> list[str]:
        """Give all that are waiting, the one that has waited longest first."""
        return list(self._line)

    def since(self, path: str, now: float) -> float:
        """Say since when a file has looked the same; now for one that is not known."""
        still = self._line.get(path)
        return still.since if still is not None else now

    def next_due(self) -> float | None:
        """Say when the next file's wait is over, if there is one."""
        first = next(iter(self._line.values()), None)
        return first.since + self.settle_seconds if first else None
