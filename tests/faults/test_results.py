"""Killed while results are written: a sample of what the full run does."""

import pytest

from tests.faults import kills, results
from tests.faults.requirements import need_strace


@pytest.fixture(scope="module")
def begun(session_launcher, tmp_path_factory):
    """What all of these commands read."""
    return results.begun(session_launcher, tmp_path_factory.mktemp("home"))


@pytest.mark.parametrize("name", results.WRITERS)
def test_a_kill_at_any_system_call_leaves_old_results_or_new_ones(launcher, begun, name):
    """Each result is of one piece wherever SIGKILL hits, and the next run makes what this one would have made."""
    pytest.importorskip("pyarrow", reason="needs the extra `parquet`")
    need_strace()
    results.forget(begun.home)
    tried = results.kill_at_system_calls(launcher, begun, name, kills.some(2))
    assert tried.violations == []
    assert tried.counts["kills"], "no kill hit"
