"""Which files stopped changing. Pure: clock and stat are passed in."""

from dataclasses import dataclass, field
from itertools import islice, takewhile

from imageguard_daemon.core.model import FileIdentity

SENT_AWAY_REMEMBERED = 100_000
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

    Files that have changed while they waited have half of the places at most, and give them up where there is no room
    for a new one: whoever keeps thousands changing, or open, must not keep those of others out. What has lost its place
    is found again by its next event or by a walk.
    """

    settle_seconds: float
    capacity: int
    _line: dict[str, _Still] = field(default_factory=dict)
    _restless: dict[str, None] = field(default_factory=dict)
    """Those that have changed while they waited."""
    _sent_away: dict[int, None] = field(default_factory=dict)
    """Hashes of the paths of those that have lost their places."""

    def __len__(self) -> int:
        return len(self._line)

    def __contains__(self, path: str) -> bool:
        return path in self._line

    @property
    def full(self) -> bool:
        """Whether there is no room for another file, and none that would give up its place."""
        return len(self._line) >= self.capacity and not self._restless

    def observe(self, path: str, seen: Seen, now: float) -> None:
        """Note what a file looks like now; a look that differs from the last one starts its wait again."""
        still = self._line.get(path)
        if still is None and not self.full:
            if len(self._line) >= self.capacity:
                self._send_one_away()
            if hash(path) in self._sent_away:
                self.restart(path, seen, now)
            else:
                self._line[path] = _Still(seen, now)
        elif still is not None and still.seen != seen:
            self.restart(path, seen, now)

    def restart(self, path: str, seen: Seen, now: float) -> None:
        """Start the wait again: the file has changed, or is known to be still open for writing."""
        self.forget(path)
        if len(self._restless) >= max(1, self.capacity // 2):
            self._send_one_away()
        self._line[path] = _Still(seen, now)
        self._restless[path] = None

    def forget(self, path: str) -> None:
        """Drop a file that is gone or handed on."""
        self._line.pop(path, None)
        self._restless.pop(path, None)

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

    def _send_one_away(self) -> None:
        path = next(iter(self._restless))
        self.forget(path)
        self._sent_away[hash(path)] = None
        if len(self._sent_away) > SENT_AWAY_REMEMBERED:
            del self._sent_away[next(iter(self._sent_away))]

    def next_due(self) -> float | None:
        """Say when the next file's wait is over, if there is one."""
        first = next(iter(self._line.values()), None)
        return first.since + self.settle_seconds if first else None
