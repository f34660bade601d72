"""Supervised worker processes: a crash, a hang or a bomb costs the one file that caused it."""

import math
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TookTooLong
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue

import structlog
from pebble import ProcessExpired, ProcessPool

from imageguard_daemon.config import Scoring
from imageguard_daemon.errors import ImageguardError, RetryableError, StalledError, UnavailableError
from imageguard_daemon.model import Candidate, Measurement
from imageguard_daemon.names import printable
from imageguard_daemon.quality.decoding import Limits
from imageguard_daemon.service import worker_process
from imageguard_daemon.service.worker_process import Board

_MEGABYTE = 1 << 20
_AHEAD_OF_EACH_WORKER = 2
"""Tasks handed out for each worker: enough that none waits for the daemon, few enough to stop quickly."""
_MISHAPS_ALLOWED = 2
_KILLED_FROM_OUTSIDE = {-signal.SIGKILL, -signal.SIGTERM}
"""No decoder ends itself like this; the kernel short of memory does, and people do."""
_POOLS_LOST_IN_A_ROW = 5
_SILENT_TIME_LIMITS = 3
_SLOTS = 1 << 14
"""Many more than tasks there can be at a time, so that no two share one."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Task:
    """A candidate in work; `mishaps` tells what earlier attempts did to their workers."""

    candidate: Candidate
    path: str
    mishaps: tuple[str, ...] = ()
    slot: int = 0

    @property
    def is_dangerous(self) -> bool:
        """Whether the file is not to be decoded any more."""
        return len(self.mishaps) >= _MISHAPS_ALLOWED


@dataclass(frozen=True, slots=True)
class Finished:
    """What came back for a candidate: a measurement, or the error that prevented one."""

    candidate: Candidate
    measurement: Measurement | None = None
    error: OSError | ImageguardError | None = None


class Workers:
    """A pool of processes that measure. One thread only; `wake` is called from others when something finished."""

    def __init__(self, settings: Scoring, wake: Callable[[], None]) -> None:
        self._limits = Limits(
            max_pixels=settings.max_pixels,
            max_bytes=settings.max_megabytes * _MEGABYTE,
            cpu_seconds=math.ceil(settings.timeout_seconds),
        )
        self._timeout_seconds = settings.timeout_seconds
        self._wake = wake
        self._count = settings.workers or len(os.sched_getaffinity(0))
        self._results: SimpleQueue[tuple[Task, Future[Measurement]]] = SimpleQueue()
        self._in_work: dict[Candidate, Task] = {}
        self._not_started: list[Finished] = []
        self.mishaps = 0
        self._memory_bytes = settings.worker_memory_megabytes * _MEGABYTE
        self._board = Board(_SLOTS)
        self._submitted = 0
        self._pool = self._new_pool()
        self._pools_lost = 0
        self._last_news_at = 0.0

    @property
    def in_work(self) -> int:
        """How many candidates are with the workers."""
        return len(self._in_work)

    @property
    def has_room(self) -> bool:
        """Whether another candidate should be submitted."""
        return len(self._in_work) < self._count * _AHEAD_OF_EACH_WORKER

    def submit(self, candidate: Candidate, path: str) -> None:
        """Have a file measured."""
        self._submitted += 1
        self._start(Task(candidate, path, slot=self._submitted % _SLOTS))

    def finished(self) -> list[Finished]:
        """Collect what has finished since the last time, without waiting."""
        collected, self._not_started = self._not_started, []
        for one in collected:
            self._in_work.pop(one.candidate, None)
        while True:
            try:
                task, future = self._results.get_nowait()
            except Empty:
                self._revive_if_silent()
                return collected
            if self._in_work.get(task.candidate) is not task:
                continue  # of a pool that was replaced, and started again in the new one
            self._last_news_at = time.monotonic()
            outcome = self._outcome(task, future)
            if outcome is not None:
                del self._in_work[task.candidate]
                collected.append(outcome)

    def stop(self) -> None:
        """End all worker processes at once; unfinished files are still in the inbox."""
        for process in multiprocessing.active_children():
            process.kill()  # asking politely first takes seconds when a decoder hangs
        self._pool.stop()  # type: ignore[no-untyped-call]
        self._pool.join()

    def _new_pool(self) -> ProcessPool:
        for library in ("OPENBLAS", "OMP"):  # whatever the user wants: a confined decoder can start no thread
            os.environ[f"{library}_NUM_THREADS"] = "1"
        return ProcessPool(
            max_workers=self._count,
            context=multiprocessing.get_context("spawn"),  # a fork would inherit the daemon's threads and locks
            initializer=worker_process.begin,
            initargs=(self._memory_bytes, self._board),
        )

    def _replace_pool(self) -> None:
        """Begin with new processes: the pool does not survive losing a worker that has no task."""
        self._pools_lost += 1
        if self._pools_lost > _POOLS_LOST_IN_A_ROW:
            raise UnavailableError(
                "worker processes end before they have done anything: the reason stands above, or else "
                "scoring.worker_memory_megabytes is too small"
            )
        log.warning("worker processes were lost; starting new ones")
        self.stop()
        self._pool = self._new_pool()
        self._last_news_at = time.monotonic()
        for task in list(self._in_work.values()):
            self._start(replace(task))

    def _revive_if_silent(self) -> None:
        """Replace processes that neither answer nor end: the time limit counts only for tasks they have begun."""
        silence = time.monotonic() - self._last_news_at
        if self._in_work and silence > _SILENT_TIME_LIMITS * self._timeout_seconds:
            self._replace_pool()

    def _start(self, task: Task) -> None:
        if not self._in_work:
            self._last_news_at = time.monotonic()
        self._in_work[task.candidate] = task
        if not self._pool.active:
            self._replace_pool()
            return
        self._board.clear(task.slot)
        function, arguments = self._call_for(task)
        try:
            future = self._pool.schedule(function, args=arguments, timeout=self._timeout_seconds)
        except (OSError, RuntimeError) as error:  # no memory, descriptors or threads for processes just now
            self._not_started.append(Finished(task.candidate, error=StalledError(f"no worker processes: {error}")))
            return
        future.add_done_callback(lambda done: self._note(task, done))

    def _call_for(self, task: Task) -> tuple[Callable[..., Measurement], tuple[object, ...]]:
        if task.is_dangerous:
            return worker_process.fingerprint, (task.path,)
        return worker_process.measure, (task.path, self._limits, task.slot)

    def _note(self, task: Task, future: "Future[Measurement]") -> None:
        self._results.put((task, future))
        self._wake()

    def _outcome(self, task: Task, future: "Future[Measurement]") -> Finished | None:
        """Interpret a finished task; None when it was started again."""
        error = future.exception()
        if isinstance(error, BrokenProcessPool):
            self._replace_pool()  # no fault of this file
            return None
        self._pools_lost = 0
        if error is None:
            return Finished(task.candidate, self._with_mishap(task, future.result()))
        if isinstance(error, ProcessExpired) and error.exitcode in _KILLED_FROM_OUTSIDE:
            self.mishaps += 1
            told = RetryableError("its worker process was killed, perhaps for want of memory")
            return Finished(task.candidate, error=told)
        if _is_mishap(error):
            return self._after_mishap(task, error)
        if isinstance(error, OSError | ImageguardError):
            return Finished(task.candidate, error=error)
        raise error

    def _after_mishap(self, task: Task, error: BaseException) -> Finished | None:
        """Try a file that took its worker down once more, then only take its fingerprint, then give up."""
        self.mishaps += 1
        told = self._in_words(error)
        if isinstance(error, TookTooLong) and self._board.is_reading(task.slot):
            waited = f"reading {printable(os.path.basename(task.path))} took longer than {self._timeout_seconds:g} s"
            return Finished(task.candidate, error=StalledError(f"{waited}; is its disk or mount in order?"))
        if task.is_dangerous:
            return Finished(task.candidate, error=RetryableError(f"cannot even be read: {told}"))
        self._start(replace(task, mishaps=(*task.mishaps, told)))
        return None

    def _in_words(self, error: BaseException) -> str:
        if isinstance(error, ProcessExpired) and error.exitcode == -signal.SIGXCPU:
            return f"took more than {self._limits.cpu_seconds} s of processor time"
        if isinstance(error, ProcessExpired):
            return f"ended its worker process with code {error.exitcode}"
        if isinstance(error, MemoryError):
            return "needs more memory than a worker may have"
        return f"took longer than {self._timeout_seconds:g} s"

    @staticmethod
    def _with_mishap(task: Task, measurement: Measurement) -> Measurement:
        if not task.is_dangerous:
            return measurement
        return replace(measurement, issue="corrupt", detail=f"tried twice: {'; '.join(task.mishaps)}")


def _is_mishap(error: BaseException) -> bool:
    """Tell a worker that died or was killed from an error it reported.

    A file system's ETIMEDOUT is the same Python type as the pool's time limit, but has a number.
    """
    if isinstance(error, TookTooLong):
        return not isinstance(error.errno, int)
    return isinstance(error, ProcessExpired | MemoryError)
