"""What all pages share: where the log is, who may ask, what is kept in memory, and how long."""

import secrets
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from imageguard_daemon.audit.fleet.database import FleetAddress, is_fleet_url
from imageguard_daemon.audit.opening import LogPlace, open_log, which_file
from imageguard_daemon.audit.store import Store
from imageguard_daemon.config import Settings
from imageguard_daemon.core.timestamps import utc_now
from imageguard_daemon.review.rendering import PAST
from imageguard_daemon.review.values import Reviewed
from imageguard_daemon.web.tokens import Sessions, Tokens

HOLDER = "imageguard.holder"
"""Where in the scope of a request the name of the token's holder is."""
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
MAX_IDLE = 8
_MAX_CLIENTS = 1_000
_MAX_NOTICES = 200
_File = tuple[int, int]


class LogConnections:
    """Lends each request a connection of its own; any thread may ask.

    An idle one has no transaction open, so that the daemon folds its WAL in as if nobody was there. When another file
    has taken the log's place, those to the old one are closed. SQLAlchemy's pool keeps connections; here logs are kept
    whose version was checked, and of which each request has one for itself.
    """

    def __init__(self, database: LogPlace) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._idle: deque[Store] = deque()
        self._file: _File | None = None

    @contextmanager
    def lend(self) -> Iterator[Store]:
        """Give a connection for one request and one thread; one that met an error is not used again."""
        log, file = self._take()
        try:
            yield log
        except BaseException:
            log.close()
            raise
        self._put_back(log, file)

    def close(self) -> None:
        """Close those that are idle."""
        with self._lock:
            while self._idle:
                self._idle.pop().close()

    def _take(self) -> tuple[Store, _File | None]:
        file = which_file(self._database)
        if file != self._file:
            self.close()
        with self._lock:
            self._file = file
            if self._idle:
                return self._idle.pop(), file
        return open_log(self._database, complete=True), file

    def _put_back(self, log: Store, file: _File | None) -> None:
        with self._lock:
            if file == self._file and len(self._idle) < MAX_IDLE:
                self._idle.append(log)
                return
        log.close()


@dataclass(frozen=True, slots=True)
class Access:
    """Who may ask. Without tokens everybody who reaches the address may, which is for loopback only."""

    hosts: frozenset[str] = LOOPBACK
    tokens: Tokens | None = None


class TooOftenError(Exception):
    """This client has asked enough for now; the argument is how many seconds to wait."""


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
            missing = min(events, self._per_minute) - left
            self._left[client] = (left if missing > 0 else left - events, now)
            while len(self._left) > _MAX_CLIENTS:
                self._left.popitem(last=False)
            return max(0.0, missing / rate)

    def take(self, client: str, events: int = 1) -> None:
        """Take events from a client's share; TooOftenError says how many seconds it has to wait."""
        wait = self.wait_seconds(client, events)
        if wait:
            raise TooOftenError(round(wait + 0.5))


@dataclass(frozen=True, slots=True)
class Notice:
    """The result of one review; `not_tried` images were left when it ended early, for the reason in `stopped`."""

    action: str
    results: tuple[Reviewed, ...]
    stopped: str = ""
    not_tried: int = 0

    @property
    def verb(self) -> str:
        """Say what was done, such as `released`."""
        return PAST[self.action]

    @property
    def done(self) -> list[Reviewed]:
        """Give the images with which it was done."""
        return [one for one in self.results if one.done]

    @property
    def undoable(self) -> list[Reviewed]:
        """Give those with which it can be taken back."""
        return [one for one in self.done if one.action != "undo"]

    @property
    def refused(self) -> list[Reviewed]:
        """Give those with which it was not, each with its reason."""
        return [one for one in self.results if not one.done]


class Notices:
    """The latest notices by a key that nobody can guess; any thread may ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._notices: OrderedDict[str, Notice] = OrderedDict()

    def add(self, notice: Notice) -> str:
        """Keep a notice and give its key."""
        key = secrets.token_urlsafe(12)
        with self._lock:
            self._notices[key] = notice
            while len(self._notices) > _MAX_NOTICES:
                self._notices.popitem(last=False)
        return key

    def get(self, key: str) -> Notice | None:
        """Give a notice; None when there is none, or it is long gone."""
        with self._lock:
            return self._notices.get(key)


@dataclass(frozen=True)
class Site:
    """One root as pages show it. Safe to use from several threads."""

    settings: Settings
    database: LogPlace
    who: str
    access: Access = Access()
    csrf: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    sessions: Sessions = field(default_factory=Sessions)
    notices: Notices = field(default_factory=Notices)
    now: Callable[[], datetime] = utc_now
    may_act: bool = True
    """Whether images can be released: with --db only the log is looked at."""
    has_log: bool = True
    """Whether there is a log to be shown; without one there is the checker alone."""

    connections: LogConnections = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "connections", LogConnections(self.database))

    @property
    def is_fleet(self) -> bool:
        """Whether the pages show the logs of many servers."""
        return is_fleet_url(self.database)

    @property
    def shown_as(self) -> str:
        """What the pages are about: a root, or the database of a fleet without its password, or nothing."""
        if not self.has_log:
            return "the checker alone"
        return str(FleetAddress(str(self.database))) if self.is_fleet else str(self.settings.root)

    @contextmanager
    def log(self) -> Iterator[Store]:
        """Give the log read-only, for one request and one thread."""
        with self.connections.lend() as log:
            yield log
