"""Never blind: events are hints, and files are found without them."""

from functools import partial

from tests.faults import blind
from tests.faults.figures import all_at_once
from tests.faults.requirements import need, need_root, need_tools


def test_an_overflowing_event_queue_hides_no_file(launcher, tmp_path):
    """A burst far beyond the kernel's queue is decided within two reconciliations, and the loss is told."""
    need_root()
    assert blind.queue_overflow(launcher, tmp_path, 150).violations == []


def test_the_watch_limit_hides_no_file(launcher, tmp_path):
    """With fewer watches than folders every file is still decided within two reconciliations."""
    need_tools("unshare")
    need(blind.unshare_works(), "user namespaces")
    assert blind.watch_limit(launcher, tmp_path).violations == []


def test_a_dead_inotify_thread_is_noticed(launcher, tmp_path):
    """When the thread that reads events dies, files are still decided in time, and it is told and renewed."""
    assert blind.dead_thread(launcher, tmp_path).violations == []


def test_an_inbox_that_changes_under_the_daemon_is_followed(launcher, tmp_path):
    """An inbox that is deleted, recreated, renamed or replaced is watched again, and the log says so."""
    changes = [partial(blind.root_changes, launcher, how=how) for how in blind.ROOT_CHANGES]
    assert all_at_once(tmp_path, changes) == []


def test_an_inbox_that_is_mounted_over_is_followed(launcher, tmp_path):
    """Files in a mount over the inbox are judged, and those below it when it is gone."""
    need_root()
    assert blind.mounted_over(launcher, tmp_path).violations == []
