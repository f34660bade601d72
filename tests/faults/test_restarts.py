"""Any restart: no state a run leaves behind makes each further start end the same way."""

import os

from imageguard_daemon.audit.writer import AuditWriter
from tests.faults.requirements import need_root
from tests.faults.site import Site, wait_until
from tests.faults.uploading import put, unique
from tests.helpers.records import intent, judged


def interrupted(site, name):
    """Leave a file in the inbox whose move was recorded and never happened."""
    put(site.inbox, name, unique("good"))
    audit = AuditWriter(site.database, site.root)
    audit.record_intents([judged(intent(site.inbox / name, site.accepted / name), relative_path=name)])
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
    assert site.waiting() == []
