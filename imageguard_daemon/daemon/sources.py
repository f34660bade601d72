"""What is known of each source (its inbox, the rules in force, whether it has to pause), and how inboxes take turns.

A walk, an event and a retry may each meet a slow disk. So every turn is bounded in time, and what it does not come to
is for the next one.
"""

import math
import os
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

import structlog

from imageguard_daemon.config import Settings, Source
from imageguard_daemon.core.backoff import Backoff
from imageguard_daemon.core.locks import DaemonLocks, taken_message
from imageguard_daemon.core.names import printable
from imageguard_daemon.core.timestamps import seconds_timestamp, utc_now
from imageguard_daemon.daemon.parts import FAILURES_SHOWN, FailedFile, Part, Snapshot, SourceSnapshot, earliest
from imageguard_daemon.daemon.stall_watch import StallWatch
from imageguard_daemon.intake.inbox import SECONDS_PER_STEP, Inbox
from imageguard_daemon.intake.rules.backlog import Backlog, Failure
from imageguard_daemon.quality.policy import thresholds_for

LONGEST_PAUSE_SECONDS = 30.0
_PAUSES = Backoff(1.0, LONGEST_PAUSE_SECONDS)

REVIEW_SECONDS = 15.0
"""How often files left behind are looked at: whether they went, or changed without an event."""
_GO_ON_SECONDS = 1.0
"""After so long a look at them goes on that a slow disk has interrupted: it is to do other things, too."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class ServedSource:
    """One source while it is being served. One thread only."""

    settings: Source
    inbox: Inbox
    thresholds: dict[str, float] = field(init=False)
    whereabouts: str = field(init=False)
    """Its folders in words."""
    _prefix: str = field(init=False)
    paused_because: str = ""
    worked_at: float = -math.inf
    """When the last of its files was filed, on the monotonic clock."""
    _is_reported: bool = False
    _pauses: int = 0
    """In a row, but for those that had a length of their own."""
    _paused_until: float = 0.0

    def __post_init__(self) -> None:
        self.apply(self.settings)
        self._prefix = os.path.join(self.settings.inbox, "")
        self.whereabouts = f"{self.settings.inbox}, or {self.destinations}"

    def apply(self, settings: Source) -> None:
        """Judge by the rules of new settings from the next decision on; the folders stay as they are."""
        self.thresholds = thresholds_for(settings.preset, settings.thresholds)
        self.settings = self.settings.with_rules_of(settings)

    def path_of(self, relative_path: str) -> str:
        """Give the absolute path of a file of the inbox."""
        return self._prefix + relative_path

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


class Inboxes(Part):
    """Asks every inbox in its turn."""

    def __init__(
        self, sources: Mapping[str, ServedSource], backlog: Backlog, locks: DaemonLocks, stall_watch: StallWatch
    ) -> None:
        self._sources = sources
        self._backlog = backlog
        self._locks = locks
        self._stall_watch = stall_watch
        self._next_review_at = 0.0
        self._to_review: deque[Failure] = deque()
        self._is_drained = False

    def step(self, now: float) -> None:
        """Look again at what failed, then at what is new: who has waited longest comes first."""
        self._retry(now)
        self._review_failures()
        if now >= self._next_review_at:
            self._next_review_at = now + REVIEW_SECONDS
            self._to_review = self._to_review or deque(self._backlog.failures)
        capacity = self._capacity_of_each()
        for name, source in self._sources.items():
            with self._stall_watch.touching(name, str(source.settings.inbox)):
                self._require_inbox(source, now)
                for candidate in source.inbox.step(now, source.room(capacity, now)):
                    self._backlog.offer(candidate)

    def next_due(self, now: float) -> float | None:
        """Say when the next file has settled, the next walk, retry or review is due, or a pause is over."""
        capacity = self._capacity_of_each()
        times = [now + _GO_ON_SECONDS if self._to_review else self._next_review_at, self._backlog.next_retry()]
        for source in self._sources.values():
            times.append(source.inbox.next_step(now, source.room(capacity, now)))
            probe_at = source.next_probe()
            if probe_at is not None and probe_at > now:  # one that is due has begun: a single file is on its way
                times.append(probe_at)
        return earliest(*times)

    def reload(self, settings: Settings) -> None:
        """Judge by new rules from now on, and give what was left behind another chance."""
        for fresh in settings.sources:
            if fresh.name in self._sources:
                self._sources[fresh.name].apply(fresh)
        self._backlog.give_all_another_chance()
        for source in self._sources.values():
            source.inbox.walk_soon()

    def has_work(self, now: float) -> bool:  # noqa: ARG002 - the protocol's
        """Tell whether a file waits for its verdict, or may still be met by the first walk."""
        if self._is_drained:
            return False  # what no worker has begun stays in the inbox, where the next start finds it
        return bool(self._backlog.held) or not all(
            source.inbox.exhausted or source.paused_because or not source.inbox.present
            for source in self._sources.values()
        )

    def conclude(self) -> Mapping[str, str]:
        """Say what stays in the inboxes."""
        sources = self._sources.values()
        failed = len(self._failures_to_show())
        settling = sum(source.inbox.settling_now() for source in sources)
        unreadable = sum(source.inbox.unreadable for source in sources)
        left = {
            "failed": f"{failed} files are left in the inbox: see `status`" if failed else "",
            "unreadable": f"{unreadable} folders cannot be read, or not to their end" if unreadable else "",
            "still changing": f"{settling} files are being written, changed or have just come" if settling else "",
            "paused": "; ".join(source.paused_because for source in sources if source.paused_because),
            "gone": "; ".join(str(source.settings.inbox) for source in sources if not source.inbox.present),
        }
        return {what: how for what, how in left.items() if how}

    def drain(self) -> None:
        """Take nothing new."""
        self._is_drained = True
        self.stop()

    def stop(self) -> None:
        """Stop watching."""
        for source in self._sources.values():
            source.inbox.stop()

    def snapshot(self, so_far: Snapshot, now: float) -> Snapshot:
        """Add the sources, what waits, and what failed."""
        oldest, failures = self._backlog.oldest, self._backlog.failures
        given_up = sum(failure.retry_at is None for failure in failures)
        return replace(
            so_far,
            backlog=self._backlog.held,
            oldest_arrived_at=oldest.settled.ctime_ns / 1e9 if oldest and oldest.settled else None,
            set_aside=len(failures) - given_up,
            given_up=given_up,
            retries=self._backlog.retries,
            sources=tuple(_source_snapshot(source, now) for source in self._sources.values()),
            failures=tuple(_failed_file(failure, now) for failure in self._failures_to_show()),
        )

    def remove_emptied(self, folder: str) -> None:
        """Remove a folder of an inbox, and those above it, as far as the last file of theirs has gone."""
        for source in self._sources.values():
            remove_emptied_folders(folder, str(source.settings.inbox))

    def _capacity_of_each(self) -> int:
        return self._backlog.room // len(self._sources)

    def _require_inbox(self, source: ServedSource, now: float) -> None:
        """Take nothing from an inbox that was recreated and locked by a daemon of another root meanwhile."""
        if not source.is_paused(now) and not self._locks.holds(source.settings.inbox):
            source.pause(taken_message(source.settings.inbox), now)

    def _retry(self, now: float) -> None:
        until = time.monotonic() + SECONDS_PER_STEP
        for candidate in self._backlog.take_retries(now):
            source = self._sources[candidate.source]
            with self._stall_watch.touching(candidate.source, str(source.settings.inbox)):
                source.inbox.look_again_at(candidate, now)
            if time.monotonic() >= until:
                return  # the others are as due at the next step

    def _review_failures(self) -> None:
        until = time.monotonic() + SECONDS_PER_STEP
        while self._to_review:
            failure = self._to_review.popleft()
            source = self._sources[failure.candidate.source]
            if source.inbox.present and self._backlog.still_waits(failure):
                with self._stall_watch.touching(source.settings.name, str(source.settings.inbox)):
                    source.inbox.review(failure.candidate)
                if time.monotonic() >= until:
                    return  # on a slow disk the rest is for the next steps

    def _failures_to_show(self) -> list[Failure]:
        """Leave out labels that wait for their image, which `status` finds in the inbox; given-up files come first."""
        shown = [f for f in self._backlog.failures if f.attempts or f.candidate.role == "image"]
        return sorted(shown, key=lambda failure: failure.retry_at is not None)[:FAILURES_SHOWN]


def _source_snapshot(source: ServedSource, now: float) -> SourceSnapshot:
    settings, inbox = source.settings, source.inbox
    seen_at = inbox.canary_seen_at
    return SourceSnapshot(
        settings.name,
        str(settings.inbox),
        inbox.present,
        inbox.settling,
        source.paused_because,
        _wall_clock(source.next_probe(), now),
        inbox.writers_unknown,
        inbox.skipped,
        canary_age_seconds=None if seen_at is None else now - seen_at,
    )


def _failed_file(failure: Failure, now: float) -> FailedFile:
    candidate, given_up = failure.candidate, failure.retry_at is None
    path, next_at = printable(candidate.relative_path), _wall_clock(failure.retry_at, now)
    return FailedFile(candidate.source, path, failure.attempts, given_up, failure.error, next_at)


def _wall_clock(moment: float | None, now: float) -> str:
    """Say in the time of the day when a moment of the monotonic clock is; empty for none."""
    if moment is None:
        return ""
    return seconds_timestamp(utc_now() + timedelta(seconds=max(0.0, moment - now)))
