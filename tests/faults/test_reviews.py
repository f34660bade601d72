"""Killed while acting on rejected images: a sample of what the full run does."""

import pytest

from tests.faults import kills, reviews
from tests.faults.requirements import need_strace


@pytest.mark.parametrize("action", reviews.ACTIONS)
def test_a_kill_at_any_system_call_of_a_review_loses_nothing(launcher, tmp_path, action):
    """SIGKILL while acting, beside a daemon or not: each file in one place, log and folders agree."""
    need_strace()
    figures = reviews.kill_at_system_calls(launcher, tmp_path, None, action, kills.some(2))
    assert figures.violations == []
    assert figures.counts["kills"] >= 1, "too few kills hit"


def test_a_kill_at_any_system_call_of_a_release_to_another_disk_loses_nothing(launcher, tmp_path, elsewhere):
    """The same where the image is copied."""
    need_strace()
    figures = reviews.kill_at_system_calls(launcher, tmp_path, elsewhere, "release", kills.some(2))
    assert figures.violations == []
    assert figures.counts["kills"] >= 1, "too few kills hit"
