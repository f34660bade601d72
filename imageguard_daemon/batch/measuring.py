"""The images of a folder as a stream, and their measurements: memory holds none of them, however many there are.

What is known is not measured again, what fails in passing is tried once more.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from imageguard_daemon.audit.measurement_cache import MeasuredFiles
from imageguard_daemon.batch.judging import why_unread
from imageguard_daemon.config import Scoring
from imageguard_daemon.core.errors import RetryableError
from imageguard_daemon.core.model import FileIdentity, Measurement
from imageguard_daemon.intake.rules.selection import Selection, SkipReason
from imageguard_daemon.intake.scan import walk
from imageguard_daemon.quality.readout import Readout
from imageguard_daemon.sandbox.workers import measure_files


class ImagesOfFolder:
    """The paths of a folder's images. Links are not followed; what is left out is counted by reason.

    `spared` are files that are never images: the outputs. `unreadable` is told of each folder that cannot be read.
    """

    def __init__(
        self, folder: str, selection: Selection, spared: Iterable[Path], unreadable: Callable[[str], None]
    ) -> None:
        self._folder = folder
        self._selection = selection
        self._spared = frozenset(os.path.realpath(path) for path in spared)
        self._real = os.path.realpath(folder)
        self._unreadable = unreadable
        self.left: Counter[str] = Counter()

    def __iter__(self) -> Iterator[str]:
        """Yield each image's path: the folder as it was given, and what is below it."""
        for entry in walk(self._folder, self._selection):
            if entry.skip_reason is SkipReason.unreadable:
                self._unreadable(os.path.join(self._folder, entry.relative_path))
            elif entry.skip_reason is not None:
                self.left[entry.skip_reason] += 1
            elif not self._is_spared(entry.relative_path):
                yield os.path.join(self._folder, entry.relative_path)

    def relative(self, path: str) -> str:
        """Give a path below the folder."""
        return path[len(os.path.join(self._folder, "")) :]

    def _is_spared(self, relative_path: str) -> bool:
        return bool(self._spared) and os.path.join(self._real, relative_path) in self._spared


def count_images(folder: str, selection: Selection) -> Iterator[int]:
    """Count the images of a folder, one by one."""
    return (entry.skip_reason is None for entry in walk(folder, selection))


Handle = Callable[[str, Measurement], None]
_MAY_PASS = (RetryableError, TimeoutError)
_RETRIED_AT_MOST = 1_000
_EXAMPLES = 20


def version_of(scoring: Scoring, scorer_version: str) -> str:
    """Say what measurements depend on beside the file: the scorer, and the limits that make an image too large."""
    limits = (scoring.max_pixels, scoring.max_megabytes, scoring.timeout_seconds, scoring.worker_memory_megabytes)
    return f"scorer {scorer_version}, limits {' '.join(map(str, limits))}"


def cache_folder() -> Path:
    """Give the folder for what may be deleted at any time (XDG base directories)."""
    base = os.environ.get("XDG_CACHE_HOME") or ""
    try:
        home = Path.home()
    except RuntimeError:  # accounts of services may have none
        home = Path("/nonexistent")
    return (Path(base) if os.path.isabs(base) else home / ".cache") / "imageguard-daemon"


@dataclass(slots=True)
class Unread:
    """What could not be read, file or folder: how many, why, and the first of them by name."""

    reasons: Counter[str] = field(default_factory=Counter)
    examples: list[tuple[str, str]] = field(default_factory=list)

    def add(self, path: str, why: str) -> None:
        """Count one more."""
        self.reasons[why] += 1
        if len(self.examples) < _EXAMPLES:
            self.examples.append((path, why))

    def merge(self, reasons: Mapping[str, int], examples: Iterable[tuple[str, str]]) -> None:
        """Add what others have counted."""
        self.reasons.update(reasons)
        capacity = _EXAMPLES - len(self.examples)
        self.examples += [(path, why) for path, why in islice(examples, capacity)]

    @property
    def total(self) -> int:
        """How many there are."""
        return self.reasons.total()


class Measuring:
    """Measures files in supervised workers, unless the store knows them. One thread only.

    `readout` is what stood in the file that the settings name, if they name one: one run measures by one.
    """

    def __init__(
        self, store: MeasuredFiles, scoring: Scoring, readout: Readout | None = None, unread: Unread | None = None
    ) -> None:
        self._store = store
        self._scoring = scoring
        self._readout = readout
        self._again: list[str] = []
        self.unread = unread if unread is not None else Unread()
        self.known = 0
        """How many were not measured, as an earlier run had measured them."""

    def run(self, paths: Iterable[str], handle: Handle, check: Callable[[], None] = lambda: None) -> None:
        """Measure them all; the iterator is read only as fast as the workers go.

        `handle` is called with each path and its measurement, in the order in which they become known;
        `check` between any two, and while nothing is known: what it raises ends the run.

        Raises:
            UnavailableError: the workers do not work at all, or nothing can be kept in the store.
        """
        self._handle, self._check = handle, check
        self._measure(self._unknown(paths), last=False)
        # At the end, and once: a worker that was killed, a file that was being written have had their time by then.
        if self._again:
            again, self._again = self._again, []
            self._measure(iter(again), last=True)

    def _unknown(self, paths: Iterable[str]) -> Iterator[str]:
        """Handle what is known on the way to the next path that is not."""
        for path in paths:
            self._check()
            measurement = self._known(path)
            if measurement is None:
                yield path
            else:
                self.known += 1
                self._handle(path, measurement)

    def _known(self, path: str) -> Measurement | None:
        try:
            return self._store.find(FileIdentity.from_stat(os.stat(path, follow_symlinks=False)))
        except OSError:
            return None  # whoever reads it finds out why

    def _measure(self, paths: Iterator[str], *, last: bool) -> None:
        for finished in measure_files(paths, self._scoring, self._check, self._readout):
            path = finished.candidate.relative_path
            if finished.measurement is not None:
                self._take(path, finished.measurement)
            elif isinstance(finished.error, _MAY_PASS) and not last and len(self._again) < _RETRIED_AT_MOST:
                self._again.append(path)
            else:
                self.unread.add(path, why_unread(finished.error))

    def _take(self, path: str, measurement: Measurement) -> None:
        if measurement.issue != "unsupported":  # found out at once, and another version may support it
            self._store.add(measurement)
        self._handle(path, measurement)
