"""watchdog's events as hints, and a canary that proves they still arrive.

Events are hints, never the truth: they are lost when the kernel's queue overflows, when the watch limit is
reached, when the observer's thread dies, and on network mounts. Whoever uses the hints also walks the inbox.
"""

import logging
import math
import os
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

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
from watchdog.observers import inotify, inotify_c
from watchdog.observers.inotify import InotifyObserver

from imageguard_daemon.core.file_systems import Reach

CANARY_NAME = ".imageguard-canary"
CANARY_PATIENCE_SECONDS = 5.0
START_SECONDS = 1.0
"""So long the start of watching is waited for; where folders are many or their disk is slow, it goes on beside us."""
STOP_SECONDS = 5.0
"""For so long a watching thread is waited for: its end must never hold up ours."""
MAX_PENDING_PATHS = 20_000

# O_NONBLOCK: a pipe of this name, whoever made it, must not stop the daemon.
_CANARY_FLAGS = os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

# Neither reading nor writing a file is news: reading is what we do, and what counts of writing is its end.
_NEWS: list[type[FileSystemEvent]] = [
    *(DirCreatedEvent, DirMovedEvent),
    *(FileClosedEvent, FileCreatedEvent, FileMovedEvent),
]
_RAISE_THE_LIMIT = "raise the sysctl fs.inotify.max_user_watches"
_NONE_IS_NEEDED = "none: no event tells of folders made on the server; walks, each intake.rescan_seconds, do"
_OF_WATCHDOG_6 = vars(inotify_c).get("Inotify")
if group := vars(inotify).get("InotifyWatchGroup"):  # since watchdog 7.1
    # It is written into a warning for each folder that is closed to us, or renamed at a bad moment: as a dataclass it
    # has all folders that are watched, megabytes of them.
    group.__repr__ = object.__repr__
_WATCHDOG_LOGGER = logging.getLogger("watchdog.observers")

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class PendingPaths:
    """Paths that something happened to, in order, each once. Safe to use from several threads."""

    wake: Callable[[], None]
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _paths: dict[str, None] = field(default_factory=dict)
    _overflowed: bool = False

    def add(self, path: str) -> None:
        """Note an absolute path; beyond a limit only that hints were lost is noted."""
        with self._lock:
            if len(self._paths) < MAX_PENDING_PATHS:
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

    def __init__(self, hints: PendingPaths, canary_seen: threading.Event) -> None:
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

    def __init__(self, hints: PendingPaths) -> None:
        super().__init__(logging.WARNING)
        self._hints = hints

    def emit(self, record: logging.LogRecord) -> None:  # noqa: ARG002 - that it spoke is enough
        self._hints.lose()


def watched_folders(observer: InotifyObserver) -> int:
    """Count the folders that an observer watches, as the kernel lists them for its descriptor.

    Where that is not found, all inotify watches of this process count.

    Raises:
        OSError: the observer has ended.
    """
    own = _descriptor_of(observer)
    if own is not None:
        return _watches_of(own)
    watches = 0
    for descriptor in os.listdir("/proc/self/fdinfo"):
        with suppress(OSError):
            watches += _watches_of(descriptor)
    return watches


def _descriptor_of(observer: InotifyObserver) -> int | None:
    """Give the descriptor that an observer reads; watchdog tells nobody, and has it elsewhere in version 6."""
    [emitter] = observer.emitters or [None]
    holders = (getattr(observer, "_inotify_fd", None), getattr(getattr(emitter, "_inotify", None), "_inotify", None))
    return next((own for one in holders if (own := getattr(one, "_inotify_fd", None)) is not None), None)


def _watches_of(descriptor: int | str) -> int:
    with open(f"/proc/self/fdinfo/{descriptor}", encoding="ascii") as info:
        return sum(line.startswith("inotify ") for line in info)


class _Start:
    """The beginning of watching a tree, in a thread: it looks into each of the folders before it is done."""

    def __init__(self, folder: str, handler: FileSystemEventHandler, wake: Callable[[], None]) -> None:
        self.done = threading.Event()
        self.error: OSError | RuntimeError | None = None
        self._folder = folder
        self._handler = handler
        self._wake = wake
        self._lock = threading.Lock()
        self._observer: InotifyObserver | None = None
        self._is_given_up = False
        try:
            threading.Thread(target=self._run, name="watching begins", daemon=True).start()
        except RuntimeError as error:  # no more threads
            self.error = error
            self.done.set()

    def take(self) -> InotifyObserver | None:
        """Give what watches, which is the caller's to stop; what is not there yet ends by itself when it comes."""
        with self._lock:
            self._is_given_up = True
            return self._observer

    def _run(self) -> None:
        try:
            observer = self._watch()
        except (OSError, RuntimeError) as error:  # watch, instance or thread limit reached, or the folder is gone again
            self.error = error
        else:
            with self._lock:
                self._observer = observer
                is_ours = self._is_given_up
            if is_ours:
                _end(observer)
        self.done.set()
        self._wake()

    def _watch(self) -> InotifyObserver:
        observer = InotifyObserver()
        try:
            observer.schedule(self._handler, self._folder, recursive=True, event_filter=_NEWS)
            observer.start()
        except (OSError, RuntimeError) as error:
            observer.stop()  # a thread of it and three descriptors are there even before it is started
            _close_what_was_left(error)
            raise
        return observer


def _close_what_was_left(error: Exception) -> None:
    """Close the descriptors of a watch that the kernel refused: watchdog 6 leaves them open, and nobody else has them.

    Each is one of the few inotify instances that an account may have, and we try again for ever.
    """
    for frame, _ in traceback.walk_tb(error.__traceback__):
        half_made = frame.f_locals.get("self")
        if _OF_WATCHDOG_6 and isinstance(half_made, _OF_WATCHDOG_6):
            for name in ("_inotify_fd", "_kill_r", "_kill_w"):
                os.close(vars(half_made).pop(name))
            return


def _make_and_remove(inbox: str) -> None:
    """Have a canary in an inbox for a moment, from first to last in one folder: another may be mounted over it."""
    folder = os.open(inbox, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.close(os.open(CANARY_NAME, _CANARY_FLAGS, 0o600, dir_fd=folder))
        os.unlink(CANARY_NAME, dir_fd=folder)
    finally:
        os.close(folder)


def _end(observer: InotifyObserver) -> None:
    observer.stop()
    observer.join()


class InboxWatcher:
    """Watches one inbox tree and renews itself when the events stop coming.

    `step` is called from one thread; only the hints come from another.
    """

    def __init__(self, inbox: str, hints: PendingPaths, canary_seconds: float) -> None:
        self._inbox = self.watched_folder = inbox
        self._hints = hints
        self._canary_seconds = canary_seconds
        self._canary_seen = threading.Event()
        self._canary_sent_at: float | None = None
        self.canary_seen_at: float | None = None
        """Monotonic time at which an event last proved that events arrive; None before the first proof."""
        self._next_canary_at = 0.0
        self._start: _Start | None = None
        self._observer: InotifyObserver | None = None
        self._listener = _OverflowListener(hints)
        self._unwatched = False

    @property
    def alive(self) -> bool:
        """Whether events are believed to arrive."""
        return self._observer is not None

    def start(self) -> None:
        """Begin to watch; when the kernel refuses, the canary's time tries again."""
        self.stop()
        self.watched_folder = os.path.realpath(self._inbox)  # inotify would watch a link, not what it leads to
        handler = _Handler(self._hints, self._canary_seen)
        self._start = _Start(self.watched_folder, handler, self._hints.wake)
        if self._start.done.wait(START_SECONDS):
            self._begin(self._start)
        else:
            log.info("its folders are many or slow: until all are watched, the inbox is only walked", inbox=self._inbox)

    def stop(self) -> None:
        """Stop watching and wait for the threads, for a bounded time."""
        _WATCHDOG_LOGGER.removeHandler(self._listener)
        self._canary_sent_at = None
        observer = self._start.take() if self._start is not None else self._observer
        self._start = self._observer = None
        if observer is not None:
            end = threading.Thread(target=_end, args=(observer,), name="watching ends", daemon=True)
            end.start()
            end.join(STOP_SECONDS)
            if end.is_alive():  # it may hang in a call to a mount that does not answer
                log.warning("the watching thread does not end; it is left behind", inbox=self._inbox)

    def step(self, now: float) -> bool:
        """Send or check the canary; on silence watch again and report everything since as lost.

        True when watching has begun only now: what came meanwhile has had no event.
        """
        if self._start is not None:
            if not self._start.done.is_set():
                return False
            self._begin(self._start)
            return self.alive
        if self._canary_sent_at is not None:
            self._check_canary(now)
        elif now >= self._next_canary_at:
            self._next_canary_at = now + self._canary_seconds
            self._send_canary(now)
        return False

    def compare_with_walk(self, folders: int, reach: Reach) -> None:
        """Say when the kernel watches fewer folders than a walk found: at its limit watchdog goes on in silence.

        Where others write, too, that is as it must be: no event tells of the folders that they make.
        """
        watched = folders
        if self._observer is not None:
            with suppress(OSError):  # it has ended by itself, as the canary will tell
                watched = watched_folders(self._observer)
        if watched < folders and not self._unwatched:
            is_usual = reach in {Reach.network, Reach.relayed}
            log.log(
                logging.INFO if is_usual else logging.WARNING,
                "not all folders are watched, new files in the others wait for the next walk",
                inbox=self._inbox,
                watched=watched,
                folders=folders,
                remedy=_NONE_IS_NEEDED if is_usual else _RAISE_THE_LIMIT,
            )
        self._unwatched = watched < folders

    def next_step(self) -> float:
        """Say when `step` has something to do."""
        if self._start is not None:
            return math.inf  # it wakes us
        if self._canary_sent_at is None:
            return self._next_canary_at
        return self._canary_sent_at + CANARY_PATIENCE_SECONDS

    def _begin(self, start: _Start) -> None:
        self._start = None
        if start.error is not None:
            log.warning("no kernel events, the inbox is only walked", error=str(start.error), inbox=self._inbox)
            return
        self._observer = start.take()
        _WATCHDOG_LOGGER.setLevel(logging.WARNING)  # heard whatever the level of our own log
        _WATCHDOG_LOGGER.addHandler(self._listener)

    def _send_canary(self, now: float) -> None:
        if self._observer is None:
            self._renew()
            return
        self._canary_seen.clear()
        try:
            _make_and_remove(self._inbox)
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
            log.warning("kernel events stopped arriving; watching and walking again", inbox=self._inbox)
            self._renew()

    def _renew(self) -> None:
        self.start()
        self._hints.lose()
