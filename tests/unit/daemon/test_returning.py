"""Images of unknown writers that go on growing after they were filed."""

import errno
import os
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from imageguard_daemon.audit.opening import open_log
from imageguard_daemon.audit.quarantine_queries import reviewable_image
from imageguard_daemon.core.file_systems import FileSystem, Reach
from imageguard_daemon.core.locks import ActingLock
from imageguard_daemon.daemon import returning
from imageguard_daemon.daemon.returning import LOOK_AFTER_SECONDS, Comparisons
from tests.helpers.moving import recover
from tests.helpers.pipeline_bench import Bench
from tests.helpers.records import intent


@pytest.mark.parametrize("name", ["good", "bad"])
def test_an_image_that_grows_after_it_was_filed_is_put_back_and_judged_again(bench, name):
    """Whoever holds the file open writes on into the filed one: it gets its old name back, and one decision holds.

    It has to be still for long the second time: whoever never ends must not have it filed again and again.
    """
    folder = "accepted" if name == "good" else "quarantine"
    one = bench.arrive(f"cat/{name}.jpg", b"half", still_since=0.0)
    bench.step(now=1.0)
    with (bench.root / folder / f"cat/{name}.jpg").open("ab") as file:
        file.write(b", and the rest")
    bench.step(now=10.0)
    assert bench.files() == {f"inbox/cat/{name}.jpg": b"half, and the rest"}
    again = replace(one, settled=None, still_since=10.0)
    bench.backlog.offer(again)
    bench.step(now=20.0)
    assert bench.files() == {f"inbox/cat/{name}.jpg": b"half, and the rest"}, "filed before it was still for long"
    list(bench.backlog.take_retries(70.0))
    bench.backlog.offer(again)
    bench.step(now=70.0)
    assert bench.files() == {f"{folder}/cat/{name}.jpg": b"half, and the rest"}
    assert bench.audit.unfinished() == []
    if name == "bad":
        with open_log(bench.root / "audit.db", complete=True) as log:
            states = [image.state for number in (1, 2) if (image := reviewable_image(log, number))]
        assert states == ["returned", "waiting"]


def test_an_image_whose_time_alone_is_set_after_it_was_filed_stays(bench):
    """As `cp -p` does when all bytes are there; what is written after that still brings it back."""
    bench.arrive("cat/good.jpg", b"whole", still_since=0.0)
    bench.step(now=1.0)
    filed = bench.accepted / "cat/good.jpg"
    os.utime(filed, (1e9, 1e9))
    for now in (10.0, 20.0):
        bench.step(now=now)
        assert bench.files() == {"accepted/cat/good.jpg": b"whole"}
    with filed.open("r+b") as file:
        file.write(b"other")
    bench.step(now=30.0)
    assert bench.files() == {"inbox/cat/good.jpg": b"other"}


@pytest.mark.parametrize("policy", ["accept", "quarantine", "skip"])
def test_content_that_went_back_into_the_inbox_was_not_filed_before(tmp_path, policy):
    """The same bytes that come once more are nobody's duplicate: nowhere else are they kept."""
    bench = Bench(tmp_path, duplicates=policy)
    bench.arrive("cat/good.jpg", b"half", still_since=0.0)
    bench.step(now=1.0)
    with (bench.accepted / "cat/good.jpg").open("ab") as file:
        file.write(b", and the rest")
    bench.step(now=10.0)
    bench.arrive("dog/good.jpg", b"half")
    bench.step(now=20.0)
    bench.arrive("dog/twin.jpg", b"half")
    bench.step(now=30.0)
    where = {"accept": "accepted", "quarantine": "quarantine", "skip": "inbox"}[policy]
    assert set(bench.files()) == {"inbox/cat/good.jpg", "accepted/dog/good.jpg", f"{where}/dog/twin.jpg"}
    with sqlite3.connect(tmp_path / "audit.db") as connection:
        found = [number for (number,) in connection.execute("SELECT duplicate_of FROM decisions ORDER BY id")]
    assert found == [None, None, *([] if policy == "skip" else [2])]
    bench.audit.close()


def test_a_label_goes_back_with_its_image(tmp_path):
    """The image is judged again with its label, wherever it goes then."""
    bench = Bench(tmp_path, sidecars=True)
    (bench.inbox / "cat").mkdir()
    (bench.inbox / "cat/good.txt").write_bytes(b"label")
    bench.arrive("cat/good.jpg", b"half", still_since=0.0)
    bench.step(now=1.0)
    with (bench.accepted / "cat/good.jpg").open("ab") as file:
        file.write(b", and the rest")
    bench.step(now=10.0)
    assert bench.files() == {"inbox/cat/good.jpg": b"half, and the rest", "inbox/cat/good.txt": b"label"}
    bench.audit.close()


def test_what_nobody_can_be_writing_and_what_was_filed_long_ago_is_left_alone(bench):
    """Files of known writers, and after some minutes all, may be changed by whoever they belong to."""
    bench.arrive("cat/known.jpg", b"1")
    bench.arrive("cat/old.jpg", b"2", still_since=0.0)
    bench.step(now=1.0)
    (bench.accepted / "cat/known.jpg").write_bytes(b"edited")
    bench.step(now=10.0)
    bench.step(now=LOOK_AFTER_SECONDS + 20.0)
    (bench.accepted / "cat/old.jpg").write_bytes(b"edited, too")
    bench.step(now=LOOK_AFTER_SECONDS + 30.0)
    assert bench.files() == {"accepted/cat/known.jpg": b"edited", "accepted/cat/old.jpg": b"edited, too"}


@pytest.mark.parametrize(("reach", "folder"), [(Reach.relayed, "inbox"), (Reach.local, "accepted")])
def test_a_file_with_another_number_is_of_others_only_where_numbers_are_kept(bench, monkeypatch, reach, folder):
    """Programs behind FUSE number a file anew: one that grows there is put back all the same."""
    monkeypatch.setattr(returning, "file_system_at", lambda _path: FileSystem("some", reach))
    bench.arrive("cat/good.jpg", b"half", still_since=0.0)
    bench.step(now=1.0)
    filed = bench.accepted / "cat/good.jpg"
    other = filed.with_name("other")
    if reach is Reach.relayed:  # the number alone: it is looked after on
        shutil.copy2(filed, other)
        other.rename(filed)
        bench.step(now=10.0)
        assert bench.files() == {"accepted/cat/good.jpg": b"half"}
    other.write_bytes(b"half, and the rest")
    other.rename(filed)
    bench.step(now=20.0)
    assert bench.files() == {f"{folder}/cat/good.jpg": b"half, and the rest"}


def test_a_name_that_a_new_upload_has_taken_is_not_replaced(bench):
    """The file that goes back gets a name that tells it apart."""
    bench.arrive("cat/good.jpg", b"half", still_since=0.0)
    bench.step(now=1.0)
    (bench.inbox / "cat/good.jpg").write_bytes(b"new")
    with (bench.accepted / "cat/good.jpg").open("ab") as file:
        file.write(b" rest")
    bench.step(now=10.0)
    assert sorted(bench.files().values()) == [b"half rest", b"new"]
    assert bench.files()["inbox/cat/good.jpg"] == b"new"


def test_a_command_at_work_is_waited_for(bench):
    """While somebody acts on images nothing is put back; afterwards it is."""
    bench.arrive("cat/good.jpg", b"half", still_since=0.0)
    bench.step(now=1.0)
    with (bench.accepted / "cat/good.jpg").open("ab") as file:
        file.write(b" rest")
    with ActingLock(bench.root / ".imageguard").held():
        bench.step(now=10.0)
        assert "accepted/cat/good.jpg" in bench.files()
    bench.step(now=20.0)
    assert "inbox/cat/good.jpg" in bench.files()


def test_a_lock_that_cannot_be_opened_just_now_ends_nothing(bench, monkeypatch):
    """The root's disk is full or read-only: the file is put back when it no longer is."""
    bench.arrive("cat/good.jpg", b"half", still_since=0.0)
    bench.step(now=1.0)
    with (bench.accepted / "cat/good.jpg").open("ab") as file:
        file.write(b" rest")
    for number in (errno.EROFS, errno.EMFILE, errno.ENOENT, errno.EACCES):
        with monkeypatch.context() as here:
            here.setattr(os, "open", _failing_for("acting.lock", OSError(number, os.strerror(number)), os.open))
            bench.step(now=10.0 + number)
        assert "accepted/cat/good.jpg" in bench.files()
    bench.step(now=100.0)
    assert "inbox/cat/good.jpg" in bench.files()


def _failing_for(name, error, really):
    def opened(path, *arguments, **options):
        if str(path).endswith(name):
            raise error
        return really(path, *arguments, **options)

    return opened


@pytest.mark.parametrize("moved", [False, True])
def test_a_kill_on_the_way_back_is_finished_at_the_next_start(bench, monkeypatch, moved):
    """Before the name goes back or after it: no intent stays open, and the file is in one place."""
    bench.arrive("cat/good.jpg", b"half", still_since=0.0)
    bench.step(now=1.0)
    with (bench.accepted / "cat/good.jpg").open("ab") as file:
        file.write(b" rest")

    def killed(*ends):
        if moved:
            really(*ends)
        raise KeyboardInterrupt

    really = returning.put_back
    with monkeypatch.context() as here:
        here.setattr(returning, "put_back", killed)
        with pytest.raises(KeyboardInterrupt):
            bench.step(now=10.0)
    [outcome] = recover(bench.audit, [str(f) for f in (bench.inbox, bench.accepted, bench.quarantine)])
    assert outcome.outcome == ("purged" if moved else "abandoned")
    assert list(bench.files()) == ["inbox/cat/good.jpg" if moved else "accepted/cat/good.jpg"]


def test_a_large_file_is_compared_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop reads a little at each step, and goes on with its other work in between; an error is an answer, too."""
    monkeypatch.setattr(returning, "SECONDS_PER_STEP", 0.0)
    line: Comparisons[str] = Comparisons()
    for name, data in (("same", bytes(3 << 20)), ("other", bytes(2 << 20)), ("longer", bytes(1 << 20)), ("gone", b"")):
        path = tmp_path / name
        path.write_bytes(data)
        line.begin(name, str(path), intent(path, path))
    (tmp_path / "other").write_bytes(b"x" * (2 << 20))
    (tmp_path / "longer").write_bytes(bytes(3 << 20))
    (tmp_path / "gone").unlink()
    answers = [line.step() for _ in range(10)]
    assert answers[:3] == [[], [], []]
    found = [one for step in answers for one in step]
    assert found[:3] == [("same", True), ("other", False), ("longer", False)]
    assert isinstance(found[3][1], FileNotFoundError)
    assert not line
