"""Supervised worker processes: a crash, a hang or a bomb costs the one file that caused it.

One thread hands out files, reads answers and replaces processes. A worker has few files at a time, so that what is left
goes to whoever is free, and answers one by one: the first that it has begun and not answered is the one that it was
lost over.
"""

import errno
import math
import os
import selectors
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import count, islice
from queue import Empty, SimpleQueue

import structlog

from imageguard_daemon.config import Scoring
from imageguard_daemon.core.errors import (
    FatalError,
    ImageguardError,
    NotBegunError,
    ReplacedError,
    RetryableError,
    StalledError,
)
from imageguard_daemon.core.model import Candidate, Limits, Measurement
from imageguard_daemon.core.processes import installed_edition
from imageguard_daemon.quality.readout import Readout, configured, scorer_by
from imageguard_daemon.quality.version import loops_here
from imageguard_daemon.sandbox import wire
from imageguard_daemon.sandbox.answers import Answer, read_answer
from imageguard_daemon.sandbox.losses import Cause, Loss, issue_of, loss_by_exit
from imageguard_daemon.sandbox.processes import Task, WorkerHandle, allowance, plan_workers
from imageguard_daemon.sandbox.worker_process import REPLACED

_MEGABYTE = 1 << 20
_FILES_FOR_EACH_WORKER = 64
"""At hand and ahead: enough that none waits for the daemon, few enough to stop quickly."""
_GATHER_SECONDS = 0.1
_GATHER_FILES = 32
"""What has finished is announced together: waking up the daemon costs as much as measuring a small image."""
_GRACE_SECONDS = 1.0
_LOST_IN_A_ROW = 5
_LOOK_SECONDS = 0.25
_AGAIN_SECONDS = 1.0
_JOIN_SECONDS = 10.0

_LONGEST_WAIT_SECONDS = 1.0
"""A pool that fell silent is noticed only by asking."""
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Finished:
    """What came back for a candidate: a measurement, or the error that prevented one."""

    candidate: Candidate
    measurement: Measurement | None = None
    error: OSError | ImageguardError | None = None


class Workers:
    """A pool of processes that measure. One thread only; `wake` is called from another when something finished.

    With `checks`, images are checked against the checksums that their senders put beside them. The readout that the
    settings name is read here, once, unless it is given; all processes measure by what stood in it, also those that
    are started later.

    Raises:
        NoInputError, PermissionDeniedError, ConfigError: there is none to be had where they name one.
        StalledError: no process can be started.
    """

    def __init__(
        self, settings: Scoring, wake: Callable[[], None], *, checks: bool = False, readout: Readout | None = None
    ) -> None:
        self._readout = readout or configured(settings.readout)
        self._readout_digest = self._readout.digest if self._readout else ""
        self._code = loops_here()
        self._timeout_seconds = settings.timeout_seconds
        # A worker ends a hanging decoder by itself; reading has as much time.
        self._longest_seconds = settings.timeout_seconds + _GRACE_SECONDS
        self._wake = wake
        self._edition = installed_edition()
        self.plan = plan_workers(settings, len(os.sched_getaffinity(0)), allowance())
        limits = Limits(
            max_pixels=settings.max_pixels,
            max_bytes=settings.max_megabytes * _MEGABYTE,
            cpu_seconds=math.ceil(settings.timeout_seconds),
        )
        self._order = {
            "memory_bytes": self.plan.memory_bytes,
            "edition": self._edition,
            "limits": asdict(limits),
            "seconds": settings.timeout_seconds,
            "checks": checks,
        }
        self._in_work: set[Candidate] = set()
        self._results: SimpleQueue[Finished | Exception] = SimpleQueue()
        self._waiting: deque[Task] = deque()  # both ends are safe to use from two threads
        self._numbers = count(1)
        self.failures = 0
        self.pools_replaced = 0
        self._lost_in_a_row = 0
        self._unannounced = 0
        self._announced_at = 0.0
        self._start_again_at = 0.0
        self._ending = False
        self._selector = selectors.DefaultSelector()
        self._poke, self._poked = socket.socketpair()
        self._poke.setblocking(False)
        self._poked.setblocking(False)
        self._selector.register(self._poked, selectors.EVENT_READ)
        self._processes: list[WorkerHandle] = []
        self._thread = threading.Thread(target=self._supervise, name="workers", daemon=True)
        self._begin()

    def _begin(self) -> None:
        """Start processes now, to be warm when the first file has settled."""
        try:
            for _ in range(self.plan.count):
                self._start_process()
        except OSError as error:
            self._end_processes()
            raise StalledError(f"worker processes cannot be started: {error.strerror}") from error
        self._thread.start()

    def log_plan(self) -> None:
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
    def capacity(self) -> int:
        """How many more files they should be given."""
        return max(0, self.plan.count * _FILES_FOR_EACH_WORKER - len(self._in_work))

    def submit(self, files: Sequence[tuple[Candidate, str]]) -> None:
        """Have files measured, candidates with their paths."""
        self._in_work.update(candidate for candidate, _ in files)
        self._waiting.extend(Task(candidate, path) for candidate, path in files)
        self._rouse()

    def finished(self) -> list[Finished]:
        """Collect what has finished since the last time, without waiting.

        Raises:
            FatalError, StalledError: the workers do not work at all.
        """
        collected: list[Finished] = []
        with suppress(Empty):
            while True:
                result = self._results.get_nowait()
                if isinstance(result, Exception):
                    self._results.put(result)  # nobody hands out anything any more: whoever asks again is told again
                    raise result
                collected.append(result)
        self._in_work.difference_update(finished.candidate for finished in collected)
        return collected

    def begin_nothing_more(self) -> None:
        """From now on let go of what no worker has begun: it stays in the inbox."""
        with suppress(IndexError):
            while True:
                self._in_work.discard(self._waiting.popleft().candidate)

    def stop(self) -> None:
        """End all worker processes at once; unfinished files are still in the inbox."""
        self._ending = True
        self._rouse()
        if self._thread.is_alive():
            self._thread.join(_JOIN_SECONDS)
        self._end_processes()

    # --- in the thread that supervises

    def _supervise(self) -> None:
        try:
            while not self._ending:
                self._start_missing()
                self._hand_out()
                for key, _ in self._selector.select(self._patience()):
                    self._receive(key)
                self._end_what_hangs()
                self._announce()
        except Exception as error:  # noqa: BLE001 - whatever it is, the main thread must hear of it
            self._results.put(error)
            self._wake()

    def _rouse(self) -> None:
        with suppress(BlockingIOError, OSError):  # it has not yet heard of the last time
            self._poke.send(b"!")

    def _patience(self) -> float:
        return _GATHER_SECONDS if self._unannounced else _LOOK_SECONDS

    def _start_process(self) -> None:
        started = WorkerHandle(self._order, self._readout.content if self._readout else None)
        self._processes.append(started)
        self._selector.register(started.line, selectors.EVENT_READ, started)

    def _start_missing(self) -> None:
        """Start processes in place of those that were lost; without memory, descriptors or threads for any, say so."""
        if len(self._processes) == self.plan.count or time.monotonic() < self._start_again_at:
            return
        try:
            while len(self._processes) < self.plan.count:
                self._start_process()
        except OSError as error:
            self._start_again_at = time.monotonic() + _AGAIN_SECONDS
            if not self._processes:
                self._let_go(self._waiting, StalledError(f"no worker processes: {error}"))

    def _hand_out(self) -> None:
        """Give each worker the next files; the one with the fewest first."""
        for process in sorted(self._processes, key=lambda process: len(process.tasks)):
            for _ in range(process.room):
                try:
                    task = self._waiting.popleft()
                except IndexError:
                    return
                if not process.give(next(self._numbers), task):
                    self._waiting.appendleft(task)
                    break

    def _receive(self, key: selectors.SelectorKey) -> None:
        process = key.data
        if process is None:
            with suppress(BlockingIOError):
                key.fileobj.recv(1 << 12)  # type: ignore[union-attr]
            return
        try:
            message = wire.receive(process.line)
        except BlockingIOError:
            return
        except ConnectionError:
            message = None
        if message is None:
            self._lost(process)
        elif "ready" in message.facts:
            process.begun()
        else:
            self._answered(process, read_answer(message.facts))

    def _answered(self, process: WorkerHandle, answer: Answer) -> None:
        if isinstance(answer, FatalError):  # every file would meet the same
            raise answer
        self._lost_in_a_row = 0
        self._take(process.answered(), answer)

    def _take(self, task: Task, answer: Answer) -> None:
        if isinstance(answer, Loss):
            self._after_loss(task, answer)
        elif isinstance(answer, Measurement):
            measured = replace(answer, readout=self._readout_digest, code=self._code)
            if task.issue:  # of this one only a fingerprint was taken: what it did to others is its verdict
                issue, detail = task.issue
                measured = replace(measured, issue=issue, detail=detail)
            self._finish(Finished(task.candidate, measured))
        else:
            self._finish(Finished(task.candidate, error=answer))

    def _finish(self, finished: Finished) -> None:
        self._unannounced += 1
        self._results.put(finished)

    def _announce(self) -> None:
        """Wake the main thread for many results, or for old ones, or when it has to give us more."""
        if not self._unannounced:
            return
        now = time.monotonic()
        is_idle = not self._waiting and any(process.room for process in self._processes)
        are_many = self._unannounced >= _GATHER_FILES
        if is_idle or are_many or now >= self._announced_at + _GATHER_SECONDS:
            self._announced_at, self._unannounced = now, 0
            self._wake()

    def _end_what_hangs(self) -> None:
        for process in list(self._processes):
            if process.hangs(self._longest_seconds):
                self._lost(process, hung=True)

    def _lost(self, process: WorkerHandle, *, hung: bool = False) -> None:
        """Find out over which file a worker was lost, if any; the others pay nothing for it."""
        code = self._end_process(process, at_once=hung)
        if self._edition != installed_edition():
            raise ReplacedError(REPLACED)
        task = process.task_at_hand
        others = [other for _, other in process.tasks if other is not task]
        if task is not None and hung and process.progress.is_reading:
            self._after_disk_hung(task, others)
            return
        self._waiting.extendleft(reversed(others))  # in front, in their order: they have waited longest
        if task is not None:
            self._after_loss(task, self._loss(code, hung=hung))
            return
        # No file is to blame. Without an end to this, workers that cannot begin would be started for ever.
        self._lost_in_a_row += 1
        if self._lost_in_a_row > _LOST_IN_A_ROW * self.plan.count:
            raise StalledError(  # too little memory is the usual cause, and passes
                "worker processes end before they have done anything: the reason stands above, or they were killed "
                "for lack of memory, or scoring.worker_memory_megabytes is too small"
            )
        log.warning("worker processes were lost; starting new ones")
        self.pools_replaced += 1

    def _after_disk_hung(self, task: Task, others: Sequence[Task]) -> None:
        """Let go of what would hang after it, one by one: the end of the pause finds it again."""
        self.failures += 1
        waited = f"that took longer than {self._timeout_seconds:g} s; is its disk or mount in order?"
        self._finish(Finished(task.candidate, error=OSError(errno.ETIMEDOUT, waited)))
        waiting: list[Task] = []
        with suppress(IndexError):  # the main thread may be letting go of them, too
            while True:
                waiting.append(self._waiting.popleft())
        source, all_others = task.candidate.source, (*others, *waiting)
        self._waiting.extend(other for other in all_others if other.candidate.source != source)
        same = deque(other for other in all_others if other.candidate.source == source)
        self._let_go(same, NotBegunError("not begun: its disk hangs"))

    def _let_go(self, tasks: "deque[Task]", error: ImageguardError) -> None:
        with suppress(IndexError):
            while True:
                self._finish(Finished(tasks.popleft().candidate, error=error))

    def _loss(self, code: int, *, hung: bool) -> Loss:
        if hung:
            # A decoder that takes long is ended by its worker: one that has not come to it says nothing of the image.
            return Loss(f"took longer than {self._timeout_seconds:g} s, though its decoder may not", Cause.killed)
        return loss_by_exit(code, "worker process")

    def _after_loss(self, task: Task, loss: Loss) -> None:
        """Try a file that took its process down once more, then only take its fingerprint, then give up."""
        self.failures += 1
        if task.is_dangerous:
            self._finish(Finished(task.candidate, error=RetryableError(f"cannot even be read: {loss.what}")))
            return
        losses = (*task.losses, loss)
        try:
            self._waiting.appendleft(replace(task, losses=losses, issue=issue_of(losses)))
        except RetryableError as error:
            self._finish(Finished(task.candidate, error=error))

    def _end_process(self, process: WorkerHandle, *, at_once: bool) -> int:
        self._processes.remove(process)
        self._selector.unregister(process.line)
        code = process.end(at_once=at_once)
        if code is None:
            log.warning("a worker process does not end; it is left to the system")
            return -signal.SIGKILL
        return code

    def _end_processes(self) -> None:
        for process in self._processes:
            process.process.kill()  # asking politely first takes seconds when a decoder hangs
        for process in list(self._processes):
            self._end_process(process, at_once=True)
        self._selector.close()
        self._poke.close()
        self._poked.close()


def measure_files(
    paths: Iterable[str],
    settings: Scoring,
    check: Callable[[], None] = lambda: None,
    readout: Readout | None = None,
) -> Iterator[Finished]:
    """Measure files in worker processes; yields them as they finish, each path as the `relative_path`.

    Paths are taken as the workers have room: a long iterator is not read ahead. A path must not come twice while it
    is in work. `check` is called between any two of them and at least once a second. The workers end with the
    iteration, also when it is left by an exception. `readout` is the one that the settings name, where it was read
    already: what stands in the file by now does not matter.

    Raises:
        UnavailableError: the workers do not work at all.
        NoInputError, PermissionDeniedError, ConfigError: there is no readout to be had where the settings name one.
    """
    news = threading.Event()
    workers = Workers(settings, news.set, readout=readout)
    waiting = iter(paths)
    exhausted = False
    try:
        while not exhausted or workers.in_work:
            check()
            if not exhausted and (capacity := workers.capacity):
                paths_taken = list(islice(waiting, capacity))
                exhausted = len(paths_taken) < capacity
                workers.submit([(Candidate("", path), path) for path in paths_taken])
            for finished in workers.finished():
                yield finished
                check()
            if workers.in_work and (exhausted or not workers.capacity):
                news.wait(_LONGEST_WAIT_SECONDS)
                news.clear()
    finally:
        workers.stop()
