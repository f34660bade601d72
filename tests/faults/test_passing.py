"""Faults that pass are retried, never quarantined; clock jumps change nothing."""

from functools import partial

from tests.faults import clock, passing
from tests.faults.figures import all_at_once
from tests.faults.requirements import need_root, need_strace


def test_faults_that_pass_cost_no_file_and_no_verdict(launcher, tmp_path):
    """While a cause lasts good images wait in the inbox; within 60 s of its end they are accepted."""
    need_strace()
    here = [cause for cause in passing.CAUSES if cause not in passing.DISKS]
    assert all_at_once(tmp_path, [partial(passing.pass_by, launcher, cause=cause) for cause in here]) == []


def test_faults_of_a_disk_that_pass_cost_no_file_and_no_verdict(launcher, tmp_path):
    """The same when the disk of the destinations is full, read-only or gone."""
    need_root()
    assert all_at_once(tmp_path, [partial(passing.pass_by, launcher, cause=cause) for cause in passing.DISKS]) == []


def test_a_failed_fsync_stops_the_daemon_loudly(launcher, tmp_path):
    """After an fsync that failed nothing is moved any more, the exit code says so, and a later start goes on."""
    need_strace()
    assert passing.failed_fsync(launcher, tmp_path).violations == []


def test_a_rename_of_doubtful_success_is_left_to_recovery(launcher, tmp_path):
    """When the disk fails at the very rename, nothing is recorded of it until a start has looked at what is there."""
    assert passing.doubtful_rename(launcher, tmp_path).violations == []


def test_clock_jumps_change_no_decision(launcher, tmp_path):
    """Ten years forward and ten years back: the same pictures get the same decisions, in the same order."""
    assert clock.jump(launcher, tmp_path).violations == []
