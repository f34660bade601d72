"""Files arrive in every way people know; each is judged once, whole, and filed where it belongs."""

import os
import shutil
import subprocess
import threading
import time
from pathlib import Path

import pytest

from tests.e2e.daemon_process import wait_until
from tests.helpers.images import blurred, jpeg, photo

GOOD = [jpeg(photo(320, 240, seed=seed)) for seed in range(6)]
BAD = [jpeg(blurred(photo(320, 240, seed=seed), 6)) for seed in range(6)]


def _write_slowly(path: Path, data: bytes) -> None:
    with path.open("wb") as stream:
        for start in range(0, len(data), len(data) // 5):
            stream.write(data[start : start + len(data) // 5])
            stream.flush()
            time.sleep(0.25)


def _tree(folder: Path, images: list[bytes]) -> Path:
    for number, data in enumerate(images):
        (folder / "deep" / "er").mkdir(parents=True, exist_ok=True)
        (folder / "deep" / "er" / f"{number}.jpg").write_bytes(data)
        (folder / f"{number}.jpg").write_bytes(data + b"\0")
    return folder


def test_every_way_of_arriving_ends_in_exactly_one_decision(ingest, tmp_path):
    """Files there before the start, copied, synced, written slowly and moved in are each judged once."""
    one = ingest()
    one.put("early/a.jpg", GOOD[0])
    one.start()
    shutil.copytree(_tree(tmp_path / "copied", GOOD[:3]), one.inbox / "copied")
    if shutil.which("rsync"):
        subprocess.run(["rsync", "-a", f"{_tree(tmp_path / 'synced', BAD[:3])}/", one.inbox / "synced"], check=True)
    else:
        shutil.copytree(_tree(tmp_path / "synced", BAD[:3]), one.inbox / "synced")
    _tree(tmp_path / "moved", GOOD[3:]).rename(one.inbox / "moved")
    (one.inbox / "slow").mkdir()
    writers = [
        threading.Thread(target=_write_slowly, args=(one.inbox / "slow" / f"{number}.jpg", data))
        for number, data in enumerate(GOOD[:4])
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    one.wait_for_decisions(1 + 6 + 6 + 6 + 4)
    assert one.stop() == 0
    one.check_books()
    by_path = {row["relative_path"]: row for row in one.decisions()}
    assert len(by_path) == 23, "some file was judged twice"
    assert all(by_path[f"slow/{n}.jpg"]["verdict"] == "accepted" for n in range(4))
    assert all(row["verdict"] == "quarantined" for path, row in by_path.items() if path.startswith("synced/"))
    assert by_path["copied/deep/er/0.jpg"]["class"] == "copied"
    assert [path for path in one.inbox.rglob("*") if path.is_file()] == []


def test_a_slow_upload_is_not_judged_before_it_is_closed(ingest):
    """A file that stays open for writing is left alone, however long its writer pauses."""
    one = ingest()
    one.start()
    data = GOOD[0]
    with (one.inbox / "open.jpg").open("wb") as stream:
        stream.write(data[: len(data) // 2])
        stream.flush()
        one.put("other.jpg", GOOD[1])
        one.wait_for_decisions(1)
        time.sleep(1.5)  # several settle times
        assert (one.inbox / "open.jpg").exists()
        stream.write(data[len(data) // 2 :])
    one.wait_for_decisions(2)
    assert {row["verdict"] for row in one.decisions()} == {"accepted"}


def test_folders_may_come_go_and_change_names(ingest):
    """Sub-folders made, renamed and deleted while the daemon runs cost no file its verdict."""
    one = ingest(intake={"settle_seconds": 1.0})
    one.start()
    one.put("first/a.jpg", GOOD[0])
    (one.inbox / "first").rename(one.inbox / "second")
    one.put("gone/b.jpg", GOOD[1])
    shutil.rmtree(one.inbox / "gone")
    (row,) = one.wait_for_decisions(1)
    assert row["relative_path"] == "second/a.jpg"
    one.put("second/c.jpg", GOOD[2])
    one.wait_for_decisions(2)
    one.check_books()


def test_an_inbox_that_is_deleted_and_made_anew_is_watched_again(ingest):
    """The root of the inbox may vanish and return."""
    one = ingest()
    one.start()
    shutil.rmtree(one.inbox)
    wait_until(lambda: one.events("the inbox is gone; waiting for it to come back"), "the loss is told")
    one.inbox.mkdir()
    one.put("cat/a.jpg", GOOD[0])
    one.wait_for_decisions(1)
    one.put("cat/b.jpg", GOOD[1])
    one.wait_for_decisions(2)
    one.check_books()


def test_equal_names_are_told_apart_and_equal_contents_noted(ingest):
    """A name that is taken is not overwritten, and a content seen before names its first decision."""
    one = ingest()
    one.start()
    for number, data in enumerate((GOOD[0], GOOD[1], GOOD[0]), start=1):
        one.put("cat/1.jpg", data)
        one.wait_for_decisions(number)
    first, second, third = one.decisions()
    assert len({first["destination"], second["destination"], third["destination"]}) == 3
    assert (first["duplicate_of"], second["duplicate_of"], third["duplicate_of"]) == (None, None, first["id"])
    one.check_books()


def test_what_is_no_image_or_temporary_is_left_alone(ingest):
    """Documents, hidden files, browser and editor temporaries, links and pipes stay where they are."""
    one = ingest()
    names = ("notes.md", ".hidden.jpg", "half.jpg.part", "x.crdownload", "a.jpg~", ".rsync-partial/b.jpg")
    for name in names:
        (one.inbox / name).parent.mkdir(exist_ok=True)
        (one.inbox / name).write_bytes(GOOD[0])
    (one.inbox / "link.jpg").symlink_to(one.inbox / "notes.md")
    os.mkfifo(one.inbox / "pipe.jpg")
    one.start()
    one.put("real.jpg", GOOD[1])
    one.wait_for_decisions(1)
    time.sleep(1.5)  # a rescan later
    assert len(one.decisions()) == 1
    assert all((one.inbox / name).exists() for name in (*names, "pipe.jpg"))
    assert (one.inbox / "link.jpg").is_symlink()


def test_sidecars_follow_their_image_even_when_they_come_late(ingest):
    """Labels move with their image, share its stem at the destination, and follow it when they come later."""
    one = ingest(intake={"sidecars": True})
    (one.inbox / "cat").mkdir()
    (one.inbox / "cat" / "1.txt").write_text("0 0.5 0.5 1 1")
    one.put("cat/1.jpg", GOOD[0])
    one.start()
    one.wait_for_decisions(1)
    wait_until((one.accepted / "cat" / "1.txt").exists, "the sidecar beside its image")
    (one.inbox / "cat" / "1.json").write_text("{}")
    wait_until((one.accepted / "cat" / "1.json").exists, "the late sidecar beside its image")
    (one.inbox / "cat" / "orphan.txt").write_text("whose?")
    time.sleep(1.5)
    assert (one.inbox / "cat" / "orphan.txt").exists()
    assert one.stop() == 0


def test_times_and_permissions_survive_the_move(ingest):
    """The file that arrives in accepted is the file that was sent, with its mtime and mode."""
    one = ingest()
    path = one.put("cat/1.jpg", GOOD[0])
    path.chmod(0o640)
    os.utime(path, ns=(1_000_000_000_123_456_789, 1_000_000_000_123_456_789))
    one.start()
    one.wait_for_decisions(1)
    status = (one.accepted / "cat" / "1.jpg").stat()
    assert (status.st_mtime_ns, status.st_mode & 0o777) == (1_000_000_000_123_456_789, 0o640)


@pytest.mark.parametrize("name", [b"caf\xe9.jpg", b"a\nb.jpg", b"\x1b[31mred.jpg", b"=1+1.jpg", "写真 ü.jpg".encode()])
def test_any_name_the_file_system_takes_is_filed_under_that_name(ingest, name):
    """Invalid UTF-8, newlines, escape sequences and formulas in a name change nothing but how it is shown."""
    one = ingest()
    with open(os.fsencode(one.inbox) + b"/" + name, "wb") as stream:
        stream.write(GOOD[0])
    result = one.start("--once").wait(60)
    assert result == 0
    assert os.path.exists(os.fsencode(one.accepted) + b"/" + name)
    (row,) = one.decisions()
    assert row["relative_path"].isprintable()
    assert "\x1b" not in one.log_file.read_text()


def test_more_sources_than_may_be_in_memory_are_served_all_the_same(ingest):
    """Each has room for one file at least, however little `backlog_limit` allows."""
    sources = [{"name": n, "inbox": n, "accepted": f"{n}-good", "quarantine": f"{n}-bad"} for n in ("a", "b", "c")]
    one = ingest(sources=sources, intake={"backlog_limit": 1})
    for source in sources:
        (one.root / source["inbox"]).mkdir()
        for number in (0, 1):
            (one.root / source["inbox"] / f"{number}.jpg").write_bytes(GOOD[number])
    assert one.start("--once").wait(60) == 0
    assert len(one.decisions()) == 6
