"""Where images lie, files here or objects in a store by URL, and how the many of a shard are read side by side.

What fails in passing is told apart from what does not. Each read has its time, and one that hangs is left behind: the
threads are daemonic, so that one that waits for a dead disk or store keeps no process from ending.
"""

import os
import random
import re
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from imageguard_daemon.batch.backfill.shards import Reading
from imageguard_daemon.core.backoff import Backoff
from imageguard_daemon.core.errors import ImageguardError, StalledError, UnavailableError, retryable
from imageguard_daemon.core.model import FileIdentity, Limits, Measurement
from imageguard_daemon.core.names import printable
from imageguard_daemon.quality import measurement

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


def read_all(
    paths: Sequence[str], reading: Reading, read: "Callable[[Read[Outcome]], Outcome]"
) -> "list[Outcome | BaseException]":
    """Read images side by side, by `read`; gives what came or what went wrong, in their order.

    When all threads hang, what is left fails at once: its disk or store is gone.
    """
    images: list[Read[Outcome]] = [Read(path) for path in paths]
    queue: SimpleQueue[Read[Outcome]] = SimpleQueue()
    for image in images:
        queue.put(image)
    # Daemonic, unlike those of a ThreadPoolExecutor: a read that hangs for ever must not keep the process from ending.
    threads = [threading.Thread(target=_read_from, args=(queue, read), daemon=True) for _ in range(reading.at_a_time)]
    for thread in threads:
        thread.start()
    hung = 0
    try:
        outcomes: list[Outcome | BaseException] = []
        for image in images:
            if hung < reading.at_a_time:
                outcome = _outcome_of(image, reading.timeout_seconds)
                hung += isinstance(outcome, ReadingHungError)
                outcomes.append(outcome)
            else:
                outcomes.append(ReadingHungError("not read: all reads before it hang"))
        return outcomes
    finally:
        with suppress(Empty):
            while True:
                queue.get_nowait()
        for thread in threads if not hung else ():
            thread.join(_LOOK_SECONDS)


def _outcome_of(image: Read[Outcome], seconds: float) -> "Outcome | BaseException":
    while not wait([image.future], _LOOK_SECONDS).done:
        if image.is_overdue(seconds):
            return ReadingHungError(f"reading took longer than {seconds:g} s")
    return image.future.exception() or image.future.result()


def _read_from(queue: "SimpleQueue[Read[Outcome]]", read: "Callable[[Read[Outcome]], Outcome]") -> None:
    """Read one image after the other, until there are no more."""
    with suppress(Empty):
        while True:
            image = queue.get_nowait()
            try:
                image.future.set_result(read(image))
            except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits for the result
                image.future.set_exception(error)


Answer = TypeVar("Answer")
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_FOR_GOOD = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
_PAUSES = Backoff(first_seconds=0.5)
_STATUSES_IN_PASSING = {408, 429}
_HTTP = {"http", "https"}
_own_random = random.Random()  # noqa: S311 - no secret, and the program's own numbers stay what they are


class StoreError(StalledError):
    """The store did not give an object, for a reason that may pass."""


def is_url(path: str) -> bool:
    """Tell whether a path is that of an object in a store."""
    return bool(_URL.match(path)) and not path.startswith("file://")


def local_path(path: str) -> str:
    """Give the path of a file as the system wants it."""
    return path.removeprefix("file://")


def measure_at(
    read: Read[Measurement], limits: Limits, reading: Reading, measure: Callable[[bytes], Measurement]
) -> Measurement:
    """Have the image at a path measured; a link means what it points to.

    Raises:
        OSError: there is no such file or object, or it cannot be read.
        StalledError: the store or the disk did not answer as it should, several times.
        ChangedError: the path is not a regular file, or it changed while being read.
        UnavailableError: what this kind of store needs is not installed.
    """

    def measured(data: bytes, _limits: Limits) -> Measurement:
        read.end()
        return measure(data)

    if not read.path:
        raise FileNotFoundError(0, "no path in this row")
    if not is_url(read.path):
        read.begin()
        return _measure_file(local_path(read.path), limits, measured)
    data = patiently(lambda: _fetched(read, limits), reading.attempts)
    if len(data) > limits.max_bytes:
        return Measurement("", issue="too_large", detail=f"more than {limits.max_bytes / 1e6:.0f} MB")
    only_size = FileIdentity(device=0, inode=0, size_bytes=len(data), mtime_ns=0, ctime_ns=0)
    return replace(measured(data, limits), identity=only_size)


def _measure_file(path: str, limits: Limits, measured: Callable[[bytes, Limits], Measurement]) -> Measurement:
    try:
        return measurement.measure_file(os.path.realpath(path), limits, measured)
    except ValueError as error:  # a NUL in it, or letters the system has no bytes for
        raise FileNotFoundError(0, "no possible path") from error
    except OSError as error:
        sorted_ = retryable(error, "reading")
        if isinstance(sorted_, StalledError):  # a lost mount, not a missing file
            raise sorted_ from error
        raise


def _fetched(read: Read[Measurement], limits: Limits) -> bytes:
    read.begin()
    try:
        return fetch(read.path, limits.max_bytes + 1)
    finally:
        read.end()


def patiently(call: "Callable[[], Answer]", attempts: int) -> "Answer":
    """Ask a store, several times if need be, with growing pauses in between.

    Raises:
        StoreError: it failed each time, for a reason that may pass. Other errors at once.
    """
    for attempt in range(1, attempts):
        try:
            return call()
        except StoreError:
            # Not all of a thousand workers at once.
            time.sleep(_PAUSES.after(attempt) * _own_random.uniform(0.5, 1.5))
    return call()


def fetch(url: str, most_bytes: int) -> bytes:
    """Give the bytes of an object, `most_bytes` of them at most.

    Raises:
        OSError: there is no such object, or it may not be read.
        StoreError: anything that may pass.
        UnavailableError: what this kind of store needs is not installed.
    """
    try:
        system, path = filesystem_of(url)
        if url.partition(":")[0].lower() in _HTTP:  # one request, whatever the server says of sizes and ranges
            with system.open(path, "rb", block_size=0, size=most_bytes) as stream:
                return _read_all(stream, most_bytes)
        return bytes(system.cat_file(path, start=0, end=most_bytes))
    except (*_FOR_GOOD, ImageguardError):
        raise
    except Exception as error:
        if _is_empty(url, error):
            return b""
        raise sorted_error(error) from error


def filesystem_of(url: str) -> tuple[Any, str]:
    """Give the file system of a URL, and the path in it.

    Raises:
        UnavailableError: fsspec or the package for this kind of store is not installed.
    """
    try:
        from fsspec.core import url_to_fs  # noqa: PLC0415 - an extra: only who has images in a store needs it

        system, path = url_to_fs(url)
    except ImportError as error:
        kind = url.partition(":")[0]
        remedy = f"for {kind}:// install imageguard-daemon[object-stores], and the package of the store: {error}"
        raise UnavailableError(remedy) from error
    except ValueError as error:
        raise UnavailableError(f"{printable(url)}: {error}") from error
    return system, path


def _read_all(stream: Any, most_bytes: int) -> bytes:
    parts = []
    while most_bytes > 0 and (part := stream.read(most_bytes)):
        parts.append(part)
        most_bytes -= len(part)
    return b"".join(parts)


def _is_empty(url: str, error: Exception) -> bool:
    """Tell whether an object is empty: some stores refuse to give a range of nothing."""
    if "range" not in f"{type(error).__name__} {error}".lower() and getattr(error, "status", 0) != 416:
        return False
    try:
        system, path = filesystem_of(url)
        return bool(system.size(path) == 0)
    except Exception:  # noqa: BLE001 - as above; the first error is the one that counts
        return False


def sorted_error(error: Exception) -> Exception:
    """Give an answer of the store as ours: a client's mistake stays one, anything else may pass."""
    status = getattr(error, "status", None)
    answer = printable(f"{type(error).__name__}: {error}".strip(": "))
    if isinstance(status, int) and 400 <= status < 500 and status not in _STATUSES_IN_PASSING:
        return PermissionError(0, answer) if status in {401, 403} else FileNotFoundError(0, answer)
    return StoreError(answer)
