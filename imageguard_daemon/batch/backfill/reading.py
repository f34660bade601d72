"""Many images of a shard read side by side, each within its time; what hangs is left behind.

The threads are daemonic: one that waits for a dead disk or store keeps no process from ending.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Generic, TypeVar

from imageguard_daemon.core.errors import StalledError

Outcome = TypeVar("Outcome")
_LOOK_SECONDS = 0.5


class ReadingHungError(StalledError):
    """Neither the bytes nor an error came in time."""


@dataclass(slots=True, eq=False)
class Read(Generic[Outcome]):
    """One image to be read: `begin` and `end` say from when to when its bytes are waited for."""

    path: str
    future: "Future[Outcome]" = field(default_factory=Future)
    waits_since: float | None = None

    def begin(self) -> None:
        """Wait for bytes from now on."""
        self.waits_since = time.monotonic()

    def end(self) -> None:
        """Wait for bytes no longer."""
        self.waits_since = None

    def is_overdue(self, seconds: float) -> bool:
        """Tell whether its bytes are waited for longer than that."""
        since = self.waits_since
        return since is not None and time.monotonic() - since > seconds


class Readers(Generic[Outcome]):
    """Threads that read one image each at a time, by `read`; bytes may take `seconds` to come."""

    def __init__(self, at_a_time: int, seconds: float, read: "Callable[[Read[Outcome]], Outcome]") -> None:
        self._seconds = seconds
        self._read = read
        self._not_hung = at_a_time
        self._reads: SimpleQueue[Read[Outcome] | None] = SimpleQueue()
        self._threads = [threading.Thread(target=self._live, name="reader", daemon=True) for _ in range(at_a_time)]
        for thread in self._threads:
            thread.start()

    def results(self, paths: Sequence[str]) -> "list[Outcome | BaseException]":
        """Read all of them; gives what came or what went wrong, in their order.

        When all threads hang, what is left fails at once: its disk or store is gone.
        """
        reads: list[Read[Outcome]] = [Read(path) for path in paths]
        for read in reads:
            self._reads.put(read)
        return [self._result(read) for read in reads]

    def close(self) -> None:
        """Let go of what has not begun, and let the threads end; those that hang are left to it."""
        while not self._reads.empty():
            self._reads.get()
        for _ in self._threads:
            self._reads.put(None)
        if self._not_hung == len(self._threads):
            for thread in self._threads:
                thread.join(_LOOK_SECONDS)

    def _result(self, read: Read[Outcome]) -> "Outcome | BaseException":
        while self._not_hung:
            if wait([read.future], _LOOK_SECONDS).done:
                return read.future.exception() or read.future.result()
            if read.is_overdue(self._seconds):
                self._not_hung -= 1
                return ReadingHungError(f"reading took longer than {self._seconds:g} s")
        return ReadingHungError("not read: all reads before it hang")

    def _live(self) -> None:
        while (read := self._reads.get()) is not None:
            try:
                read.future.set_result(self._read(read))
            except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits for the result
                read.future.set_exception(error)
