"""Times as people write them on the command line."""

from datetime import UTC, datetime, timedelta

import pytest

from imageguard_daemon.core.errors import UsageError
from imageguard_daemon.reporting.period import parse_period

NOW = datetime(2025, 3, 15, 10, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("30m", timedelta(minutes=30)),
        ("12h", timedelta(hours=12)),
        ("7d", timedelta(days=7)),
        ("2w", timedelta(weeks=2)),
        (" 7 D ", timedelta(days=7)),
    ],
)
def test_relative_times_count_back_from_now(text: str, ago: timedelta) -> None:
    """`7d` is exactly seven days before now."""
    assert parse_period(text, None, NOW) == (NOW - ago, NOW)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2025-03-01", datetime(2025, 3, 1, tzinfo=UTC)),
        ("2025-03-01T08:30", datetime(2025, 3, 1, 8, 30, tzinfo=UTC)),
        ("2025-03-01 08:30:15", datetime(2025, 3, 1, 8, 30, 15, tzinfo=UTC)),
        ("2025-03-01T08:30Z", datetime(2025, 3, 1, 8, 30, tzinfo=UTC)),
        ("2025-03-01T08:30+02:00", datetime(2025, 3, 1, 6, 30, tzinfo=UTC)),
    ],
)
def test_iso_times_are_utc_unless_they_say_otherwise(text: str, moment: datetime) -> None:
    """A time without a zone is read as the log is written, in UTC."""
    assert parse_period(text, None, NOW) == (moment, NOW)


def test_a_plain_date_is_a_whole_day() -> None:
    """From a date until the same date is that day, midnight to midnight UTC."""
    day = datetime(2025, 3, 1, tzinfo=UTC)
    assert parse_period("2025-03-01", "2025-03-01", NOW) == (day, day + timedelta(days=1))


def test_an_open_period_has_no_ends() -> None:
    """Without times all of the log is meant."""
    assert parse_period(None, None, NOW) == (None, None)


def test_a_period_that_began_and_has_no_end_ends_now() -> None:
    """What a wrong clock stamped for later is in no period of the past; who asks for what is to come gets it."""
    day = datetime(2031, 1, 1, tzinfo=UTC)
    assert parse_period("7d", None, NOW)[1] == NOW
    assert parse_period("2031-01-01", None, NOW) == (day, None)
    assert parse_period("7d", "2031-01-01", NOW)[1] == day + timedelta(days=1)


@pytest.mark.parametrize(
    "text", ["", "yesterday", "7", "7y", "-7d", "1.5h", "2025-13-01", "99999999999w", "0001-01-01T00:00+14:00"]
)
def test_what_is_no_time_is_answered_with_an_example(text: str) -> None:
    """A mistake names the option and shows what would have worked."""
    with pytest.raises(UsageError, match=r"--since .*7d.*2025-01-31"):
        parse_period(text, None, NOW)


def test_the_last_date_has_no_day_after_it() -> None:
    """A date at the end of time is a mistake and not a crash."""
    with pytest.raises(UsageError, match="--until"):
        parse_period(None, "9999-12-31", NOW)


@pytest.mark.parametrize(("since", "until"), [("1d", "2d"), ("2025-03-02", "2025-03-01"), ("1h", "1h")])
def test_a_period_must_not_end_before_it_begins(since: str, until: str) -> None:
    """An empty period is a mistake, not an empty report."""
    with pytest.raises(UsageError, match="not before"):
        parse_period(since, until, NOW)
