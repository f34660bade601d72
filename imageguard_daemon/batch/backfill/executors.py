"""Where shards run: processes or threads of this machine, or any executor that a name leads to."""

import ctypes
import importlib
import multiprocessing
import os
import signal
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Protocol

from imageguard_daemon.core.errors import UnavailableError, UsageError
from imageguard_daemon.core.names import printable

_PR_SET_PDEATHSIG = 1
SHARDS_FOR_EACH_WORKER = 2
"""One at hand and one ahead, so that no worker waits while a result is written."""


class Fleet(Protocol):
    """An executor, and what must be known to drive it."""

    @property
    def executor(self) -> Executor:
        """What shards are submitted to now."""

    @property
    def slots(self) -> int:
        """How many shards may be out at a time; it may change."""

    def is_lost(self, error: BaseException) -> bool:
        """Tell whether an error means that all that is out is lost, and not that one shard failed."""

    def is_final(self, error: BaseException) -> bool:
        """Tell whether a shard that failed like that is not to be tried again in this run."""

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

    def close(self) -> None:
        """End it at once, whatever is still in work."""


class _Local:
    """What executors of this process share."""

    def is_lost(self, error: BaseException) -> bool:
        """Tell whether the executor is broken for good: one killed process is enough for that."""
        return isinstance(error, BrokenExecutor)

    def is_final(self, _error: BaseException) -> bool:
        """Say no: what failed here may go well next time."""
        return False

    def check(self) -> None:
        """Find nothing: what is wrong shows in the shards."""


class OwnFleet(_Local):
    """Processes or threads of this machine, recreated when they are lost."""

    def __init__(self, make: Callable[[int], Executor], workers: int) -> None:
        self._make = make
        self._workers = workers or len(os.sched_getaffinity(0))
        self._executor = make(self._workers)

    @property
    def executor(self) -> Executor:
        """What shards are submitted to now."""
        return self._executor

    @property
    def slots(self) -> int:
        """How many shards may be out at a time."""
        return self._workers * SHARDS_FOR_EACH_WORKER

    def renew(self) -> None:
        """End what is left of it, and make a new one."""
        self.close()
        self._executor = self._make(self._workers)

    def close(self) -> None:
        """End it at once; its processes are killed, as they may hang."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.kill()


class GivenFleet(_Local):
    """An executor that somebody else has made; it cannot be recreated."""

    def __init__(self, executor: Executor, slots: int) -> None:
        self._executor = executor
        self._slots = slots

    @property
    def executor(self) -> Executor:
        """What shards are submitted to."""
        return self._executor

    @property
    def slots(self) -> int:
        """How many shards may be out at a time."""
        return self._slots

    def renew(self) -> None:
        """Say that there is no other.

        Raises:
            UnavailableError: always.
        """
        raise UnavailableError("the executor is broken; what is done is kept, and the same command goes on from there")

    def close(self) -> None:
        """Let go of it, and begin nothing more."""
        try:
            self._executor.shutdown(wait=False, cancel_futures=True)
        except TypeError:  # older than that argument
            self._executor.shutdown(wait=False)


def open_fleet(name: str, workers: int) -> Fleet:
    """Give the executor of a name: `process`, `thread`, or `module:factory`, called without arguments.

    Raises:
        UsageError: there is no such module or factory, or it gives no executor.
        UnavailableError: the factory fails.
    """
    if name == "process":
        return OwnFleet(_processes, workers)
    if name == "thread":
        return OwnFleet(_threads, workers)
    executor = _made_by(name)
    known = getattr(executor, "_max_workers", None)
    count = workers or (known if isinstance(known, int) else len(os.sched_getaffinity(0)))
    return GivenFleet(executor, count * SHARDS_FOR_EACH_WORKER)


def _processes(workers: int) -> Executor:
    context = multiprocessing.get_context("spawn")  # a fork would inherit threads and locks
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(os.getpid(),))


def _threads(workers: int) -> Executor:
    return ThreadPoolExecutor(workers, thread_name_prefix="shard")


def _begin(parent: int) -> None:
    """Prepare a worker process: deaf to the terminal's Ctrl-C, and gone when the command is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
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
        made = factory if isinstance(factory, Executor) else factory()
    except Exception as error:
        raise UnavailableError(f"{shown} failed: {type(error).__name__}: {error}") from error
    if not isinstance(made, Executor):
        raise UsageError(f"{shown} gives a {type(made).__name__}, not a concurrent.futures.Executor")
    return made
