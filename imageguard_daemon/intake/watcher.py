"""watchdog's events as hints, and a canary that proves they still arrive.

Events are hints, never the truth: they are lost when the kernel's queue overflows, when the watch limit is
reached, when the observer's thread dies, and on network mounts. Whoever uses the hints also walks the inbox.
"""

import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog
from watchdog.events import (
    DirCreatedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

if TYPE_CHECKING:
    from watchdog.observers.api import BaseObserver

CANARY_NAME = ".imageguard-canary"
CANARY_PATIENCE_SECONDS = 5.0
STOP_SECONDS = 5.0
"""For so long a watching thread is waited for: its end must never hold up ours."""
HINTS_LIMIT = 20_000

# O_NONBLOCK: a pipe of this name, whoever made it, must not stop the daemon.
_CANARY_FLAGS = os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

# Neither reading nor writing a file is news: reading is what we do, and what counts of writing is its end.
_NEWS: list[type[FileSystemEvent]] = [
    *(DirCreatedEvent, DirMovedEvent),
    *(FileClosedEvent, FileCreatedEvent, FileMovedEvent),
]
_WATCHDOG_LOGGER = logging.getLogger("watchdog.observers")

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Hints:
    """Paths that something happened to, in order, each once. Safe to use from several threads."""

    wake: Callable[[], None]
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _paths: dict[str, None] = field(default_factory=dict)
    _overflowed: bool = False

    def add(self, path: str) -> None:
        """Note an absolute path; beyond a limit only that hints were lost is noted."""
        with self._lock:
            if len(self._paths) < HINTS_LIMIT:
                self._paths[path] = None
            else:
                self._overflowed = True
        self.wake()

    def lose(self) -> None:
        """Note that events were lost."""
        with self._lock:
            self._overflowed = True
        self.wake()

    def drain(self) -> tuple[list[str], bool]:
        """Give the paths noted since the last time, and whether others were lost."""
        with self._lock:
            paths, lost = list(self._paths), self._overflowed
            self._paths.clear()
            self._overflowed = False
        return paths, lost


class _Handler(FileSystemEventHandler):
    """Runs in watchdog's thread, which an exception would kill: only notes and wakes."""

    def __init__(self, hints: Hints, canary_seen: threading.Event) -> None:
        self._hints = hints
        self._canary_seen = canary_seen

    def on_any_event(self, event: FileSystemEvent) -> None:
        path = os.fsdecode(event.dest_path or event.src_path)
        if os.path.basename(path) == CANARY_NAME:
            self._canary_seen.set()
        else:
            self._hints.add(path)


class _OverflowListener(logging.Handler):
    """watchdog tells of a queue overflow in its log and nowhere else."""

    def __init__(self, hints: Hints) -> None:
        super().__init__(logging.WARNING)
        self._hints = hints

    def emit(self, record: logging.LogRecord) -> None:  # noqa: ARG002 - that it spoke is enough
        self._hints.lose()


def watched_folders() -> int:
    """Count the inotify watches of this process, as the kernel lists them for its descriptors."""
    watches = 0
    for name in os.listdir("/proc/self/fdinfo"):
        with suppress(OSError), open(f"/proc/self/fdinfo/{name}", encoding="ascii") as info:
            watches += sum(line.startswith("inotify ") for line in info)
    return watches


class InboxWatcher:
    """Watches one inbox tree and renews itself when the events stop coming.

    `step` is called from one thread; only the hints come from another.
    """

    def __init__(self, inbox: str, hints: Hints, canary_seconds: float) -> None:
        self._inbox = self.watched_folder = inbox
        self._hints = hints
        self._canary_seconds = canary_seconds
        self._canary_seen = threading.Event()
        self._canary_sent_at: float | None = None
        self.canary_seen_at: float | None = None
        """Monotonic time at which an event last proved that events arrive; None before the first proof."""
        self._next_canary_at = 0.0
        self._observer: BaseObserver | None = None
        self._listener = _OverflowListener(hints)
        self._unwatched = False

    @property
    def alive(self) -> bool:
        """Whether events are believed to arrive."""
        return self._observer is not None

    def start(self) -> None:
        """Begin to watch; when the kernel refuses, the canary's time tries again."""
        self.stop()
        try:
            self._observer = self._started_observer()
        except OSError as error:  # watch or instance limit reached, or the folder is gone again
            log.warning("no kernel events, the inbox is only walked", error=str(error), inbox=self._inbox)
            return
        _WATCHDOG_LOGGER.setLevel(logging.WARNING)  # heard whatever the level of our own log
        _WATCHDOG_LOGGER.addHandler(self._listener)

    def stop(self) -> None:
        """Stop watching and wait for the threads, for a bounded time."""
        _WATCHDOG_LOGGER.removeHandler(self._listener)
        self._canary_sent_at = None
        if self._observer is not None:
            self._observer.stop()
            self._observer.join(STOP_SECONDS)
            if self._observer.is_alive():  # it may hang in a call to a mount that does not answer
                log.warning("the watching thread does not end; it is left behind", inbox=self._inbox)
            self._observer = None

    def step(self, now: float) -> None:
        """Send or check the canary; on silence watch anew and report everything since as lost."""
        if self._canary_sent_at is not None:
            self._check_canary(now)
        elif now >= self._next_canary_at:
            self._next_canary_at = now + self._canary_seconds
            self._send_canary(now)

    def compare_with_walk(self, folders: int) -> None:
        """Say when the kernel watches fewer folders than a walk found: at its limit watchdog goes on in silence."""
        watched = watched_folders() if self._observer is not None else folders
        if watched < folders and not self._unwatched:
            log.warning(
                "not all folders are watched, new files in the others wait for the next walk",
                inbox=self._inbox,
                watched=watched,
                folders=folders,
                remedy="raise the sysctl fs.inotify.max_user_watches",
            )
        self._unwatched = watched < folders

    def next_step(self) -> float:
        """Say when `step` has something to do."""
        if self._canary_sent_at is None:
            return self._next_canary_at
        return self._canary_sent_at + CANARY_PATIENCE_SECONDS

    def _started_observer(self) -> "BaseObserver":
        observer = Observer()
        try:
            self.watched_folder = os.path.realpath(self._inbox)  # inotify would watch a link, not what it leads to
            handler = _Handler(self._hints, self._canary_seen)
            observer.schedule(handler, self.watched_folder, recursive=True, event_filter=_NEWS)
            observer.start()
        except OSError:
            observer.stop()  # a thread of it and three descriptors are there even before it is started
            raise
        return observer

    def _send_canary(self, now: float) -> None:
        if self._observer is None:
            self._renew()
            return
        self._canary_seen.clear()
        canary = os.path.join(self._inbox, CANARY_NAME)
        try:
            os.close(os.open(canary, _CANARY_FLAGS, 0o600))
            os.unlink(canary)
        except OSError as error:  # a full disk or a lost inbox proves nothing about events
            log.debug("canary not sent", error=str(error))
            return
        self._canary_sent_at = now

    def _check_canary(self, now: float) -> None:
        sent_at = self._canary_sent_at or now
        if self._canary_seen.is_set():
            self._canary_sent_at = None
            self.canary_seen_at = now
        elif now >= sent_at + CANARY_PATIENCE_SECONDS:
            log.warning("kernel events stopped arriving; watching and walking anew", inbox=self._inbox)
            self._renew()

    def _renew(self) -> None:
        self.start()
        self._hints.lose()
