"""Killed while results are written: a sample of what the full run does."""

import pytest

from tests.faults import kills, results
from tests.faults.requirements import need_strace


@pytest.mark.parametrize("name", results.WRITERS)
def test_a_kill_at_any_system_call_leaves_old_results_or_new_ones(launcher, tmp_path, name):
    """Each result is of one piece wherever SIGKILL hits, and the next run makes what this one would have made."""
    pytest.importorskip("pyarrow", reason="needs the extra `parquet`")
    need_strace()
    tried = results.kill_at_system_calls(launcher, tmp_path, name, kills.some(2))
    assert tried.violations == []
    assert tried.counts["kills"], "no kill hit"
