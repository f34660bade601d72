"""What runs shards: threads or processes of this machine, a Dask cluster, or any executor that a name leads to.

An engine balances by itself. What it loses, and what may be done about that, is all the command asks of it. Dask also
tries again what fails, sends the tasks of a lost worker to others, and gives up one that has cost it several workers:
there it is left to find out early what would fail every shard, and to come back when the scheduler does.
"""

import asyncio
import importlib
import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from imageguard_daemon import __version__
from imageguard_daemon.batch.backfill.scoring import describe_versions
from imageguard_daemon.batch.backfill.shards import Terms
from imageguard_daemon.core.errors import FatalError, UnavailableError, UsageError
from imageguard_daemon.core.names import printable
from imageguard_daemon.core.processes import end_with_parent
from imageguard_daemon.quality.readout import scorer_of

SHARDS_FOR_EACH_WORKER = 2
"""One at hand and one ahead, so that no worker waits while a result is written."""


class Engine:
    """An executor that somebody else has made, with so many workers; it cannot be recreated."""

    def __init__(self, executor: Executor, workers: int) -> None:
        self.executor = executor
        self._workers = workers

    @property
    def capacity(self) -> int:
        """How many shards may be out at a time; it may change."""
        return self._workers * SHARDS_FOR_EACH_WORKER

    def is_lost(self, error: BaseException) -> bool:
        """Tell whether an error means that all that is out is lost, and not that one shard failed."""
        return isinstance(error, BrokenExecutor)

    def is_final(self, _error: BaseException) -> bool:
        """Tell whether a shard that failed like that is not to be sent again in this run."""
        return False

    def check(self) -> None:
        """Look whether work can go on; asked about once a second.

        Raises:
            UnavailableError: it cannot.
        """

    def renew(self) -> None:
        """Begin with a new executor, after the last one was lost.

        Raises:
            UnavailableError: there is no new one to be had.
        """
        raise UnavailableError("the executor is broken; what is done is kept, and the same command goes on from there")

    def close(self) -> None:
        """Let go of it, and begin nothing more."""
        try:
            self.executor.shutdown(wait=False, cancel_futures=True)
        except TypeError:  # older than that argument
            self.executor.shutdown(wait=False)


class LocalEngine(Engine):
    """Threads or processes of this machine. A process that is lost is replaced, and costs only its own shard."""

    def is_lost(self, _error: BaseException) -> bool:
        """Say no: whatever went wrong, the other workers go on."""
        return False

    def close(self) -> None:
        """End it at once; its processes are killed, as they may hang."""
        super().close()
        for process in multiprocessing.active_children():
            process.kill()


class ProcessPerThread(ThreadPoolExecutor):
    """Threads that each have their work done by a process of their own.

    A process that dies breaks the pool it is in with all that the pool was given. In a pool of its own it takes down
    its own shard alone, so that the blame is exact, and nothing else goes out again.
    """

    def __init__(self, workers: int) -> None:
        super().__init__(workers, thread_name_prefix="shard")
        self._of_thread = threading.local()

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        """Have it called in a process."""
        return super().submit(self._call, function, *arguments, **named)

    def _call(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        pool = getattr(self._of_thread, "pool", None) or self._new_pool()
        try:
            return pool.submit(function, *arguments, **named).result()
        except BrokenExecutor:
            del self._of_thread.pool  # a broken pool takes nothing more: the next shard gets a new one
            raise

    def _new_pool(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("spawn")  # a fork would inherit threads and locks
        pool = ProcessPoolExecutor(1, mp_context=context, initializer=_begin, initargs=(os.getpid(),))
        self._of_thread.pool = pool
        return pool


def open_engine(name: str, workers: int) -> Engine:
    """Give the engine of a name: `process`, `thread`, or `module:factory`, called without arguments.

    Raises:
        UsageError: there is no such module or factory, or it gives no executor.
        UnavailableError: the factory fails.
    """
    here = workers or len(os.sched_getaffinity(0))
    if name == "process":
        return LocalEngine(ProcessPerThread(here), here)
    if name == "thread":
        return LocalEngine(ThreadPoolExecutor(here, thread_name_prefix="shard"), here)
    executor = _made_by(name)
    its_own = getattr(executor, "_max_workers", None)
    return Engine(executor, workers or (its_own if isinstance(its_own, int) else here))


def _begin(parent: int) -> None:
    """Prepare a worker process: deaf to the terminal's Ctrl-C, and gone when the command is gone."""
    # A terminal sends Ctrl-C to the whole group of processes; what becomes of a shard then is for the command to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if not end_with_parent(parent, signal.SIGKILL):
        os._exit(os.EX_OK)


def _made_by(name: str) -> Executor:
    module_name, _, factory_name = name.partition(":")
    shown = f"--executor {printable(name)}"
    if not (module_name and factory_name):
        raise UsageError(f"{shown}: neither process nor thread, nor of the form module:factory")
    try:
        factory = getattr(importlib.import_module(module_name), factory_name)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"{shown}: {error}") from error
    try:
        executor = factory if isinstance(factory, Executor) else factory()
    except Exception as error:
        raise UnavailableError(f"{shown} failed: {type(error).__name__}: {error}") from error
    if not isinstance(executor, Executor):
        raise UsageError(f"{shown} gives a {type(executor).__name__}, not a concurrent.futures.Executor")
    return executor


_CONNECT_SECONDS = 10.0
_CLOSE_SECONDS = 5.0
_COUNT_SECONDS = 5.0
_WITHOUT_WORKERS_SECONDS = 120.0


class DaskEngine(Engine):
    """The workers of one scheduler; they may come and go. Dask tries each shard so many times."""

    def __init__(self, address: str, terms: Terms, attempts: int) -> None:
        self._address = address
        self._terms = terms
        self._attempts = attempts
        self._shown = printable(address)
        self._client: Any = None
        self._counted_at = 0.0
        self._empty_since: float | None = None
        super().__init__(self._connect(), 0)

    @property
    def capacity(self) -> int:
        """As many as its threads now keep busy, a few when it has none yet."""
        self._count()
        return super().capacity or SHARDS_FOR_EACH_WORKER

    def is_lost(self, error: BaseException) -> bool:
        """Tell whether the scheduler is gone: what was out is then cancelled."""
        if isinstance(error, CancelledError | asyncio.CancelledError):
            return True
        return str(self._client.status) != "running"

    def is_final(self, _error: BaseException) -> bool:
        """Say yes: Dask has tried it often enough, or would only lose more workers by it."""
        return True

    def check(self) -> None:
        """Look whether there are still workers.

        Raises:
            UnavailableError: there have been none for two minutes.
        """
        now = time.monotonic()
        if self._workers:
            self._empty_since = None
        elif self._empty_since is None:
            self._empty_since = now
        elif now - self._empty_since > _WITHOUT_WORKERS_SECONDS:
            raise UnavailableError(
                f"the scheduler at {self._shown} has had no workers for {_WITHOUT_WORKERS_SECONDS:g} s; what is done "
                "is kept, and the same command goes on from there"
            )

    def renew(self) -> None:
        """Connect again: a scheduler that was started again knows nothing of what was out.

        Raises:
            UnavailableError: it is not there.
        """
        self.close()
        try:
            self.executor = self._connect()
        except UnavailableError as error:
            raise UnavailableError(f"{error}; what is done is kept, and the same command goes on from there") from error

    def close(self) -> None:
        """Let go of it; what is out there is forgotten."""
        with suppress(Exception):  # it may be gone
            self._client.close(timeout=_CLOSE_SECONDS)

    def _connect(self) -> Executor:
        client = _client_class()
        try:
            self._client = client(
                self._address, timeout=_CONNECT_SECONDS, set_as_default=False, name="imageguard-daemon"
            )
        except (OSError, ValueError, TypeError, AssertionError) as error:
            raise UnavailableError(f"no Dask scheduler at {self._shown}: {printable(str(error))}") from error
        self._counted_at = 0.0
        self._require_same_version()
        executor: Executor = self._client.get_executor(pure=False, retries=self._attempts - 1)
        return executor

    def _count(self) -> None:
        now = time.monotonic()
        if now - self._counted_at < _COUNT_SECONDS or self._client.status != "running":
            return
        self._counted_at = now
        with suppress(OSError, TimeoutError):  # whoever waits for results finds out more
            self._workers = sum(self._client.nthreads().values())

    def _require_same_version(self) -> None:
        """Ask the workers there are by now; those that come later refuse by themselves."""
        readout = self._terms.scoring.readout
        answers = self._client.run(versions_here, readout, on_error="return")
        ours = (self._terms.package_version, self._terms.scorer_version)
        for worker, answer in sorted(answers.items()):
            if isinstance(answer, BaseException):
                message = printable(" ".join(str(answer).split()) or type(answer).__name__)
                what = "the readout" if isinstance(answer, FatalError) else "imageguard-daemon"
                raise UnavailableError(f"the Dask worker {worker} cannot load {what}: {message}")
            if answer != ours:
                raise UnavailableError(describe_versions(f"the Dask worker {worker}", answer, ours, readout))


def versions_here(readout: Path | None = None) -> tuple[str, str]:
    """Give the versions of the package and of the scorer with this readout; workers are asked for theirs."""
    return __version__, scorer_of(readout)


def _client_class() -> Any:
    try:
        from distributed import Client  # noqa: PLC0415 - an extra, and a second to load
    except ImportError as error:
        raise UsageError(f"--dask needs pip install 'imageguard-daemon[dask]' ({error})") from error
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] == "distributed":  # what they would say is said here in other words
            logging.getLogger(name).setLevel(logging.CRITICAL)
    return Client
