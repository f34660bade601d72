"""Supervised worker processes: a crash, a hang or a bomb costs the one file that caused it."""

import errno
import math
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TookTooLong
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from itertools import count
from queue import Empty, SimpleQueue

import structlog
from pebble import ProcessExpired, ProcessPool

from imageguard_daemon.config import Scoring
from imageguard_daemon.core.errors import (
    NO_ROOM,
    FatalError,
    ImageguardError,
    NotBegunError,
    ReplacedError,
    RetryableError,
    StalledError,
)
from imageguard_daemon.core.model import Candidate, Measurement
from imageguard_daemon.core.processes import installed_edition
from imageguard_daemon.core.resource_limits import allowance
from imageguard_daemon.quality import OPENCV_ENVIRONMENT
from imageguard_daemon.quality.decode.limits import Limits
from imageguard_daemon.quality.readout import Readout, configured, scorer_by
from imageguard_daemon.quality.version import loops_here
from imageguard_daemon.sandbox import worker_process
from imageguard_daemon.sandbox.losses import Cause, Loss, issue_of
from imageguard_daemon.sandbox.worker_plan import plan_workers
from imageguard_daemon.sandbox.worker_process import BATCH_SECONDS, Answer, Board

_MEGABYTE = 1 << 20
_BATCHES_FOR_EACH_WORKER = 2
"""One at hand and one ahead: enough that none waits for the daemon, few enough to stop quickly."""
_FILES_IN_A_BATCH = 32
_BYTES_IN_A_BATCH = 4 * _MEGABYTE
"""A message costs as much as measuring a small image; one about several pays for itself, and large ones need none."""
_GRACE_SECONDS = 1.0
_KILLED_FROM_OUTSIDE = {-signal.SIGKILL, -signal.SIGTERM}
"""No decoder ends itself like this; the kernel short of memory does, and people do."""
_POOLS_LOST_IN_A_ROW = 5
_BEGIN_SECONDS = 60.0
"""So long new processes may take to begin, on a machine with much to do."""
_SLOTS = 1 << 12
_END_SECONDS = 10.0
"""More than batches there can be at a time: 256 workers, two each, and what is tried again."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Task:
    """A candidate in work; `losses` tells what earlier attempts did to their workers."""

    candidate: Candidate
    path: str
    losses: tuple[Loss, ...] = ()
    issue: tuple[str, str] | None = None

    @property
    def is_dangerous(self) -> bool:
        """Whether the file is not to be decoded any more."""
        return self.issue is not None


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Tasks that one worker gets in one message. `slot` is its place on the board."""

    tasks: tuple[Task, ...]
    slot: int


@dataclass(frozen=True, slots=True)
class Finished:
    """What came back for a candidate: a measurement, or the error that prevented one."""

    candidate: Candidate
    measurement: Measurement | None = None
    error: OSError | ImageguardError | None = None


class Workers:
    """A pool of processes that measure. One thread only; `wake` is called from others when something finished.

    With `checks`, images are checked against the checksums that their senders put beside them. The readout that the
    settings name is read here, once, unless it is given; all processes measure by what stood in it, also those that
    are started later.

    Raises:
        NoInputError, PermissionDeniedError, ConfigError: there is none to be had where they name one.
    """

    def __init__(
        self, settings: Scoring, wake: Callable[[], None], *, checks: bool = False, readout: Readout | None = None
    ) -> None:
        self._readout = readout or configured(settings.readout)
        self._readout_digest = self._readout.digest if self._readout else ""
        self._code = loops_here()
        self._limits = Limits(
            max_pixels=settings.max_pixels,
            max_bytes=settings.max_megabytes * _MEGABYTE,
            cpu_seconds=math.ceil(settings.timeout_seconds),
        )
        self._timeout_seconds = settings.timeout_seconds
        # One limit for reading, one for decoding; a worker ends a hanging decoder by itself.
        self._longest_seconds = BATCH_SECONDS + 2 * settings.timeout_seconds + _GRACE_SECONDS
        self._wake = wake
        self._checks = checks
        self.plan = plan_workers(settings, len(os.sched_getaffinity(0)), allowance())
        self._count = self.plan.count
        self._results: SimpleQueue[tuple[Batch, Future[list[Answer]]]] = SimpleQueue()
        self._in_work: dict[Candidate, Task] = {}
        self._sent: dict[int, Batch] = {}
        self._not_started: list[Finished] = []
        self._stopping = False
        self.messages = 0
        self.mishaps = 0
        self.pools_replaced = 0
        self._board = Board(_SLOTS)
        self._edition = installed_edition()
        self._pool = self._new_pool()
        self._pools_lost = 0
        self._last_news_at = 0.0

    def tell_plan(self) -> None:
        """Log how many workers there are, how large they may grow, and what made that less than it could be."""
        limits = {"limited_by": self.plan.because} if self.plan.because else {}
        log.info("workers", number=self.plan.count, megabytes_each=self.plan.megabytes, **limits)

    @property
    def scorer_version(self) -> str:
        """By which scorer they measure, as records name it."""
        return scorer_by(self._readout)

    @property
    def in_work(self) -> int:
        """How many candidates are with the workers."""
        return len(self._in_work)

    @property
    def has_room(self) -> bool:
        """Whether another batch should be submitted."""
        return len(self._sent) < self._count * _BATCHES_FOR_EACH_WORKER

    def share_of(self, waiting: int) -> int:
        """Say how many of so many waiting candidates make a batch: few are spread over all workers."""
        return max(1, min(_FILES_IN_A_BATCH, waiting // (self._count * _BATCHES_FOR_EACH_WORKER)))

    def submit(self, files: Sequence[tuple[Candidate, str]]) -> None:
        """Have files measured, candidates with their paths: together as far as that makes the whole quicker."""
        batch: list[Task] = []
        room = _BYTES_IN_A_BATCH
        for candidate, path in files:
            size_bytes = candidate.settled.size_bytes if candidate.settled else 0
            if batch and size_bytes > room:
                self._start(batch)
                batch, room = [], _BYTES_IN_A_BATCH
            batch.append(Task(candidate, path))
            room -= size_bytes
        self._start(batch)

    def finished(self) -> list[Finished]:
        """Collect what has finished since the last time, without waiting."""
        collected, self._not_started = self._not_started, []
        while True:
            try:
                batch, future = self._results.get_nowait()
            except Empty:
                self._revive_if_silent()
                break
            if self._sent.get(batch.slot) is not batch:
                continue  # of a pool that was replaced, and started again in the new one
            self._last_news_at = time.monotonic()
            collected += self._outcomes(batch, future)
        for one in collected:
            self._in_work.pop(one.candidate, None)
        return collected

    def begin_nothing_more(self) -> None:
        """From now on let go of what a worker was given and had no time for: it stays in the inbox."""
        self._stopping = True

    def stop(self) -> None:
        """End all worker processes at once; unfinished files are still in the inbox."""
        for process in multiprocessing.active_children():
            process.kill()  # asking politely first takes seconds when a decoder hangs
        self._pool.stop()  # type: ignore[no-untyped-call]
        # The library's own join waits for its threads without a limit; they do not keep the process alive.
        joining = threading.Thread(target=self._pool.join, name="workers' end", daemon=True)
        joining.start()
        joining.join(_END_SECONDS)
        if joining.is_alive():
            log.warning("worker processes do not end; they are left to the system")

    def _new_pool(self) -> ProcessPool:
        for library in ("OPENBLAS", "OMP"):  # whatever the user wants: a confined decoder can start no thread
            os.environ[f"{library}_NUM_THREADS"] = "1"
        for name, value in OPENCV_ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        pool = ProcessPool(
            max_workers=self._count,
            context=multiprocessing.get_context("spawn"),  # a fork would inherit the daemon's threads and locks
            initializer=worker_process.begin,
            initargs=(self.plan.memory_bytes, self._board, self._edition, self._readout and self._readout.content),
        )
        try:
            bool(pool.active)  # asking starts the processes now, to be warm when the first file has settled
        except OSError as error:
            where = " in /dev/shm, where their locks are made" if error.errno in NO_ROOM else ""
            raise StalledError(f"worker processes cannot be started: {error.strerror}{where}") from error
        except RuntimeError:
            pass  # what hinders it hinders the first task, too, which says so
        return pool

    def _replace_pool(self) -> None:
        """Begin with new processes: the pool does not survive losing a worker that has no task."""
        self._require_same_edition()
        self._pools_lost += 1
        if self._pools_lost > _POOLS_LOST_IN_A_ROW:
            raise StalledError(  # too little memory is the usual cause, and passes
                "worker processes end before they have done anything: the reason stands above, or they were killed "
                "for lack of memory, or scoring.worker_memory_megabytes is too small"
            )
        log.warning("worker processes were lost; starting new ones")
        self.pools_replaced += 1
        self.stop()
        self._pool = self._new_pool()
        self._last_news_at = time.monotonic()
        lost, self._sent = list(self._sent.values()), {}
        for batch in lost:
            self._start(batch.tasks)

    def _require_same_edition(self) -> None:
        """End when processes that start from now on would be of another edition.

        Raises:
            ReplacedError: always then.
        """
        if self._edition != installed_edition():
            raise ReplacedError(worker_process.REPLACED)

    def _revive_if_silent(self) -> None:
        """Replace processes that neither answer nor end: the time limit counts only for tasks they have begun."""
        silence = time.monotonic() - self._last_news_at
        if self._in_work and silence > self._longest_seconds + _BEGIN_SECONDS:
            self._replace_pool()

    def _start(self, tasks: Sequence[Task]) -> None:
        if not self._in_work:
            self._last_news_at = time.monotonic()
        self.messages += 1
        slot = next(n for n in (number % _SLOTS for number in count(self.messages)) if n not in self._sent)
        batch = Batch(tuple(tasks), slot)
        self._sent[batch.slot] = batch
        self._in_work.update((task.candidate, task) for task in tasks)
        if not self._pool.active:
            self._replace_pool()
            return
        self._board.clear(batch.slot)
        function, arguments = self._call_for(batch)
        try:
            future = self._pool.schedule(function, args=arguments, timeout=self._longest_seconds)
        except (OSError, RuntimeError) as error:  # no memory, descriptors or threads for processes just now
            del self._sent[batch.slot]
            stalled = StalledError(f"no worker processes: {error}")
            self._not_started += [Finished(task.candidate, error=stalled) for task in tasks]
            return
        future.add_done_callback(lambda done: self._note(batch, done))

    def _call_for(self, batch: Batch) -> tuple[Callable[..., list[Answer]], tuple[object, ...]]:
        paths = [task.path for task in batch.tasks]
        if batch.tasks[0].is_dangerous:
            return worker_process.fingerprint, (paths[0], batch.slot)
        arguments = (paths, self._limits, batch.slot, self._timeout_seconds, self._checks)
        return worker_process.measure_batch, arguments

    def _note(self, batch: Batch, future: "Future[list[Answer]]") -> None:
        self._results.put((batch, future))
        self._wake()

    def _outcomes(self, batch: Batch, future: "Future[list[Answer]]") -> list[Finished]:
        """Interpret a finished batch; what is started again is left out."""
        error = future.exception()
        if isinstance(error, BrokenProcessPool):
            self._replace_pool()  # no fault of these files
            return []
        del self._sent[batch.slot]
        self._pools_lost = 0
        if error is None:
            answers = future.result()
            self._go_on_with(batch.tasks[len(answers) :])
            outcomes = map(self._outcome, batch.tasks, answers)
            return [outcome for outcome in outcomes if outcome is not None]
        self._require_same_edition()
        if not _is_lost_worker(error):
            raise error
        return self._after_lost_worker(batch, error)

    def _go_on_with(self, tasks: Sequence[Task]) -> None:
        """Hand out again what a worker had no time for, or what got lost with it through no fault of its own."""
        if self._stopping:
            for task in tasks:
                del self._in_work[task.candidate]
        elif tasks:
            self._start(tasks)

    def _outcome(self, task: Task, answer: Answer) -> Finished | None:
        """Interpret one file's answer; None when it was started again."""
        if isinstance(answer, FatalError):  # no decoder can be had here: every file would meet the same
            raise answer
        if isinstance(answer, Loss):
            return self._after_loss(task, answer)
        if isinstance(answer, Measurement):
            measured = self._with_issue(task, answer)
            return Finished(task.candidate, replace(measured, readout=self._readout_digest, code=self._code))
        return Finished(task.candidate, error=answer)

    def _after_lost_worker(self, batch: Batch, error: BaseException) -> list[Finished]:
        """Find out over which file of a batch its worker was lost; the others pay nothing for it."""
        at = self._board.at(batch.slot)
        if at is None:  # before it began
            self._go_on_with(batch.tasks)
            return []
        task = batch.tasks[at]
        others = [*batch.tasks[:at], *batch.tasks[at + 1 :]]
        if isinstance(error, TookTooLong) and self._board.is_reading(batch.slot):
            self.mishaps += 1
            waited = f"that took longer than {self._timeout_seconds:g} s; is its disk or mount in order?"
            hung = OSError(errno.ETIMEDOUT, waited)
            # The others may hang one after another: the end of the pause finds them again.
            let_go = [Finished(other.candidate, error=NotBegunError("not begun: its disk hangs")) for other in others]
            return [Finished(task.candidate, error=hung), *let_go]
        self._go_on_with(others)
        outcome = self._after_loss(task, self._loss(error))
        return [] if outcome is None else [outcome]

    def _loss(self, error: BaseException) -> Loss:
        if isinstance(error, MemoryError):
            return Loss("needs more memory than a worker may have", Cause.limited)
        if not isinstance(error, ProcessExpired):
            # A decoder that takes long is ended by its worker: one that has not come to it says nothing of the image.
            return Loss(f"took longer than {self._timeout_seconds:g} s, though its decoder may not", Cause.killed)
        if error.exitcode in _KILLED_FROM_OUTSIDE:
            return Loss("was killed, perhaps for lack of memory", Cause.killed)
        return Loss(f"ended its worker process with code {error.exitcode}")

    def _after_loss(self, task: Task, loss: Loss) -> Finished | None:
        """Try a file that took its process down once more, then only take its fingerprint, then give up."""
        self.mishaps += 1
        if task.is_dangerous:
            return Finished(task.candidate, error=RetryableError(f"cannot even be read: {loss.told}"))
        losses = (*task.losses, loss)
        try:
            self._start([replace(task, losses=losses, issue=issue_of(losses))])
        except RetryableError as error:
            return Finished(task.candidate, error=error)
        return None

    @staticmethod
    def _with_issue(task: Task, measurement: Measurement) -> Measurement:
        return replace(measurement, issue=task.issue[0], detail=task.issue[1]) if task.issue else measurement


def _is_lost_worker(error: BaseException) -> bool:
    return isinstance(error, ProcessExpired | TookTooLong | MemoryError)
