"""Which action fits which state."""

from typing import get_args

import pytest

from imageguard_daemon.audit.quarantined import STATE_AFTER, STATES
from imageguard_daemon.model import ReviewAction
from imageguard_daemon.review.transitions import refusal

ALLOWED: dict[ReviewAction, set[str]] = {
    "release": {"waiting", "confirmed"},
    "rejudge": {"waiting"},
    "confirm": {"waiting"},
    "purge": {"confirmed"},
    "undo": {"released", "confirmed"},
}


@pytest.mark.parametrize("action", ALLOWED)
def test_an_action_is_refused_in_every_other_state_with_a_reason(action: ReviewAction) -> None:
    """What is allowed is exactly what the documents say; each refusal is a sentence's end."""
    assert {state for state in STATES if not refusal(action, state)} == ALLOWED[action]


def test_every_action_of_people_is_looked_at() -> None:
    """The only other one is the daemon's own: nobody is asked for a return."""
    assert {*ALLOWED, "return"} == set(get_args(ReviewAction))


def test_every_action_leads_to_a_state() -> None:
    """No review leaves an image in a state nobody knows."""
    assert set(STATE_AFTER) == {"", *get_args(ReviewAction)}
    assert set(STATE_AFTER.values()) == set(STATES)
