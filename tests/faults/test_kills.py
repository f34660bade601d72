"""Killed at any moment: a sample of what the full run does."""

from tests.faults import kills
from tests.faults.requirements import need_root, need_strace


def test_a_kill_at_any_system_call_loses_nothing(launcher, tmp_path):
    """SIGKILL at system calls of one filing: the next start leaves every file in one place with one record."""
    need_strace()
    figures = kills.kill_at_system_calls(launcher, tmp_path, None, kills.some(5))
    assert figures.violations == []
    assert figures.counts["kills"] >= 3, "too few kills hit"


def test_a_kill_at_any_system_call_of_a_copy_loses_nothing(launcher, tmp_path, elsewhere):
    """The same where files are copied to another device."""
    need_strace()
    figures = kills.kill_at_system_calls(launcher, tmp_path, elsewhere, kills.some(5))
    assert figures.violations == []
    assert figures.counts["kills"] >= 3, "too few kills hit"


def test_kills_under_load_lose_nothing(launcher, tmp_path):
    """SIGKILL at random while files stream in leaves nothing lost, doubled, overwritten or unrecorded."""
    assert kills.kill_under_load(launcher, tmp_path, None, 2).violations == []


def test_kills_lose_nothing_where_writers_are_not_known(launcher, open_folder, elsewhere):
    """The same where uploaders have another account than the daemon, and old files of copies are kept for a while."""
    need_root()
    assert kills.kill_under_load(launcher, open_folder, elsewhere, 2, accounts=2).violations == []
    assert "files of account" in (open_folder / "log.jsonl").read_text()
