"""Any restart: no state a run leaves behind makes each further start end the same way."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

from imageguard_daemon.audit.writer import AuditWriter
from imageguard_daemon.core.locks import running_process
from tests.faults.requirements import need_root
from tests.faults.site import Site, wait_until
from tests.faults.uploading import put, unique
from tests.helpers.records import intent, judged


def interrupted(site, name):
    """Leave a file in the inbox whose move was recorded and never happened."""
    put(site.inbox, name, unique("good"))
    audit = AuditWriter(site.database, site.root)
    file = judged(intent(site.inbox / name, site.accepted / name), relative_path=name)
    candidate = replace(file.candidate, source=site.inbox.name)
    audit.record_intents([replace(file, candidate=candidate)])
    audit.close()


def test_a_file_nobody_may_read_ends_no_start(launcher, tmp_path):
    """With mode 000 and an open intent it waits, is told, and all others are filed; with its mode back it is, too."""
    need_root()  # to take the right to ignore modes away
    site = Site(tmp_path)
    interrupted(site, "cat/secret.jpg")
    secret = site.inbox / "cat/secret.jpg"
    secret.chmod(0)
    daemon = launcher.start_and_wait(site, faults=["bound_by_permissions"])
    put(site.inbox, "cat/other.jpg", unique("good"))
    wait_until(site.decisions, "the other file is filed")
    assert [event["why"] for event in site.events("left unfinished")] == ["secret.jpg: Permission denied"]
    assert daemon.stop() == os.EX_OK
    secret.chmod(0o644)
    launcher.recover(site)
    assert sorted(name for name, *_ in site.decisions()) == ["cat/other.jpg", "cat/secret.jpg"]
    assert site.waiting() == []


def test_a_root_that_was_moved_starts_with_what_a_crash_left(launcher, tmp_path):
    """Copied elsewhere with an open intent, the root goes on at its new place, and the file is filed once."""
    old = Site(tmp_path / "old")
    interrupted(old, "cat/1.jpg")
    (tmp_path / "new").mkdir()
    old.root.rename(tmp_path / "new/root")
    site = Site(tmp_path / "new")
    launcher.recover(site)
    assert [name for name, *_ in site.decisions()] == ["cat/1.jpg"]
    assert site.waiting() == site.events("left unfinished") == []


def _is_removed(folder: Path) -> bool:
    try:
        shutil.rmtree(folder)
    except OSError:  # the daemon has just made a file in it
        return False
    return True


def test_a_second_daemon_does_not_start_beside_one_whose_lock_was_removed(launcher, tmp_path):
    """Whoever removes `.imageguard` makes no room for a second one, and the first goes on and is known again."""
    site = Site(tmp_path)
    daemon = launcher.start_and_wait(site)
    wait_until(lambda: _is_removed(site.root / ".imageguard"), "the folder is removed, though the daemon writes to it")
    second = launcher.start(site)
    assert second.wait() == os.EX_TEMPFAIL
    assert "another daemon" in site.last_words()
    state = site.root / ".imageguard"
    wait_until(lambda: running_process(state) == daemon.pid, "the lock is made again")
    put(site.inbox, "cat/1.jpg", unique("good"))
    wait_until(site.decisions, "the first one goes on")
    assert daemon.stop() == os.EX_OK


def test_two_roots_on_one_inbox_are_refused(launcher, tmp_path):
    """The second one ends with 75 and names the inbox."""
    one, two = Site(tmp_path / "one"), Site(tmp_path / "two")
    two.inbox.rmdir()
    two.inbox.symlink_to(one.inbox)
    launcher.start_and_wait(one)
    second = launcher.start(two)
    assert second.wait() == os.EX_TEMPFAIL
    assert f"a daemon of another root takes the images of {two.inbox}" in two.last_words()


def test_an_inbox_made_anew_is_not_shared_either(launcher, tmp_path):
    """While a daemon runs its inbox is deleted and made again: a second root is refused it, as before."""
    one, two = Site(tmp_path / "one"), Site(tmp_path / "two")
    two.inbox.rmdir()
    two.inbox.symlink_to(one.inbox)
    launcher.start_and_wait(one)
    one.inbox.rmdir()
    one.inbox.mkdir()
    put(one.inbox, "cat/1.jpg", unique("good"))
    wait_until(one.decisions, "the first one goes on")
    assert launcher.start(two).wait() == os.EX_TEMPFAIL
