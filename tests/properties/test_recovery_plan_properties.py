"""The table of recovery: every state of the disk has one answer, and none destroys anything."""

import itertools

import pytest

from imageguard_daemon.filing.rules.recovery_plan import Presence, repair_for

STATES = list(itertools.product(Presence, Presence))


@pytest.mark.parametrize(("source", "destination"), STATES)
def test_every_state_has_an_answer_that_loses_nothing(source: Presence, destination: Presence) -> None:
    """A source is removed only when the very same bytes are at both ends."""
    repair = repair_for(source, destination)
    assert repair.remove_source == (source is destination is Presence.same)


@pytest.mark.parametrize(("source", "destination"), STATES)
def test_a_move_is_recorded_exactly_when_the_judged_bytes_arrived(source: Presence, destination: Presence) -> None:
    """`moved` stands for the judged content at the destination, and for nothing else."""
    assert (repair_for(source, destination).outcome == "moved") == (destination is Presence.same)


@pytest.mark.parametrize(("source", "destination"), STATES)
def test_only_a_missing_source_alarms_anybody(source: Presence, destination: Presence) -> None:
    """As long as something lies in the inbox it is simply looked at again."""
    alarming = repair_for(source, destination).outcome in {"lost", "disputed"}
    assert alarming == (source is Presence.absent and destination is not Presence.same)
