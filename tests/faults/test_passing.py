"""Faults that pass are retried, never quarantined; clock jumps change nothing."""

import pytest

from tests.faults import clock, passing
from tests.faults.requirements import need_root, need_tools


@pytest.mark.parametrize("cause", passing.CAUSES)
def test_a_fault_that_passes_costs_no_file_and_no_verdict(launcher, tmp_path, cause):
    """While the cause lasts good images wait in the inbox; within 60 s of its end they are accepted."""
    if cause in passing.NEED_A_SMALL_DISK:
        need_root()
    if cause.startswith("EIO"):
        need_tools("strace")
    assert passing.pass_by(launcher, tmp_path, cause).violations == []


def test_a_failed_fsync_stops_the_daemon_loudly(launcher, tmp_path):
    """After an fsync that failed nothing is moved any more, the exit code says so, and a later start goes on."""
    need_tools("strace")
    assert passing.failed_fsync(launcher, tmp_path).violations == []


def test_clock_jumps_change_no_decision(launcher, tmp_path):
    """Ten years forward and ten years back: the same pictures get the same decisions, in the same order."""
    assert clock.jump(launcher, tmp_path).violations == []
