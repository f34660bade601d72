"""Killed while acting on filed images or archiving: a sample of what the full run does."""

import pytest

from tests.faults import kills, reviews
from tests.faults.requirements import need_strace


@pytest.mark.parametrize("action", reviews.ACTIONS)
def test_a_kill_at_any_system_call_of_a_command_loses_nothing(launcher, tmp_path, action):
    """SIGKILL while acting, beside a daemon or not: each file in one place, log and folders agree."""
    need_strace()
    _kill(launcher, tmp_path, None, action)


@pytest.mark.parametrize("action", ["release", "reject"])
def test_a_kill_while_copying_to_another_disk_loses_nothing(launcher, tmp_path, elsewhere, action):
    """The same where the other folder is on another file system, so that moves are copies."""
    need_strace()
    _kill(launcher, tmp_path, elsewhere, action)


def _kill(launcher, home, elsewhere, action):
    """Kill it at two system calls. One in seven does not come the next time, so where none did, two more are tried."""
    for _ in range(4):
        tried = reviews.kill_at_system_calls(launcher, home, elsewhere, action, kills.some(2))
        assert tried.violations == []
        if tried.counts["kills"]:
            return
    pytest.fail("no kill hit")
