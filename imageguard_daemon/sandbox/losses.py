"""What losing a decoder over an image means: one policy for daemon, scan, back-fill and pages.

    it crashed by itself        twice: the image is `corrupt`
    it met a limit of ours      twice, time or memory: the image is `too_large`
    it was killed from outside  twice: the surroundings are at fault, and the image is tried again another time
    it was kept from running    twice: the machine has too much to do, and nothing of this source is tried for a while

A loss alone says nothing: the image is tried once more, at once. Pure.
"""

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from imageguard_daemon.core.errors import RetryableError, StalledError

ENOUGH = 2
"""So many losses of one kind are not chance."""


class Cause(Enum):
    """Who ended a decoder."""

    crashed = "crashed"
    limited = "limited"
    killed = "killed"
    starved = "starved"


@dataclass(frozen=True, slots=True)
class Loss:
    """One process that was lost over an image: what it did, in words that go on after "it"."""

    what: str
    cause: Cause = Cause.crashed


_KILLED_FROM_OUTSIDE = {-signal.SIGKILL, -signal.SIGTERM}
"""No decoder ends itself like this; the kernel short of memory does, and people do."""
KILLED = Loss("was killed, perhaps for lack of memory", Cause.killed)


def loss_by_exit(code: int, what: str) -> Loss:
    """Say what became of a process that ended with this code of its own."""
    return KILLED if is_killed(code) else Loss(f"ended its {what} with code {code}")


def is_killed(code: int) -> bool:
    """Tell whether somebody else has ended a process with this code."""
    return code in _KILLED_FROM_OUTSIDE


def issue_of(losses: Sequence[Loss]) -> tuple[str, str] | None:
    """Give issue and detail of an image over which decoders were lost; None when it is to be tried once more.

    Raises:
        RetryableError: they were killed from outside, which says nothing about the image.
        StalledError: they were kept from running, which says nothing about any image.
    """
    for cause, issue in ((Cause.crashed, "corrupt"), (Cause.limited, "too_large")):
        descriptions = [loss.what for loss in losses if loss.cause is cause]
        if len(descriptions) >= ENOUGH:
            return issue, f"tried twice: {'; '.join(descriptions)}"
    killed = [loss.what for loss in losses if loss.cause is Cause.killed]
    if len(killed) >= ENOUGH:
        raise RetryableError(f"its process {killed[-1]}")
    starved = [loss.what for loss in losses if loss.cause is Cause.starved]
    if len(starved) >= ENOUGH:
        raise StalledError(f"decoding an image {starved[-1]}: this machine is overloaded, or short of memory")
    return None
