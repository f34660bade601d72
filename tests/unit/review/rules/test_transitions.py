"""Which action fits which state."""

from typing import get_args

import pytest

from imageguard_daemon.audit.quarantine_queries import STATE_AFTER, STATES
from imageguard_daemon.core.model import VERDICTS, ReviewAction
from imageguard_daemon.review.rules.transitions import recorded_as, refusal

ALLOWED: dict[ReviewAction, set[str]] = {
    "release": {"waiting", "confirmed", "rejected"},
    "rejudge": {"waiting"},
    "confirm": {"waiting"},
    "reject": {"accepted", "approved"},
    "approve": {"accepted"},
    "purge": {"confirmed", "rejected"},
    "undo": {"released", "confirmed", "rejected", "approved"},
}


@pytest.mark.parametrize("action", ALLOWED)
def test_an_action_is_refused_in_every_other_state_with_a_reason(action: ReviewAction) -> None:
    """What is allowed is exactly what the documents say; each refusal is a sentence's end."""
    assert {state for state in STATES if not refusal(action, state)} == ALLOWED[action]


def test_every_action_of_people_is_looked_at() -> None:
    """The only other one is the daemon's own: nobody is asked for a return."""
    assert {*ALLOWED, "return"} == set(get_args(ReviewAction))


def test_every_action_leads_to_a_state() -> None:
    """No review leaves an image in a state nobody knows, and each allowed action is one that its verdict knows."""
    assert set(STATE_AFTER) == set(VERDICTS)
    assert {action for after in STATE_AFTER.values() for action in after} == {"", *get_args(ReviewAction)}
    assert {state for after in STATE_AFTER.values() for state in after.values()} == set(STATES)
    for after in STATE_AFTER.values():
        states = {*after.values()} - {"purged", "returned"}  # which nothing follows, whoever rejected it
        allowed = {(action, state) for action in ALLOWED for state in ALLOWED[action] & states}
        assert {recorded_as(action, state) for action, state in allowed} <= set(after)


def test_to_release_what_a_person_rejected_is_to_undo_that() -> None:
    """Only then: all else is recorded as what it was called."""
    assert recorded_as("release", "rejected") == "undo"
    assert all(recorded_as(a, s) == a for a in ALLOWED for s in STATES if (a, s) != ("release", "rejected"))
