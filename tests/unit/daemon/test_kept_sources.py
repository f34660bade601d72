"""Images of unknown writers that are filed as copies, on another disk, while somebody still has the old file open."""

import errno
import os
import sqlite3
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from imageguard_daemon.core.file_systems import FileSystem, Reach
from imageguard_daemon.core.names import aside_name
from imageguard_daemon.core.regular_files import Writers
from imageguard_daemon.daemon import left_behind, recovery, returning
from imageguard_daemon.daemon.returning import LOOK_AFTER_SECONDS
from imageguard_daemon.filing import renaming
from tests.helpers.moving import refusing, within_a_folder
from tests.helpers.pipeline_bench import Bench

HIDDEN = f"inbox/cat/{aside_name(1)}"


@pytest.fixture
def other_disk(tmp_path):
    """Give a folder on another file system than the inbox's."""
    memory = Path("/dev/shm")  # noqa: S108 - it is the other file system that counts
    if not memory.is_dir() or os.stat(memory).st_dev == os.stat(tmp_path).st_dev:
        pytest.skip("needs /dev/shm as a second file system")
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


@pytest.fixture(params=["other disk", "other disk of a union"])
def bench(tmp_path, request, monkeypatch):
    """Give a bench whose destinations are on another disk, which a union of disks shows as the same device."""
    if request.param == "other disk":
        made = Bench(tmp_path, request.getfixturevalue("other_disk"))
    else:
        monkeypatch.setattr(renaming, "rename", refusing(errno.EINVAL))
        monkeypatch.setattr(renaming, "link", within_a_folder(renaming.link))
        monkeypatch.setattr(left_behind, "file_system_at", lambda _path: FileSystem("FUSE", Reach.relayed))
        made = Bench(tmp_path)
    yield made
    made.audit.close()


@pytest.fixture
def upload(bench):
    """Give the open file of an uploader whose image has just been filed.

    It is opened afterwards, for where the kernel grants leases it would be seen; `tests/world` has it open throughout.
    """
    bench.arrive("cat/good.jpg", b"half", still_since=0.0)
    bench.step(now=1.0)
    with (bench.root / HIDDEN).open("ab", buffering=0) as file:
        yield file


def test_what_is_written_to_the_old_file_of_a_copy_is_a_new_arrival(bench, upload):
    """Nothing is lost and nothing taken back: the copy stays, and the file with all its bytes is judged anew."""
    assert bench.files() == {"accepted/cat/good.jpg": b"half", HIDDEN: b"half"}
    upload.write(b", and the rest")
    bench.step(now=10.0)
    assert bench.files() == {"accepted/cat/good.jpg": b"half", "inbox/cat/good.jpg": b"half, and the rest"}
    upload.write(b", and more")  # goes where it can be seen
    assert bench.files()["inbox/cat/good.jpg"] == b"half, and the rest, and more"
    assert bench.audit.unfinished() == []


def test_the_old_file_goes_when_it_has_been_still_for_long(bench, upload):
    """After ten minutes the copy is all there is; a time that was set is no change."""
    os.utime(upload.fileno(), (1.0, 1.0))
    bench.step(now=10.0)
    assert HIDDEN in bench.files()
    bench.step(now=LOOK_AFTER_SECONDS + 10.0)
    assert bench.files() == {"accepted/cat/good.jpg": b"half"}


def test_a_copy_that_somebody_changes_where_it_was_filed_stays_there(bench, upload):
    """Nobody can have it open by the name that the file had in the inbox: it is not an upload that goes on."""
    (bench.accepted / "cat/good.jpg").write_bytes(b"edited")
    bench.step(now=10.0)
    assert bench.files() == {"accepted/cat/good.jpg": b"edited", HIDDEN: b"half"}
    with sqlite3.connect(bench.root / "audit.db") as log:
        assert log.execute("SELECT count(*) FROM intents").fetchone() == (1,), "it was to go back"


def test_a_known_writer_leaves_nothing_behind(bench):
    """Where the kernel says that nobody writes, the old file goes at once."""
    bench.arrive("cat/good.jpg", b"whole")
    bench.step(now=1.0)
    assert bench.files() == {"accepted/cat/good.jpg": b"whole"}


def test_a_file_with_further_names_is_not_kept(bench):
    """Through its other name all stays in sight that is written to it."""
    one = bench.arrive("cat/good.jpg", b"whole", still_since=0.0)
    (bench.root / "other").hardlink_to(bench.inbox / "cat/good.jpg")
    bench.backlog.take()
    bench.backlog.done(one)
    bench.backlog.offer(replace(one, settled=None))
    bench.step(now=1.0)
    assert bench.files() == {"accepted/cat/good.jpg": b"whole"}


def test_a_name_that_a_new_upload_has_taken_is_not_replaced(bench, upload):
    """The old file comes back beside it."""
    (bench.inbox / "cat/good.jpg").write_bytes(b"new")
    upload.write(b" rest")
    bench.step(now=10.0)
    files = bench.files()
    assert files.pop("inbox/cat/good.jpg") == b"new"
    assert sorted(files.values()) == [b"half", b"half rest"]


@pytest.mark.parametrize("changed", [False, True])
def test_what_an_earlier_run_kept_is_looked_after(bench, upload, changed):
    """After a kill, a walk meets the hidden name: what changed meanwhile comes back, what did not goes in the end."""
    if changed:
        upload.write(b" rest")
    bench.pipeline._moves._kept_sources._kept.clear()  # as the memory of a process that was killed
    bench.served.inbox.step(100.0, 0)
    bench.step(now=100.0)
    if not changed:
        assert HIDDEN in bench.files()
    bench.step(now=110.0 + LOOK_AFTER_SECONDS)
    expected = {"inbox/cat/good.jpg": b"half rest"} if changed else {}
    assert bench.files() == {"accepted/cat/good.jpg": b"half", **expected}


def test_a_hidden_name_of_no_move_is_left_alone(bench):
    """Nobody knows what it is."""
    path = bench.inbox / aside_name(77)
    path.write_bytes(b"?")
    bench.served.inbox.step(0.0, 0)
    bench.step(now=10.0)
    bench.step(now=LOOK_AFTER_SECONDS * 2)
    assert path.read_bytes() == b"?"


def test_the_last_look_of_a_run_keeps_nothing_that_is_unchanged(bench, upload):
    """`run --once` leaves no hidden files, and what changed in the inbox."""
    bench.arrive("cat/good2.jpg", b"second", still_since=0.0)
    bench.step(now=1.5)
    upload.write(b" rest")
    assert bench.pipeline.conclude().keys() == {"came back"}  # `run --once` says that it is left in the inbox
    filed = {"accepted/cat/good.jpg": b"half", "accepted/cat/good2.jpg": b"second"}
    assert bench.files() == {**filed, "inbox/cat/good.jpg": b"half rest"}


def test_when_much_is_kept_others_wait_until_their_uploads_are_surely_over(bench, upload, monkeypatch):
    """What is kept is bounded; a file that cannot be kept is filed after `settle_unknown_seconds`, and not kept."""
    monkeypatch.setattr(returning, "FULL_AT_FILES", 1)
    second = bench.arrive("cat/good2.jpg", b"second", still_since=0.0)
    bench.step(now=2.0)
    assert bench.backlog.is_set_aside(second)
    assert "inbox/cat/good2.jpg" in bench.files()
    [_] = bench.backlog.take_retries(60.0)
    bench.backlog.done(second)
    bench.backlog.offer(replace(second, settled=None, still_since=0.0))
    bench.step(now=60.0)
    assert bench.files() == {"accepted/cat/good.jpg": b"half", "accepted/cat/good2.jpg": b"second", HIDDEN: b"half"}
    upload.write(b"")


@pytest.mark.parametrize(("hidden", "uploaded_again"), [(False, False), (True, False), (True, True)])
def test_recovery_keeps_an_old_file_whose_writers_are_unknown(bench, monkeypatch, hidden, uploaded_again):
    """A kill before or after the old name was hidden: the copy is recorded, and the old file is looked after.

    The same bytes sent again under the same name meanwhile are a new upload.
    """
    bench.arrive("cat/good.jpg", b"half", still_since=0.0)

    @contextmanager
    def unknown(_descriptor):
        yield Writers.unknown

    def killed(*_arguments):
        raise KeyboardInterrupt

    step = "mover.Move.confirm" if hidden else "renaming.set_aside"
    with monkeypatch.context() as here:
        here.setattr(f"imageguard_daemon.filing.{step}", killed)
        with pytest.raises(KeyboardInterrupt):
            bench.step(now=1.0)
    assert set(bench.files().values()) == {b"half"}
    assert len(bench.files()) == 2
    monkeypatch.setattr(recovery, "read_lease", unknown)
    if uploaded_again:
        (bench.inbox / "cat/good.jpg").write_bytes(b"half")
    [outcome] = bench.recovery.begin(bench.audit.unfinished())
    assert outcome.outcome == "moved"
    again = {"inbox/cat/good.jpg": b"half"} if hidden and uploaded_again else {}
    assert bench.files() == {"accepted/cat/good.jpg": b"half", HIDDEN: b"half", **again}
