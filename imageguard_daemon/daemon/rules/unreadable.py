"""Files that their disk does not give, though others of it may be read: bad sectors, files that their server lost.

Whether it is the file or the disk, nobody says, nor of a read that hangs; only others tell. So each is asked for again
after a while, and ever more rarely when others were filed meanwhile: then it is the file. Pure: the clock is passed in.
"""

import errno
from dataclasses import dataclass, field

from imageguard_daemon.core.backoff import Backoff
from imageguard_daemon.core.model import Candidate

MAY_BE_ONE_FILE = frozenset({errno.EIO, errno.ESTALE, errno.EREMOTEIO, errno.ETIMEDOUT})
"""Errors of a read that may be about this file alone. Others, such as ENOTCONN, are about all."""
PAUSES = Backoff(first_seconds=5.0, longest_seconds=600.0)
PERMISSION_PAUSE_SECONDS = 30.0
BLAMED_PAUSE_SECONDS = PAUSES.after(4)
"""When it has come to this, others were filed three times meanwhile: it is the file."""
_REMEMBERED = 10_000


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
        pause = PAUSES.after(failures)
        return pause, PAUSES.after(before) < BLAMED_PAUSE_SECONDS <= pause

    def pause_of_forbidden(self, candidate: Candidate, now: float) -> float:
        """Say how long a file waits that may not be read: for as long as it has waited so far, within limits.

        Thousands of them, asked for twice a minute, would keep everybody's workers busy.
        """
        since = self._forbidden_since.setdefault(candidate, now)
        if len(self._forbidden_since) > _REMEMBERED:
            del self._forbidden_since[next(iter(self._forbidden_since))]
        return min(max(now - since, PERMISSION_PAUSE_SECONDS), PAUSES.longest_seconds)

    def could_be_read(self, candidate: Candidate) -> None:
        """Forget what was held against a file; another may come under its name."""
        self._known.pop(candidate, None)
        self._forbidden_since.pop(candidate, None)
