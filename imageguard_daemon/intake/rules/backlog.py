"""The bounded, de-duplicated hand-over from intake to the workers; knows what is in work and what has failed.

Nothing here is durable, on purpose: the inbox is the queue, this only caches what was seen of it.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from imageguard_daemon.core.backoff import Backoff
from imageguard_daemon.core.model import Candidate, FileIdentity, Role

PAUSES = Backoff(first_seconds=2.0, longest_seconds=300.0)
REMEMBERED_FAILURES = 10_000


@dataclass(frozen=True, slots=True)
class Failure:
    """A candidate that could not be handled for a reason that may pass."""

    candidate: Candidate
    attempts: int
    retry_at: float | None
    """Monotonic time of the next attempt; None when it waits for a person or for the file to change."""
    error: str
    other_content_only: bool = False
    """Only other bytes are a reason to try again early: our own attempts change names, and so the rest of its state."""


@dataclass(slots=True)
class Backlog:
    """Candidates on their way through the daemon. One thread only.

    A candidate is *waiting*, then *in work* until `done` or `failed` is called. Failed ones are set aside for a
    pause that doubles each time, and for good after `max_attempts`. Sources take turns, and so do images and sidecars
    of each, and what is new and what failed before: a long queue of one, or one whose files take long to read, is not
    a queue for the others.
    """

    limit: int
    max_attempts: int
    retries: int = field(default=0, init=False)
    """How many times a candidate that had been set aside was let go of, to be looked at again."""
    _waiting: dict[tuple[str, Role, bool], deque[Candidate]] = field(default_factory=dict)
    """For the images and the sidecars of each source, new or tried before; what has the next turn comes first."""
    _held: set[Candidate] = field(default_factory=set)
    _set_aside: set[Candidate] = field(default_factory=set)
    _failures: dict[Candidate, Failure] = field(default_factory=dict)
    _changed_underway: dict[Candidate, FileIdentity | None] = field(default_factory=dict)

    def __contains__(self, candidate: Candidate) -> bool:
        """Tell whether intake should leave this candidate alone for now."""
        return candidate in self._held or candidate in self._set_aside

    def is_set_aside(self, candidate: Candidate) -> bool:
        """Tell whether a candidate failed and waits for its next attempt."""
        return candidate in self._set_aside

    def still_waits(self, failure: Failure) -> bool:
        """Tell whether this is the last that is known of a candidate, and it waits for its next attempt."""
        return self._failures.get(failure.candidate) is failure and failure.candidate in self._set_aside

    def is_new_failure(self, candidate: Candidate) -> bool:
        """Tell whether nothing is known yet against a candidate."""
        return candidate not in self._failures

    @property
    def room(self) -> int:
        """How many more candidates may be offered."""
        return max(0, self.limit - len(self._held))

    @property
    def held(self) -> int:
        """How many candidates are waiting or in work."""
        return len(self._held)

    @property
    def waiting(self) -> int:
        """How many candidates are waiting."""
        return sum(map(len, self._waiting.values()))

    @property
    def oldest(self) -> Candidate | None:
        """The candidate that arrived first, of those that are next in their source."""
        heads = (queue[0] for queue in self._waiting.values())
        return min(heads, key=lambda candidate: candidate.settled.ctime_ns if candidate.settled else 0, default=None)

    @property
    def failures(self) -> tuple[Failure, ...]:
        """What failed and has not succeeded since, oldest first."""
        return tuple(self._failures.values())

    def offer(self, candidate: Candidate) -> None:
        """Queue a candidate; one that is already here is not queued twice."""
        if candidate not in self:
            self._held.add(candidate)
            whose = (candidate.source, candidate.role, candidate in self._failures)
            self._waiting.setdefault(whose, deque()).append(candidate)

    def take(self, most: int = 1) -> list[Candidate]:
        """Hand out the oldest waiting candidates of those whose turn it is; they are in work from now on."""
        if not self._waiting:
            return []
        whose = next(iter(self._waiting))
        queue = self._waiting.pop(whose)
        taken = [queue.popleft() for _ in range(min(most, len(queue)))]
        if queue:
            self._waiting[whose] = queue  # behind all others
        return taken

    def done(self, candidate: Candidate) -> None:
        """Forget a candidate: it has moved, vanished, or is to be looked at afresh."""
        self._held.discard(candidate)
        self._set_aside.discard(candidate)
        self._failures.pop(candidate, None)

    def failed(self, candidate: Candidate, error: str, now: float) -> Failure:
        """Set a candidate aside for a while; for good when it has failed too often."""
        attempts = self._failures[candidate].attempts + 1 if candidate in self._failures else 1
        retry_at = now + PAUSES.after(attempts) if attempts < self.max_attempts else None
        return self._set(Failure(candidate, attempts, retry_at, error))

    def changed_underway(self, candidate: Candidate, error: str, now: float) -> Failure | None:
        """Count a file that was not the judged one in the end: None the first time, when it is to be looked at afresh.

        When it happens again with the same content, it is not a sender's doing but a failure like others.
        """
        before = self._changed_underway.pop(candidate, None)
        self._changed_underway[candidate] = candidate.settled
        if len(self._changed_underway) > REMEMBERED_FAILURES:
            del self._changed_underway[next(iter(self._changed_underway))]
        if before is None or candidate.settled is None or not before.looks_like(candidate.settled):
            return None
        return self._set(replace(self.failed(candidate, error, now), other_content_only=True))

    def postponed(self, candidate: Candidate, why: str, retry_at: float) -> Failure:
        """Set a candidate aside until a given time without counting it as an attempt."""
        return self._set(Failure(candidate, 0, retry_at, why))

    def retry_now(self, failure: Failure, now: float) -> None:
        """End the pause of a candidate: what it waited for has come."""
        if self.still_waits(failure):
            self._failures[failure.candidate] = replace(failure, retry_at=now)

    def take_retries(self, now: float) -> Iterator[Candidate]:
        """Let go of the candidates whose pause is over, and yield them: intake looks at them again."""
        for failure in self.failures:
            if failure.retry_at is not None and failure.retry_at <= now and failure.candidate in self._set_aside:
                self._set_aside.discard(failure.candidate)
                self.retries += 1
                yield failure.candidate

    def next_retry(self) -> float | None:
        """Say when the next pause is over, if there is one."""
        pauses = (f.retry_at for f in self._failures.values() if f.candidate in self._set_aside)
        return min((pause for pause in pauses if pause is not None), default=None)

    def changed(self, candidate: Candidate, seen: FileIdentity | None = None) -> None:
        """Give a candidate that was set aside a fresh chance: its file, as `seen`, is not the one that failed."""
        if candidate not in self._set_aside:
            return
        failure = self._failures.get(candidate)
        failed = failure.candidate.settled if failure and failure.other_content_only else None
        if not (seen and failed and failed.looks_like(seen)):
            self.done(candidate)

    def give_all_another_chance(self) -> None:
        """Forget all failures, so that the next walk finds their files again."""
        for candidate in list(self._set_aside):
            self.done(candidate)

    def _set(self, failure: Failure) -> Failure:
        self._held.discard(failure.candidate)
        self._failures.pop(failure.candidate, None)
        if len(self._failures) >= REMEMBERED_FAILURES:
            # What is forgotten is merely tried again early; what only waits is forgotten before what failed.
            waiting = (candidate for candidate, failure in self._failures.items() if not failure.attempts)
            oldest = next(waiting, next(iter(self._failures)))
            del self._failures[oldest]
            self._set_aside.discard(oldest)
        self._failures[failure.candidate] = failure
        self._set_aside.add(failure.candidate)
        return failure
