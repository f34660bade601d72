"""What is said of each image once it has been filed: it is counted, measured and written into the log of the service.

Nothing here is needed to know what became of an image: the audit log has that, and had it before.
"""

import os
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import structlog

from imageguard_daemon.config import Logging, Settings
from imageguard_daemon.core import logs
from imageguard_daemon.core.model import JudgedFile
from imageguard_daemon.core.names import printable
from imageguard_daemon.daemon.metrics import DaemonMetrics
from imageguard_daemon.daemon.parts import Part, Snapshot
from imageguard_daemon.quality.scoring import ACCEPTED_FROM, rounded

RATE_WINDOW_SECONDS = 30.0
WINDOW_SECONDS = 30.0
LINES_IN_A_WINDOW = 5_000
"""About images, that is half of what journald takes of one service by default (RateLimitBurst= in journald.conf(5))."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Totals:
    """Counts since the start, and the rate over the last half minute. Times are of the monotonic clock."""

    verdicts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    _times: deque[float] = field(default_factory=lambda: deque(maxlen=100_000))

    def count(self, verdict: str, reason: str, now: float) -> None:
        """Add one image that was judged and moved."""
        self.verdicts[verdict] += 1
        if reason:
            self.reasons[reason] += 1
        self._times.append(now)

    @property
    def total(self) -> int:
        """How many images were judged and moved."""
        return self.verdicts.total()

    def images_per_second(self, now: float) -> float:
        """Give the rate over the last half minute."""
        while self._times and self._times[0] < now - RATE_WINDOW_SECONDS:
            self._times.popleft()
        if not self._times:
            return 0.0
        return len(self._times) / max(now - self._times[0], 1.0)


class LineBudget:
    """Lets so many lines about images through in a window, and counts the others. `now` is a monotonic clock."""

    def __init__(self, lines: int = LINES_IN_A_WINDOW, window_seconds: float = WINDOW_SECONDS) -> None:
        self._lines = lines
        self._window_seconds = window_seconds
        self._begun_at = float("-inf")
        self._written = 0
        self._left_out = 0

    def take(self, now: float) -> bool:
        """Tell whether one more line may be written."""
        if now - self._begun_at >= self._window_seconds:
            self._begun_at, self._written = now, 0
        self._written += 1
        if self._written > self._lines:
            self._left_out += 1
        return self._written <= self._lines

    def take_left_out(self, now: float) -> int:
        """Give how many were left out in a window that is over, and forget them."""
        if not self._left_out or now - self._begun_at < self._window_seconds:
            return 0
        left_out, self._left_out = self._left_out, 0
        return left_out


class ImageLog:
    """One line for each image, unless `logging.images` is off, and never so many that errors drown.

    The journal drops lines of a service that writes very many, whichever they are; files don't.
    """

    def __init__(self, settings: Logging, budget: LineBudget | None = None) -> None:
        self._is_wanted = settings.images
        self._budget = budget
        self._log = log.bind()  # once, not for each line

    def apply(self, settings: Logging) -> None:
        """Go by new settings from now on."""
        self._is_wanted = settings.images

    def write(self, file: JudgedFile, now: float) -> None:
        """Write the line of an image."""
        if not self._is_wanted or (self._budget is not None and not self._budget.take(now)):
            return
        decision, image = file.decision, file.intents[0]
        self._log.info(
            decision.verdict,
            path=printable(file.candidate.relative_path),
            reason=decision.reason,
            detail=printable(decision.detail),
            score=rounded(decision.score, ACCEPTED_FROM, 3),
            source=file.candidate.source,
            class_name=printable(file.class_name),
            destination=printable(image.destination_path),
            sha256=image.sha256,
            duration_ms=round(file.measurement.duration_ms, 1),
        )

    def report_left_out(self, now: float) -> None:
        """Say how many lines were left out, once it is over."""
        if self._budget is not None and (number := self._budget.take_left_out(now)):
            hint = "the journal would have dropped errors, too; the audit log has every image"
            log.info("lines about images left out", number=number, why=hint)


class FiledImages(Part):
    """Counts and reports filed images; `emptied` is told of each folder that one has left."""

    def __init__(self, settings: Logging, metrics: DaemonMetrics, emptied: Callable[[str], None]) -> None:
        self._metrics = metrics
        self._emptied = emptied
        self._totals = Totals()
        self._image_log = ImageLog(settings, LineBudget() if logs.go_to_journal() else None)

    def add(self, file: JudgedFile) -> None:
        """Count an image that has just been filed, and write its line."""
        now = time.monotonic()
        self._totals.count(file.decision.verdict, file.decision.reason, now)
        self._metrics.count(file)
        self._image_log.write(file, now)
        self._emptied(os.path.dirname(file.intents[0].source_path))

    def step(self, now: float) -> None:
        """Report the lines that were left out."""
        self._image_log.report_left_out(now)

    def next_due(self, now: float) -> float | None:
        """Look at least as often as a window of the journal lasts."""
        return now + WINDOW_SECONDS

    def reload(self, settings: Settings) -> None:
        """Write lines as the configuration now says."""
        self._image_log.apply(settings.logging)

    def snapshot(self, so_far: Snapshot, now: float) -> Snapshot:
        """Add the counts."""
        return replace(
            so_far,
            accepted=self._totals.verdicts["accepted"],
            quarantined=self._totals.verdicts["quarantined"],
            reasons=dict(self._totals.reasons),
            images_per_second=round(self._totals.images_per_second(now), 2),
        )
