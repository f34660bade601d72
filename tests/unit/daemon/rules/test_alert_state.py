"""Which findings are news, and when a try that failed is made again."""

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imageguard_daemon.audit.alerts import Alert, Attempt
from imageguard_daemon.daemon.rules.alert_state import FIRST_PAUSE, LONGEST_PAUSE, MAX_AT_ONCE, AlertState, next_try
from imageguard_daemon.reporting.finding import Finding

NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
CHANNELS = ("command", "webhook")


def finding(subject: str = "lynx", kind: str = "class_consistently_rejected") -> Finding:
    """Give a finding."""
    return Finding(kind, subject, f"Class {subject} is bad", "Look at it.", {"total": 12})


def recorded(alerts: list[Alert]) -> list[Alert]:
    """Give alerts as the log returns them."""
    return [dataclasses.replace(one, alert_id=number) for number, one in enumerate(alerts, 1)]


def delivered(state: AlertState, alerts: list[Alert], now: datetime) -> None:
    """Record alerts, and that they reached somebody."""
    state.add(alerts)
    for one in alerts:
        state.note(Attempt(one.alert_id, now, True))


def test_a_new_finding_is_news_for_every_channel_once() -> None:
    """Told by both, then never again while it goes on, for weeks."""
    state = AlertState(DAY)
    news = state.news([finding()], CHANNELS, NOON)
    assert [one.channel for one in news] == ["command", "webhook"]
    delivered(state, recorded(news), NOON)
    assert [state.news([finding()], CHANNELS, NOON + timedelta(hours=hour)) for hour in range(1, 900)] == [[]] * 899


def test_what_reached_nobody_for_a_whole_cool_down_is_told_again_while_it_goes_on() -> None:
    """A day without the chat server: another alert, tried again; the channel that works stays silent."""
    state = AlertState(DAY)
    command, webhook = recorded(state.news([finding()], CHANNELS, NOON))
    delivered(state, [command], NOON)
    state.add([webhook])
    for hour in range(1, 24):
        now = NOON + timedelta(hours=hour)
        assert state.news([finding()], CHANNELS, now) == []
        state.note(Attempt(webhook.alert_id, now, False, "no network"))
    [again] = state.news([finding()], CHANNELS, NOON + DAY)
    assert (again.channel, again.found_at, again.succeeded) == ("webhook", NOON + DAY, False)
    state.add([dataclasses.replace(again, alert_id=3)])
    assert [one.alert_id for one in state.due(NOON + DAY)] == [3]
    state.note(Attempt(3, NOON + DAY, True))
    assert state.news([finding()], CHANNELS, NOON + 5 * DAY) == []


def test_what_is_gone_for_the_cool_down_is_over_and_told_once() -> None:
    """A day without it: told as over, by the channel that told of it; then it may be new again."""
    state = AlertState(DAY)
    delivered(state, recorded(state.news([finding()], ["command"], NOON)), NOON)
    assert state.news([], ["command"], NOON + DAY * 0.99) == []
    [over] = state.news([], ["command"], NOON + DAY)
    assert over.is_over
    assert over.message.startswith("Over, or usual by now: Class lynx is bad")
    delivered(state, [dataclasses.replace(over, alert_id=2)], NOON + DAY)
    assert state.news([], ["command"], NOON + 1.5 * DAY) == []
    assert state.news([finding()], ["command"], NOON + 1.9 * DAY) == []  # back so soon is no news
    [again] = state.news([finding()], ["command"], NOON + 2 * DAY)
    assert not again.is_over


def test_a_finding_that_comes_and_goes_is_told_once() -> None:
    """At the edge of being one, found every third hour for a month: one alert."""
    state = AlertState(DAY)
    delivered(state, recorded(state.news([finding()], ["command"], NOON)), NOON)
    looks = [
        state.news([finding()] if hour % 3 == 0 else [], ["command"], NOON + timedelta(hours=hour))
        for hour in range(1, 700)
    ]
    assert looks == [[]] * 699


def test_what_nobody_was_told_of_is_not_told_to_be_over() -> None:
    """An alert that never arrived ends in silence."""
    state = AlertState(DAY)
    state.add(recorded(state.news([finding()], ["command"], NOON)))
    assert state.news([], ["command"], NOON + 2 * DAY) == []
    assert state.next_due(NOON + 2 * DAY) is None


def test_another_subject_or_kind_is_other_news() -> None:
    """A cool-down silences one piece of news only."""
    state = AlertState(DAY)
    state.add(recorded(state.news([finding()], ["command"], NOON)))
    others = [finding("dog"), finding(kind="mostly_blurry")]
    assert len(state.news([finding(), *others], ["command"], NOON)) == 2


def test_what_was_told_before_a_restart_is_known_after_it() -> None:
    """A state made from the log is as silent as the one before."""
    made = recorded(AlertState(DAY).news([finding()], ["command"], NOON))
    state = AlertState(DAY, made)
    assert state.news([finding()], ["command"], NOON + timedelta(hours=1)) == []
    assert state.due(NOON) == made
    later = NOON + 40 * DAY
    state = AlertState(DAY, [dataclasses.replace(one, succeeded=True) for one in made], later)
    assert state.news([finding()], ["command"], later) == []
    assert state.news([], ["command"], later + DAY * 0.9) == []
    assert len(state.news([], ["command"], later + DAY)) == 1


def test_a_clock_that_was_put_back_silences_nobody() -> None:
    """An alert that seems to come from next year does not stand in the way."""
    state = AlertState(DAY)
    state.add(recorded(state.news([finding()], ["command"], NOON + 365 * DAY)))
    assert len(state.news([finding()], ["command"], NOON)) == 1


def test_a_flood_is_told_in_parts() -> None:
    """No more than so many findings at once, each by all channels; the others at the next looks."""
    state = AlertState(DAY)
    findings = [finding(str(number)) for number in range(MAX_AT_ONCE + 5)]
    first = state.news(findings, CHANNELS, NOON)
    assert {one.key for one in first} == {
        (one.kind, one.subject, channel) for one in findings[:MAX_AT_ONCE] for channel in CHANNELS
    }
    state.add(recorded(first))
    assert len(state.news(findings, CHANNELS, NOON)) == 5 * len(CHANNELS)


def test_what_failed_is_tried_again_until_it_reaches_somebody() -> None:
    """Pauses double up to an hour; a success ends it."""
    state = AlertState(DAY)
    state.add(recorded(state.news([finding()], ["command"], NOON)))
    now, pauses = NOON, []
    for _ in range(9):
        [alert] = state.due(now)
        state.note(Attempt(alert.alert_id, now, False, "no network"))
        assert state.due(now) == []
        due = state.next_due(now)
        assert due is not None
        pauses.append(due - now)
        now = due
    assert pauses[0] == FIRST_PAUSE
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE
    state.note(Attempt(1, now, True))
    assert (state.next_due(now), state.due(now + timedelta(hours=2))) == (None, [])


@given(st.integers(1, 10**6))
def test_pauses_stay_within_their_bounds(attempts: int) -> None:
    """However often it failed, the next try is a minute to an hour away."""
    alert = Alert(NOON, "k", "s", "m", "command", attempts=attempts, attempted_at=NOON)
    assert FIRST_PAUSE <= next_try(alert) - NOON <= LONGEST_PAUSE


@pytest.mark.parametrize("channels", [(), ("command",)])
def test_nothing_found_is_no_news(channels: tuple[str, ...]) -> None:
    """Silence is not told."""
    assert AlertState(DAY).news([], channels, NOON) == []
