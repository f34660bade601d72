"""Answers that many ask for: kept for a while where they take long, shared by those who ask in the same moment."""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import Generic, TypeVar

from fastapi.concurrency import run_in_threadpool

T = TypeVar("T")
PAGE_TIMEOUT_SECONDS = 0.12
"""A page that took longer than this would feel slow; it then says that it is counting, and asks again by itself."""


class NotReadyError(Exception):
    """The answer is still being made; ask again soon."""


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """How long answers are as good as new, how long they are given while a new one is made, and how many are kept."""

    fresh_seconds: float
    stale_seconds: float = 0.0
    max_answers: int = 16
    max_at_work: int = 4


class StaleWhileRevalidate(Generic[T]):
    """One question is answered once however many ask it at the same time; any thread may ask.

    Answers are made in one thread: pages that look at the whole log must not take all processors from the daemon.
    """

    def __init__(self, policy: CachePolicy, clock: Callable[[], float] = time.monotonic) -> None:
        self._policy, self._clock = policy, clock
        self._lock = Lock()
        self._answers: OrderedDict[object, tuple[float, T]] = OrderedDict()
        self._at_work: dict[object, tuple[float, Future[T]]] = {}
        self._maker = ThreadPoolExecutor(1, "answers")

    def get(self, key: object, make: Callable[[], T], timeout_seconds: float | None = None) -> T:
        """Give the answer, an older one while a new one is made, or wait for it; errors are those of `make`.

        The timeout begins with the making of the answer: who asks again while it takes long does not wait again.

        Raises:
            NotReadyError: it took longer than the timeout, or too many others are waited for.
        """
        with self._lock:
            answer = self._answers.get(key)
            age = self._clock() - answer[0] if answer else 0.0
            if answer and age < self._policy.fresh_seconds:
                return answer[1]
            begun, pending = self._begin(key, make, waits_for_ever=timeout_seconds is None)
            if answer and age < self._policy.stale_seconds:
                return answer[1]
        left = None if timeout_seconds is None else max(0.0, begun + timeout_seconds - self._clock())
        try:
            return pending.result(left)
        except TimeoutError:
            raise NotReadyError from None

    def soon(self, key: object, make: Callable[[], T]) -> T | None:
        """Give what a page can show at once; None while it is being made: the page asks again by itself."""
        try:
            return self.get(key, make, PAGE_TIMEOUT_SECONDS)
        except NotReadyError:
            return None

    def fresh(self, key: object) -> T | None:
        """Give an answer that is as good as new, if there is one."""
        with self._lock:
            made_at, answer = self._answers.get(key, (-math.inf, None))
            return answer if self._clock() - made_at < self._policy.fresh_seconds else None

    def close(self) -> None:
        """Begin no more."""
        self._maker.shutdown(wait=False, cancel_futures=True)

    def _begin(self, key: object, make: Callable[[], T], *, waits_for_ever: bool) -> "tuple[float, Future[T]]":
        if key in self._at_work:
            return self._at_work[key]
        if not waits_for_ever and len(self._at_work) >= self._policy.max_at_work:
            raise NotReadyError
        # Called with the lock held, so that two who ask at once find one future.
        self._at_work[key] = self._clock(), self._maker.submit(self._make, key, make)
        return self._at_work[key]

    def _make(self, key: object, make: Callable[[], T]) -> T:
        try:
            answer = make()
            # Kept before the question leaves what is at work: who asks in between would have it answered twice.
            with self._lock:
                self._answers[key] = (self._clock(), answer)
                self._answers.move_to_end(key)
                while len(self._answers) > self._policy.max_answers:
                    self._answers.popitem(last=False)
            return answer
        finally:
            with self._lock:
                self._at_work.pop(key, None)


class SingleFlight(Generic[T]):
    """Many who ask the same in one moment look into the log once; nothing is kept. For the event loop alone."""

    def __init__(self) -> None:
        self._waiting: dict[object, asyncio.Task[T]] = {}
        self._at_work: dict[object, asyncio.Task[T]] = {}

    async def get(self, key: object, make: Callable[[], T]) -> T:
        """Give an answer that a thread began after it was asked for; errors are those of `make`."""
        # Who asks may just have released an image: an answer that was begun before would show it where it was. So it
        # waits for the end of that one, and all who come meanwhile share the next.
        if key not in self._waiting:
            self._waiting[key] = asyncio.create_task(self._make(key, make, self._at_work.get(key)))
        return await asyncio.shield(self._waiting[key])  # one who goes away takes nothing from the others

    async def _make(self, key: object, make: Callable[[], T], before: "asyncio.Task[T] | None") -> T:
        if before:
            await asyncio.wait([before])
        self._at_work[key] = self._waiting.pop(key)
        try:
            return await run_in_threadpool(make)
        finally:
            del self._at_work[key]
