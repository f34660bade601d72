"""Killed while acting on filed images or archiving: a sample of what the full run does."""

import pytest

from tests.faults import kills, reviews
from tests.faults.requirements import need_strace


@pytest.mark.parametrize("action", reviews.ACTIONS)
def test_a_kill_at_any_system_call_of_a_command_loses_nothing(launcher, tmp_path, action):
    """SIGKILL while acting, beside a daemon or not: each file in one place, log and folders agree."""
    need_strace()
    tried = reviews.kill_at_system_calls(launcher, tmp_path, None, action, kills.some(2))
    assert tried.violations == []
    assert tried.counts["kills"] >= 1, "no kill hit"


@pytest.mark.parametrize("action", ["release", "reject"])
def test_a_kill_while_copying_to_another_disk_loses_nothing(launcher, tmp_path, elsewhere, action):
    """The same where the other folder is on another file system, so that moves are copies."""
    need_strace()
    tried = reviews.kill_at_system_calls(launcher, tmp_path, elsewhere, action, kills.some(2))
    assert tried.violations == []
    assert tried.counts["kills"] >= 1, "no kill hit"
