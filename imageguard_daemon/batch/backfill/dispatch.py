"""Sends shards to an executor and takes their results, with so many out at a time and no more."""

import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait

import structlog

from imageguard_daemon.batch.backfill.executors import Fleet
from imageguard_daemon.batch.backfill.rules.schedule import Flight, Schedule
from imageguard_daemon.batch.backfill.shard_file import Made, make_result
from imageguard_daemon.batch.backfill.shards import Task
from imageguard_daemon.core.errors import FatalError, UnavailableError
from imageguard_daemon.core.names import printable

_LONGEST_WAIT_SECONDS = 1.0

log = structlog.get_logger(__name__)
GiveUp = Callable[[Task, str], None]
Take = Callable[[Task, Made], None]


class Driver:
    """Drives one back-fill. `take` gets each shard's result once, `give_up` each shard that failed for good."""

    def __init__(self, fleet: Fleet, schedule: Schedule, take: Take, give_up: GiveUp) -> None:
        self._fleet = fleet
        self._schedule = schedule
        self._take = take
        self._give_up = give_up
        self._out: dict[Future[Made], Flight] = {}

    def run(self, check: Callable[[], None], tick: Callable[[int], None]) -> None:
        """Work until all is done. What `check` raises ends it between results; `tick` is told how many shards are out.

        Raises:
            FatalError: no shard can be scored any more, for a reason that concerns all of them.
        """
        while True:
            check()
            self._send()
            if not self._schedule.in_work:
                return
            done, _ = wait(self._out, _LONGEST_WAIT_SECONDS, FIRST_COMPLETED)
            self._fleet.check()
            self._collect(done)
            tick(self._schedule.in_work)

    def _send(self) -> None:
        while (flight := self._schedule.next(time.monotonic(), self._fleet.slots)) is not None:
            try:
                future = self._fleet.executor.submit(make_result, flight.task)
            except Exception as error:
                if not self._fleet.is_lost(error):
                    raise
                self._begin_anew(error)
            else:
                if not isinstance(future, Future):
                    raise UnavailableError(f"the executor gave {_kind(future)} where a Future was due")
                self._out[future] = flight

    def _collect(self, done: "set[Future[Made]]") -> None:
        lost = None
        for future in done:
            flight, error = self._out.pop(future), _error_of(future)
            if error is None:
                made = _checked(future.result(), flight.task)
                if self._schedule.done(flight, time.monotonic()):
                    self._take(flight.task, made)
            elif self._fleet.is_lost(error):
                lost = error  # what came back well beside it is taken first
            else:
                self._note_failure(flight, error)
        if lost is not None:
            self._begin_anew(lost)

    def _note_failure(self, flight: Flight, error: BaseException) -> None:
        if isinstance(error, FatalError):
            raise error
        why = in_words(error)
        log.warning("a shard failed", shard=flight.task.shard.number, why=why)
        if self._schedule.failed(flight, why, is_final=self._fleet.is_final(error)):
            self._give_up(flight.task, why)

    def _begin_anew(self, error: BaseException) -> None:
        """Get a new executor; what was out goes out again."""
        why = f"its worker was lost: {in_words(error)}"
        self._out.clear()
        for flight in self._schedule.lost(why):
            self._give_up(flight.task, why)
        log.warning("what was in work is lost; it goes out again", why=in_words(error))
        self._fleet.renew()


def _checked(made: object, task: Task) -> Made:
    """Give what came back, if it is the result of that task.

    Raises:
        UnavailableError: it is not: the executor does not run what it is given, or mixes up the answers.
    """
    if not isinstance(made, Made):
        raise UnavailableError(f"the executor gave {_kind(made)} where the result of a shard was due")
    facts = made.facts
    if (facts.number, facts.digest, facts.terms) != (task.shard.number, task.digest, task.terms):
        raise UnavailableError(f"the executor gave the result of shard {facts.number} for shard {task.shard.number}")
    return made


def _kind(thing: object) -> str:
    return f"something of type {printable(type(thing).__name__)}"


def _error_of(future: "Future[Made]") -> BaseException | None:
    try:
        return future.exception()
    except CancelledError as error:
        return error


def in_words(error: BaseException) -> str:
    """Say what an error of an executor says, in one line."""
    told, kind = " ".join(str(error).split()), type(error).__name__
    if told in {"", kind}:
        return kind
    return printable(told if isinstance(error, FatalError) else f"{kind}: {told}")[:300]
