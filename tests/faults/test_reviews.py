"""Killed while acting on rejected images or archiving: a sample of what the full run does."""

from tests.faults import kills, reviews
from tests.faults.requirements import need_strace


def test_a_kill_at_any_system_call_of_a_command_loses_nothing(launcher, tmp_path, elsewhere):
    """SIGKILL while acting, beside a daemon or not: each file in one place, log and folders agree."""
    need_strace()
    tried = [
        reviews.kill_at_system_calls(launcher, tmp_path / action, None, action, kills.some(1))
        for action in reviews.ACTIONS
    ]
    tried.append(reviews.kill_at_system_calls(launcher, tmp_path / "copy", elsewhere, "release", kills.some(2)))
    assert [violation for figures in tried for violation in figures.violations] == []
    assert sum(figures.counts["kills"] for figures in tried) >= 3, "too few kills hit"
