"""Answers that take long, made one after the other beside the pages, and kept for a while."""

import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")


class NotYetError(Exception):
    """The answer is still being made; ask again soon."""


@dataclass(frozen=True, slots=True)
class Keeping:
    """How long answers are as good as new, how long they are given while a new one is made, and how many are kept."""

    fresh_seconds: float
    stale_seconds: float = 0.0
    most: int = 16
    most_at_work: int = 4


class Remembered(Generic[T]):
    """One question is answered once however many ask it at the same time; any thread may ask.

    Answers are made in one thread: pages that look at the whole log must not take all processors from the daemon.
    """

    def __init__(self, keeping: Keeping, clock: Callable[[], float] = time.monotonic) -> None:
        self._keeping, self._clock = keeping, clock
        self._lock = Lock()
        self._answers: OrderedDict[object, tuple[float, T]] = OrderedDict()
        self._at_work: dict[object, tuple[float, Future[T]]] = {}
        self._maker = ThreadPoolExecutor(1, "answers")

    def get(self, key: object, make: Callable[[], T], patience_seconds: float | None = None) -> T:
        """Give the answer, an older one while a new one is made, or wait for it; errors are those of `make`.

        Patience begins with the making of the answer: who asks again while it takes long does not wait again.

        Raises:
            NotYetError: it took longer than the patience, or too many others are waited for.
        """
        with self._lock:
            known = self._answers.get(key)
            age = self._clock() - known[0] if known else 0.0
            if known and age < self._keeping.fresh_seconds:
                return known[1]
            begun, pending = self._begin(key, make, is_patient=patience_seconds is None)
            if known and age < self._keeping.stale_seconds:
                return known[1]
        left = None if patience_seconds is None else max(0.0, begun + patience_seconds - self._clock())
        try:
            return pending.result(left)
        except TimeoutError:
            raise NotYetError from None

    def close(self) -> None:
        """Begin no more."""
        self._maker.shutdown(wait=False, cancel_futures=True)

    def _begin(self, key: object, make: Callable[[], T], *, is_patient: bool) -> "tuple[float, Future[T]]":
        if key in self._at_work:
            return self._at_work[key]
        if not is_patient and len(self._at_work) >= self._keeping.most_at_work:
            raise NotYetError
        self._at_work[key] = self._clock(), self._maker.submit(self._make, key, make)
        return self._at_work[key]

    def _make(self, key: object, make: Callable[[], T]) -> T:
        try:
            made = make()
            with self._lock:
                self._answers[key] = (self._clock(), made)
                self._answers.move_to_end(key)
                while len(self._answers) > self._keeping.most:
                    self._answers.popitem(last=False)
            return made
        finally:
            with self._lock:
                self._at_work.pop(key, None)
