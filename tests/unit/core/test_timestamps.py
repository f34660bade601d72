"""Moments as text."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imageguard_daemon.core.timestamps import parse_timestamp, seconds_timestamp, timestamp

IN_KOLKATA = datetime(2026, 1, 1, 1, 2, 3, 4_999, tzinfo=timezone(timedelta(hours=5, minutes=30)))
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECONDS = st.integers(-(10**13), 10**14)


def test_records_and_status_files_each_have_one_form_in_utc() -> None:
    assert timestamp(IN_KOLKATA) == "2025-12-31T19:32:03.004Z"
    assert seconds_timestamp(IN_KOLKATA) == "2025-12-31T19:32:03+00:00"


@given(MILLISECONDS, MILLISECONDS)
def test_text_order_of_records_is_time_order(one: int, other: int) -> None:
    first, second = (timestamp(EPOCH + timedelta(milliseconds=number)) for number in (one, other))
    assert (first < second) == (one < other)
    assert len(first) == len(second)


def test_what_was_written_is_read_as_the_same_moment() -> None:
    assert parse_timestamp(seconds_timestamp(IN_KOLKATA)) == IN_KOLKATA.replace(microsecond=0)
    assert parse_timestamp(timestamp(IN_KOLKATA)) == IN_KOLKATA.replace(microsecond=4_000)
    assert abs(parse_timestamp(seconds_timestamp()) - datetime.now(UTC)) < timedelta(seconds=5)
    with pytest.raises(ValueError, match="isoformat"):
        parse_timestamp("yesterday")
