"""Pauses after failures."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imageguard_daemon.core.backoff import Backoff


def test_each_pause_is_twice_the_last_up_to_a_ceiling_and_a_success_begins_again() -> None:
    pauses = Backoff(2.0, 30.0)
    assert [pauses.after(failures) for failures in (1, 2, 3, 4, 5, 6)] == [2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert pauses.after(0) == 0.0


def test_a_ceiling_below_the_first_pause_counts() -> None:
    assert Backoff(1.0, 0.25).after(1) == 0.25


@given(st.floats(0.001, 100), st.floats(0.001, 1e6), st.floats(1, 10), st.integers(1, 10**9))
def test_no_number_of_failures_is_too_many(first: float, longest: float, factor: float, failures: int) -> None:
    pauses = Backoff(first, longest, factor)
    assert 0 < pauses.after(failures) <= pauses.after(failures + 1) <= longest


@pytest.mark.parametrize("failures", [2_000, 10**9])
def test_without_a_ceiling_it_grows_for_ever(failures: int) -> None:
    assert Backoff(0.5).after(failures) == math.inf
