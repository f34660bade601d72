"""Keeps an engine supplied with shards, so many at a time and no more, and takes their results.

Where a shard runs and when is the engine's business. Nothing but `concurrent.futures` is asked of it, and that knows
neither a second attempt nor a second copy of what takes too long: those two are here.
"""

import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Future, wait
from dataclasses import dataclass
from typing import Protocol

import structlog

from imageguard_daemon.batch.backfill.engines import Engine
from imageguard_daemon.batch.backfill.results import ShardResult, make_result
from imageguard_daemon.batch.backfill.shards import ShardTask
from imageguard_daemon.core.errors import FatalError, UnavailableError
from imageguard_daemon.core.names import printable

_LONGEST_WAIT_SECONDS = 1.0
_DURATIONS_KEPT = 101
_MAX_COPIES = 2
_TIMES_LONGER = 4.0
_MAX_LOSSES = 5
"""So often the engine may go with a shard in work; no more, as the shard may be what takes it down."""

log = structlog.get_logger(__name__)


class Sink(Protocol):
    """Where results go."""

    def take(self, task: ShardTask, result: ShardResult) -> None:
        """Take the result of a shard; each comes once."""

    def give_up(self, task: ShardTask, why: str) -> None:
        """Note that a shard failed for good."""


@dataclass(slots=True, eq=False)
class _Job:
    """A task in work: how often it has failed, how many copies of it are out, and since when the last."""

    task: ShardTask
    failures: int = 0
    losses: int = 0
    copies: int = 0
    sent_at: float = 0.0


class Dispatcher:
    """Dispatches the tasks of one back-fill, to an engine and from there to a sink.

    `attempts` is how often a shard may fail before it is given up. One that is out for longer than `linger_seconds`,
    and than four times what others take, is sent a second time; the first result counts.
    """

    def __init__(
        self, engine: Engine, tasks: Iterator[ShardTask], sink: Sink, *, attempts: int, linger_seconds: float
    ) -> None:
        self._engine = engine
        self._tasks = tasks
        self._sink = sink
        self._attempts = attempts
        self._linger_seconds = linger_seconds
        self._again: deque[_Job] = deque()
        self._durations: deque[float] = deque(maxlen=_DURATIONS_KEPT)
        self._out: dict[Future[ShardResult], _Job] = {}

    def run(self, check: Callable[[], None], tick: Callable[[int], None]) -> None:
        """Work until all is done. What `check` raises ends it between results; `tick` is told how many shards are out.

        Raises:
            FatalError: no shard can be scored any more, for a reason that concerns all of them.
        """
        while True:
            check()
            self._supply()
            if not self._out:
                return
            done, _ = wait(self._out, _LONGEST_WAIT_SECONDS, FIRST_COMPLETED)
            self._engine.check()
            self._collect(done)
            tick(len(self._out))

    # --- out

    def _supply(self) -> None:
        """Send as many as there is room for; the list is read no further than that."""
        while len(self._out) < self._engine.capacity and (job := self._next()) is not None:
            try:
                future = self._engine.executor.submit(make_result, job.task)
            except Exception as error:
                if not self._engine.is_lost(error):
                    raise
                self._again.append(job)
                self._begin_anew(error)
                continue
            if not isinstance(future, Future):
                raise UnavailableError(f"the executor gave {_kind(future)} where a Future was due")
            job.copies, job.sent_at = job.copies + 1, time.monotonic()
            self._out[future] = job

    def _next(self) -> _Job | None:
        if self._again:
            return self._again.popleft()
        task = next(self._tasks, None)
        return self._lingering() if task is None else _Job(task)

    def _lingering(self) -> _Job | None:
        """Give the shard that has been out for much longer than others take, for a second copy of it."""
        if not self._durations:
            return None
        longest = max(self._linger_seconds, _TIMES_LONGER * statistics.median(self._durations))
        overdue = time.monotonic() - longest
        lingering = [job for job in self._out.values() if job.copies < _MAX_COPIES and job.sent_at < overdue]
        return min(lingering, key=lambda job: job.sent_at, default=None)

    # --- and back

    def _collect(self, done: "set[Future[ShardResult]]") -> None:
        lost = None
        for future in done & self._out.keys():
            error = _error_of(future)
            if error is not None and self._engine.is_lost(error):
                lost = error  # what came back well beside it is taken first
            elif (job := self._out.pop(future, None)) is None:
                continue  # another copy was quicker, a moment ago
            elif error is None:
                self._note_done(job, _checked(future.result(), job.task))
            else:
                self._note_failure(job, error)
        if lost is not None:
            self._begin_anew(lost)

    def _note_done(self, job: _Job, result: ShardResult) -> None:
        # Copies that are still out count no more: neither their results nor their errors, nor the room they take.
        self._out = {future: other for future, other in self._out.items() if other is not job}
        self._durations.append(time.monotonic() - job.sent_at)
        self._sink.take(job.task, result)

    def _note_failure(self, job: _Job, error: BaseException) -> None:
        if isinstance(error, FatalError):
            raise error
        why = in_words(error)
        if isinstance(error, BrokenExecutor):
            log.warning("what was in work is lost; it goes out again", why=why)
            why = f"its worker was lost: {why}"
        else:
            log.warning("a shard failed", shard=job.task.shard.number, why=why)
        job.copies -= 1
        job.failures += 1
        if job.copies:
            return  # another copy is still at it
        if job.failures >= self._attempts or self._engine.is_final(error):
            self._sink.give_up(job.task, why)
        else:
            self._again.append(job)

    def _begin_anew(self, error: BaseException) -> None:
        """Get a new executor; what was out goes out again."""
        why = in_words(error)
        log.warning("what was in work is lost; it goes out again", why=why)
        jobs, self._out = dict.fromkeys(self._out.values()), {}
        for job in jobs:
            job.copies = 0
            job.losses += 1
            if job.losses < _MAX_LOSSES:
                self._again.append(job)
            else:
                self._sink.give_up(job.task, f"its worker was lost: {why}")
        self._engine.renew()


def _checked(result: object, task: ShardTask) -> ShardResult:
    """Give what came back, if it is the result of that task.

    Raises:
        UnavailableError: it is not: the executor does not run what it is given, or mixes up the answers.
    """
    if not isinstance(result, ShardResult):
        raise UnavailableError(f"the executor gave {_kind(result)} where the result of a shard was due")
    footer, shard = result.footer, task.shard
    if (footer.number, footer.digest, footer.terms) != (shard.number, task.digest, task.terms):
        raise UnavailableError(f"the executor gave the result of shard {footer.number} for shard {shard.number}")
    return result


def _kind(thing: object) -> str:
    return f"something of type {printable(type(thing).__name__)}"


def _error_of(future: "Future[ShardResult]") -> BaseException | None:
    try:
        return future.exception()
    except CancelledError as error:
        return error


def in_words(error: BaseException) -> str:
    """Say what an error of an executor says, in one line."""
    message, kind = " ".join(str(error).split()), type(error).__name__
    if message in {"", kind}:
        return kind
    return printable(message if isinstance(error, FatalError) else f"{kind}: {message}")[:300]
