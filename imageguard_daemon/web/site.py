"""What all pages share: where the log is, who may ask, what is kept in memory, and how long."""

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from imageguard_daemon.audit.database import Engine, Place, open_for_reviewing
from imageguard_daemon.audit.fleet_database import FleetAddress, is_fleet_url
from imageguard_daemon.config import Settings

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Access:
    """Who may ask. Without a hash of a token everybody who reaches the address may, which is for loopback only."""

    hosts: frozenset[str] = frozenset({"127.0.0.1", "localhost", "::1"})
    token_sha256: str = ""


class Remembered(Generic[T]):
    """Answers kept for a while; one question is answered once however many ask it at the same time."""

    def __init__(self, seconds: float, most: int = 16, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._most, self._clock = seconds, most, clock
        self._lock = threading.Lock()
        self._answers: OrderedDict[object, tuple[float, T]] = OrderedDict()

    def get(self, key: object, make: Callable[[], T]) -> T:
        """Give the answer, from memory if it is young enough; others wait meanwhile rather than ask, too."""
        with self._lock:
            known = self._answers.get(key)
            if known is not None and self._clock() - known[0] < self._seconds:
                return known[1]
            made = make()
            self._answers[key] = (self._clock(), made)
            self._answers.move_to_end(key)
            while len(self._answers) > self._most:
                self._answers.popitem(last=False)
            return made


class RateLimit:
    """So many events a minute for each client, with as many at once; only the busiest clients are remembered."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute, self._clock = per_minute, clock
        self._lock = threading.Lock()
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_seconds(self, client: str, events: int = 1) -> float:
        """Take events from a client's share; where it is too small take nothing, and say how long to wait."""
        now, rate = self._clock(), self._per_minute / 60
        with self._lock:
            left, at = self._left.pop(client, (float(self._per_minute), now))
            left = min(float(self._per_minute), left + (now - at) * rate)
            lacking = min(events, self._per_minute) - left
            self._left[client] = (left if lacking > 0 else left - events, now)
            while len(self._left) > 1000:
                self._left.popitem(last=False)
            return max(0.0, lacking / rate)


@dataclass(frozen=True)
class Site:
    """One root as pages show it. Safe to use from several threads."""

    settings: Settings
    database: Place
    who: str
    access: Access = Access()
    csrf: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    sessions: set[str] = field(default_factory=set)
    may_act: bool = True
    """Whether images can be released: with --db only the log is looked at."""

    @property
    def is_fleet(self) -> bool:
        """Whether the pages show the logs of many servers."""
        return is_fleet_url(self.database)

    @property
    def shown_as(self) -> str:
        """What the pages are about: a root, or the database of a fleet without its password."""
        return str(FleetAddress(str(self.database))) if self.is_fleet else str(self.settings.root)

    @contextmanager
    def log(self) -> Iterator[Engine]:
        """Open the log read-only, for one request and one thread."""
        engine = open_for_reviewing(self.database)
        try:
            yield engine
        finally:
            engine.dispose()
