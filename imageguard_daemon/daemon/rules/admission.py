"""Which of the files that were read are judged now, and which wait, and for how long. Pure: the clock is passed in.

Verdicts that an upload which pauses would get, too, wait where writers are not known, until it is surely over. A whole
image is as good now as later; one that is empty, cut off or not readable may be on its way, from a scanner or an FTP
client that pauses for longer than files settle.

Files that their disk does not give, though others of it may be read (bad sectors, files that their server lost), wait,
too. Whether it is the file or the disk, nobody says, nor of a read that hangs; only others tell. So each is asked for
again after a while, and ever more rarely when others were filed meanwhile: then it is the file.

Content that was filed before is judged again, quarantined, or left where it lies.
"""

import errno
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from imageguard_daemon.core.backoff import Backoff
from imageguard_daemon.core.model import Candidate, FileIdentity, Measurement

CAPACITY = 5_000
"""So many are remembered; of others the next walk begins to wait again, when there is room again."""
_FORGOTTEN_AFTER_SECONDS = 600.0
_ONCE_PATIENCE_SECONDS = 30.0
_TOO_LARGE = "too_large"

MAY_BE_ONE_FILE = frozenset({errno.EIO, errno.ESTALE, errno.EREMOTEIO, errno.ETIMEDOUT})
"""Errors of a read that may be about this file alone. Others, such as ENOTCONN, are about all."""
UNREAD_PAUSES = Backoff(first_seconds=5.0, longest_seconds=600.0)
PERMISSION_PAUSE_SECONDS = 30.0
BLAMED_PAUSE_SECONDS = UNREAD_PAUSES.after(4)
"""When it has come to this, others were filed three times meanwhile: it is the file."""
_REMEMBERED = 10_000

Policy = Literal["accept", "quarantine", "skip"]
Pair = tuple[Candidate, Measurement]


def is_doubtful(measurement: Measurement) -> bool:
    """Tell whether an unfinished upload would be judged like this."""
    return bool(measurement.issue) and measurement.issue != _TOO_LARGE


@dataclass(frozen=True, slots=True)
class _Doubt:
    settled: FileIdentity | None
    since: float
    first_at: float


@dataclass(slots=True)
class Doubts:
    """Remembers since when each doubtful file has lain still. Times are seconds of a monotonic clock."""

    settle_seconds: float
    _doubts: dict[Candidate, _Doubt] = field(default_factory=dict)
    _came_back: dict[str, None] = field(default_factory=dict)
    """Paths of files that were written to after they had been filed."""

    def note_came_back(self, path: str) -> None:
        """Doubt any verdict on this file: filed again at once, it would come back again and again."""
        self._came_back[path] = None
        if len(self._came_back) > CAPACITY:
            del self._came_back[next(iter(self._came_back))]

    def has_come_back(self, path: str) -> bool:
        """Tell whether a file was written to after it had been filed, and has not been filed since."""
        return path in self._came_back

    def was_filed(self, path: str) -> None:
        """Hold no earlier return against what comes under this path."""
        self._came_back.pop(path, None)

    def believe_at(self, candidate: Candidate, now: float) -> float | None:
        """Say when a doubtful verdict on a candidate may be believed; None when it may be now."""
        doubt = self._doubts.pop(candidate, None)
        if candidate.still_since is None:
            return None
        since = candidate.still_since
        if doubt is not None and doubt.settled == candidate.settled:
            since = min(since, doubt.since)
        believe_at = since + self.settle_seconds
        if now >= believe_at:
            return None
        self._forget_old(now)
        if len(self._doubts) < CAPACITY:
            self._doubts[candidate] = _Doubt(candidate.settled, since, doubt.first_at if doubt else now)
        return believe_at

    def worth_waiting_for(self, now: float) -> Iterator[Candidate]:
        """Yield the doubtful candidates that `run --once` waits for: not those that go on changing."""
        patience = self.settle_seconds + _ONCE_PATIENCE_SECONDS
        return (candidate for candidate, doubt in self._doubts.items() if now < doubt.first_at + patience)

    def _forget_old(self, now: float) -> None:
        """Drop what has not been heard of for long: these files are gone."""
        if len(self._doubts) >= CAPACITY:
            last = now - self.settle_seconds - _FORGOTTEN_AFTER_SECONDS
            self._doubts = {candidate: doubt for candidate, doubt in self._doubts.items() if doubt.since > last}


@dataclass(slots=True)
class Unread:
    """Remembers since when, and for how long, each file waits. Times are seconds of a monotonic clock."""

    _known: dict[Candidate, tuple[float, int]] = field(default_factory=dict)
    """When each failed, and how many failures have counted against it by then."""
    _forbidden_since: dict[Candidate, float] = field(default_factory=dict)

    def pause_of(self, candidate: Candidate, now: float, worked_at: float) -> tuple[float, bool]:
        """Say how long a file waits that could not be read now; others of its source were filed last at `worked_at`.

        And whether it has become clear only now that it is the file.
        """
        failed_at, before = self._known.pop(candidate, (now, 1))
        failures = before + 1 if worked_at > failed_at else before
        if len(self._known) >= _REMEMBERED:
            del self._known[next(iter(self._known))]
        self._known[candidate] = now, failures
        pause = UNREAD_PAUSES.after(failures)
        return pause, UNREAD_PAUSES.after(before) < BLAMED_PAUSE_SECONDS <= pause

    def pause_of_forbidden(self, candidate: Candidate, now: float) -> float:
        """Say how long a file waits that may not be read: for as long as it has waited so far, within limits.

        Thousands of them, asked for twice a minute, would keep everybody's workers busy.
        """
        since = self._forbidden_since.setdefault(candidate, now)
        if len(self._forbidden_since) > _REMEMBERED:
            del self._forbidden_since[next(iter(self._forbidden_since))]
        return min(max(now - since, PERMISSION_PAUSE_SECONDS), UNREAD_PAUSES.longest_seconds)

    def could_be_read(self, candidate: Candidate) -> None:
        """Forget what was held against a file; another may come under its name."""
        self._known.pop(candidate, None)
        self._forbidden_since.pop(candidate, None)


@dataclass(frozen=True, slots=True)
class SortedOut:
    """What to do with the files of a group."""

    to_judge: list[Pair] = field(default_factory=list)
    skipped: list[tuple[Candidate, Measurement, str]] = field(default_factory=list)
    """Each with where its content was filed."""
    later: list[Candidate] = field(default_factory=list)
    """Twins of others in the group: what they are depends on what becomes of the first."""


def sort_out(pairs: Sequence[Pair], filed: Mapping[str, str], policy: Policy) -> SortedOut:
    """Sort a group by what is known of contents: `filed` has where each that was filed before is."""
    if policy == "accept":
        return SortedOut(to_judge=list(pairs))
    sorted_out = SortedOut()
    met: set[str] = set()
    for candidate, measurement in pairs:
        place = filed.get(measurement.sha256)
        if place is None and measurement.sha256 in met:
            sorted_out.later.append(candidate)
        elif place is None:
            sorted_out.to_judge.append((candidate, measurement))
        elif policy == "skip":
            sorted_out.skipped.append((candidate, measurement, place))
        else:
            sorted_out.to_judge.append((candidate, _marked(measurement, place)))
        met.add(measurement.sha256)
    return sorted_out


def _marked(measurement: Measurement, place: str) -> Measurement:
    """Make an image a duplicate, unless it could not be measured anyway."""
    if measurement.issue:
        return measurement
    return replace(measurement, measures=None, issue="duplicate", detail=f"the same bytes were filed as {place}")
