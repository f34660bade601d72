"""What may be done with an image in which state. Pure: a table."""

from collections.abc import Mapping

from imageguard_daemon.audit.quarantine_queries import State
from imageguard_daemon.core.model import ReviewAction

_RETURNED = "was put back into the inbox, and judged again"
_GONE: Mapping[State, str] = {"purged": "was purged", "returned": _RETURNED}
_REJECTED_BY_DAEMON: Mapping[State, str] = {
    "waiting": "is rejected already",
    "confirmed": "is rejected already",
    "released": "was rejected by the daemon and released by a review; undo that",
}
_REFUSALS: Mapping[ReviewAction, Mapping[State, str]] = {
    "release": {
        **_GONE,
        "released": "is released already",
        "accepted": "is accepted already",
        "approved": "is accepted already",
    },
    "rejudge": {
        **_GONE,
        "confirmed": "was confirmed by a person",
        "released": "is released already",
        "accepted": "is accepted already",
        "approved": "is accepted already",
        "rejected": "was rejected by a person",
    },
    "confirm": {
        **_GONE,
        "confirmed": "is confirmed already",
        "released": "is released; undo that first",
        "accepted": "is accepted, not rejected",
        "approved": "is accepted, not rejected",
        "rejected": "was rejected by a person, which confirms it",
    },
    "reject": {**_GONE, **_REJECTED_BY_DAEMON, "rejected": "is rejected already"},
    "approve": {
        **_GONE,
        **_REJECTED_BY_DAEMON,
        "approved": "is approved already",
        "rejected": "was rejected by a person; undo that first",
    },
    "purge": {
        "waiting": "is not confirmed; only confirmed rejections are purged",
        "released": "is released",
        "purged": "was purged already",
        "returned": _RETURNED,
        "accepted": "is accepted",
        "approved": "is accepted",
    },
    "undo": {
        "waiting": "has no review to undo",
        "accepted": "has no review to undo",
        "purged": "was purged; it cannot be restored",
        "returned": _RETURNED,
    },
}


def refusal(action: ReviewAction, state: State) -> str:
    """Say why an action makes no sense in this state, as the end of a sentence; empty when it does."""
    return _REFUSALS[action].get(state, "")


def recorded_as(action: ReviewAction, state: State) -> ReviewAction:
    """Give what an action is in this state: to release what a person rejected takes that rejection back."""
    return "undo" if (action, state) == ("release", "rejected") else action
