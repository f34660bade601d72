"""Which shard is to be sent next, and what is to be done about those that fail or linger. Pure: time is passed in.

A shard that takes its process down takes the others in work with it, and nobody knows which one did it. Those that
were in work at two such losses are suspects: they go alone from then on, so that the blame is exact.
"""

import statistics
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from imageguard_daemon.batch.backfill.shards import Task

_DURATIONS_KEPT = 101
_MOST_COPIES = 2
_TIMES_LONGER = 4.0


@dataclass(slots=True, eq=False)
class Flight:
    """A task in work: how often it has failed, how many copies of it are out, and since when the last."""

    task: Task
    failures: int = 0
    losses: int = 0
    copies: int = 0
    sent_at: float = 0.0
    reasons: list[str] = field(default_factory=list)

    @property
    def is_suspect(self) -> bool:
        """Whether it may be what takes processes down."""
        return self.losses >= 2


class Schedule:
    """What is in work, and what is next. `attempts` is how often a shard may fail before it is given up."""

    def __init__(self, tasks: Iterator[Task], *, attempts: int, linger_seconds: float) -> None:
        self._tasks = tasks
        self._attempts = attempts
        self._linger_seconds = linger_seconds
        self._again: deque[Flight] = deque()
        self._suspects: deque[Flight] = deque()
        self._durations: deque[float] = deque(maxlen=_DURATIONS_KEPT)
        self._in_work: dict[int, Flight] = {}
        self._exhausted = False

    @property
    def in_work(self) -> int:
        """How many copies of tasks are out."""
        return sum(flight.copies for flight in self._in_work.values())

    def next(self, now: float, slots: int) -> Flight | None:
        """Give what is to be sent now, if there is room for it: each counts as sent."""
        if self.in_work >= slots or any(flight.is_suspect for flight in self._in_work.values()):
            return None
        flight = self._again.popleft() if self._again else self._fresh()
        if flight is None and self._suspects and not self._in_work:
            flight = self._suspects.popleft()
        if flight is None:
            flight = self._lingering(now)
        if flight is not None:
            flight.copies += 1
            flight.sent_at = now
            self._in_work[flight.task.shard.number] = flight
        return flight

    def done(self, flight: Flight, now: float) -> bool:
        """Note that a copy came back well; tell whether it is the first of its shard."""
        is_first = self._in_work.pop(flight.task.shard.number, None) is flight
        if is_first:
            self._durations.append(now - flight.sent_at)
        return is_first

    def failed(self, flight: Flight, why: str, *, is_final: bool = False) -> bool:
        """Note that a copy came back with an error; tell whether its shard is given up by that.

        A final error is one after which no further attempt is made.
        """
        if self._in_work.get(flight.task.shard.number) is not flight:
            return False  # another copy has done it
        flight.copies -= 1
        flight.failures += 1
        flight.reasons.append(why)
        if flight.copies:
            return False
        del self._in_work[flight.task.shard.number]
        if is_final or flight.failures >= self._attempts:
            return True
        self._again.append(flight)
        return False

    def lost(self, why: str) -> list[Flight]:
        """Note that all that was in work is lost, with the processes it was in; give the shards given up by that."""
        flights, self._in_work = list(self._in_work.values()), {}
        given_up = []
        for flight in flights:
            alone = len(flights) == 1
            flight.copies = 0
            flight.losses += 1
            flight.failures += alone
            flight.reasons.append(why)
            if flight.failures >= self._attempts:
                given_up.append(flight)
            else:
                (self._suspects if flight.is_suspect else self._again).append(flight)
        return given_up

    def _fresh(self) -> Flight | None:
        task = None if self._exhausted else next(self._tasks, None)
        self._exhausted = self._exhausted or task is None
        return None if task is None else Flight(task)

    def _lingering(self, now: float) -> Flight | None:
        """Give the shard that has been out for much longer than others take, for a second copy of it."""
        if not self._durations:
            return None
        patience = max(self._linger_seconds, _TIMES_LONGER * statistics.median(self._durations))
        lingering = [
            flight
            for flight in self._in_work.values()
            if flight.copies < _MOST_COPIES and now - flight.sent_at > patience
        ]
        return min(lingering, key=lambda flight: flight.sent_at, default=None)
