"""What runs shards: threads or processes of this machine, or any executor that a name leads to.

An engine balances by itself. What it loses, and what may be done about that, is all the command asks of it.
"""

import importlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

from imageguard_daemon.core.errors import UnavailableError, UsageError
from imageguard_daemon.core.names import printable
from imageguard_daemon.core.processes import end_with_parent

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
            del self._of_thread.pool
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
