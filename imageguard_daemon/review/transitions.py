"""What may be done with a rejected image in which state. Pure: a table."""

from collections.abc import Mapping

from imageguard_daemon.audit.quarantined import State
from imageguard_daemon.model import ReviewAction

_RETURNED = "was put back into the inbox, and judged again"
_REFUSALS: Mapping[ReviewAction, Mapping[State, str]] = {
    "release": {"released": "is released already", "purged": "was purged", "returned": _RETURNED},
    "rejudge": {
        "confirmed": "was confirmed by a person",
        "released": "is released already",
        "purged": "was purged",
        "returned": _RETURNED,
    },
    "confirm": {
        "confirmed": "is confirmed already",
        "released": "is released; undo that first",
        "purged": "was purged",
        "returned": _RETURNED,
    },
    "purge": {
        "waiting": "is not confirmed; only confirmed rejections are purged",
        "released": "is released",
        "purged": "was purged already",
        "returned": _RETURNED,
    },
    "undo": {
        "waiting": "has nothing to undo",
        "purged": "was purged; nothing brings it back",
        "returned": _RETURNED,
    },
}


def refusal(action: ReviewAction, state: State) -> str:
    """Say why an action makes no sense in this state, as the end of a sentence; empty when it does."""
    return _REFUSALS[action].get(state, "")
