"""What the pipeline knows of each source: its inbox, the profile in force, and whether it has to pause."""

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, field

import structlog

from imageguard_daemon.config import Source
from imageguard_daemon.core.backoff import Backoff
from imageguard_daemon.intake.inbox import Inbox
from imageguard_daemon.quality.policy import thresholds_for

LONGEST_PAUSE_SECONDS = 30.0
_PAUSES = Backoff(1.0, LONGEST_PAUSE_SECONDS)

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class ServedSource:
    """One source while it is being served. One thread only."""

    settings: Source
    inbox: Inbox
    thresholds: dict[str, float] = field(init=False)
    paused_because: str = ""
    worked_at: float = -math.inf
    """When the last of its files was filed, on the monotonic clock."""
    _is_reported: bool = False
    _pauses: int = 0
    """In a row, but for those that had a length of their own."""
    _paused_until: float = 0.0

    def __post_init__(self) -> None:
        self.apply(self.settings)

    def apply(self, settings: Source) -> None:
        """Judge by the rules of new settings from the next decision on; the folders stay as they are."""
        self.thresholds = thresholds_for(settings.preset, settings.thresholds)
        self.settings = self.settings.with_rules_of(settings)

    def path_of(self, relative_path: str) -> str:
        """Give the absolute path of a file of the inbox."""
        return os.path.join(self.settings.inbox, relative_path)

    @property
    def destinations(self) -> str:
        """Where its files go, in words."""
        return " or ".join(map(str, self.settings.destinations))

    def pause(self, why: str, now: float, seconds: float | None = None) -> None:
        """Take nothing for a while; each pause in a row is twice as long, unless one has a length of its own.

        Of a source that works in between, such moments are not reported.
        """
        is_known = why == self.paused_because and self._is_reported
        if not is_known and (seconds is None or now - self.worked_at > LONGEST_PAUSE_SECONDS):
            log.error("source paused", source=self.settings.name, why=why)
            self._is_reported = True
        if seconds is None:
            self._pauses += 1
            seconds = _PAUSES.after(self._pauses)
        self._paused_until = max(self._paused_until, now + seconds)
        self.paused_because = why
        self.inbox.walk_soon()  # what was in work has been let go of; the walk finds it again

    def is_paused(self, now: float) -> bool:
        """Tell whether the pause is still on; afterwards single files probe whether the cause has gone."""
        return now < self._paused_until

    def room(self, room: int, now: float) -> int:
        """Say how many of `room` candidates this source may give: none in a pause, one to probe its end."""
        if self.is_paused(now):
            return 0
        return min(room, 1) if self.paused_because else room

    def works_again(self, now: float) -> None:
        """End a pause: something of this source has just been recorded and moved."""
        self.worked_at = now
        if self._is_reported:
            log.info("source resumed", source=self.settings.name)
        self.paused_because, self._is_reported = "", False
        self._pauses, self._paused_until = 0, 0.0

    def next_probe(self) -> float | None:
        """Say when the pause is over, if there is one."""
        return self._paused_until if self.paused_because else None


def pause_all(sources: Iterable[ServedSource], why: str, now: float) -> None:
    """Pause all sources, for what all of them need: the log."""
    for source in sources:
        source.pause(why, now)


def remove_emptied_folders(folder: str, inbox: str) -> None:
    """Remove a sub-folder of the inbox and the folders above it, as far as they are empty."""
    while folder.startswith(os.path.join(inbox, "")):
        try:
            os.rmdir(folder)
        except OSError:  # not empty, gone already, or not ours to remove
            return
        folder = os.path.dirname(folder)
