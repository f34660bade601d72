"""Inboxes and destinations on file systems that others made."""

import sqlite3
from pathlib import Path

import pytest

from imageguard_daemon.core.names import number_of_set_aside
from tests.e2e.daemon_process import Ingest, command
from tests.helpers.images import jpeg, photo

FILES = 3
WITH_SAFE_NAMES = ["mergerfs", "numbered_by_names", "sshfs", "bindfs", "vfat", "overlayfs", "subvolumes"]
"""Where a rename can refuse to replace, or a second name can be made."""


def _served(ingest, inbox: Path, destinations: Path, **settings) -> Ingest:
    places = {
        "inbox": inbox / "inbox",
        "accepted": destinations / "accepted",
        "quarantine": destinations / "quarantine",
    }
    for place in places.values():
        place.mkdir(parents=True, exist_ok=True)
    one: Ingest = ingest(sources=[{"name": "default"} | {name: str(p) for name, p in places.items()}], **settings)
    one.inbox, one.accepted, one.quarantine = places.values()
    return one


def _send(one: Ingest) -> None:
    for number in range(FILES):
        one.put(f"cat/{number}.jpg", jpeg(photo(seed=number)))
    one.put("cat/broken.jpg", b"no image at all")


def _counts(one: Ingest) -> list[int]:
    """Give how many decisions and how many intents of each outcome were recorded."""
    connection = sqlite3.connect(one.root / "audit.db", timeout=10)
    try:
        queries = (
            "SELECT count(*) FROM decision_records",
            "SELECT count(*) FROM intents",
            "SELECT count(*) FROM outcomes WHERE outcome = 'moved'",
        )
        return [connection.execute(query).fetchone()[0] for query in queries]
    finally:
        connection.close()


def _check(one: Ingest, mounted_at: Path, *, keeps_sources: bool = False) -> None:
    assert sorted(row["verdict"] for row in one.decisions()) == ["accepted"] * FILES + ["quarantined"]
    assert _counts(one) == [FILES + 1] * 3
    for row in one.decisions():
        assert Path(row["destination"]).is_relative_to(mounted_at)
    filed = [path for folder in (one.accepted, one.quarantine) for path in folder.rglob("*") if path.is_file()]
    assert sorted(map(str, filed)) == sorted(row["destination"] for row in one.decisions())
    left = [path for path in one.inbox.rglob("*") if path.is_file()]
    assert all(number_of_set_aside(path.name) for path in left)
    assert len(left) == (len(filed) if keeps_sources else 0)


@pytest.mark.parametrize("kind", WITH_SAFE_NAMES)
def test_each_file_is_filed_once_and_recorded_once(kind, mounted, ingest):
    """Whatever the file system makes of links and inode numbers: one decision, one intent, one place for each file."""
    at = mounted(kind)
    one = _served(ingest, at, at)
    _send(one)
    one.start()
    one.wait_for_decisions(FILES + 1)
    assert one.stop() == 0
    _check(one, at)


@pytest.mark.parametrize("kind", ["mergerfs", "numbered_by_names"])
def test_folders_of_a_union_may_lie_on_different_disks(kind, mounted, ingest):
    """What can be neither renamed nor linked across the disks below one mount is copied, as between two mounts."""
    at = mounted(kind)
    for disk, names in (("disk1", ["inbox"]), ("disk2", ["accepted", "quarantine"])):
        for name in names:
            (at.parent / disk / name).mkdir()
    one = _served(ingest, at, at)
    _send(one)
    one.start()
    one.wait_for_decisions(FILES + 1)
    assert one.stop() == 0
    _check(one, at, keeps_sources=True)


@pytest.mark.parametrize("kind", WITH_SAFE_NAMES)
def test_what_people_say_of_images_is_done(kind, mounted, ingest):
    """Released, rejected, taken back and purged with their labels, whatever number the file system gives a file."""
    at = mounted(kind)
    one = _served(ingest, at, at, intake={"sidecars": True})
    for name, data in (("good", jpeg(photo(seed=1))), ("bad", b"no image at all"), ("worse", b"no image either")):
        one.put(f"cat/{name}.txt", b"label")
        one.put(f"cat/{name}.jpg", data)
    assert command("run", "--config", one.config_file, "--once").returncode == 0
    numbers = {Path(row["destination"]).stem: row["id"] for row in one.decisions()}

    def do(verb: str, *names: str) -> None:
        ids = [word for name in names for word in ("--id", numbers[name])]
        age = ["--older-than", "0m"] if verb == "purge" else []
        done = command("quarantine", verb, "--config", one.config_file, *ids, *age, "--yes")
        assert done.returncode == 0, f"{verb}: {done.stdout}{done.stderr}"

    before = _filed(one)
    do("release", "bad")
    do("reject", "good")
    assert _filed(one) == {"accepted/cat/bad", "quarantine/cat/good", "quarantine/cat/worse"}
    do("undo", "bad", "good")
    assert _filed(one) == before
    do("reject", "good")
    do("confirm", "bad")
    do("purge", "bad", "good")
    assert _filed(one) == {"quarantine/cat/worse"}
    verified = command("verify", "--config", one.config_file)
    assert verified.returncode == 0, verified.stdout


def _filed(one: Ingest) -> set[str]:
    """Give what is filed as an image with its label, and nothing beside it."""
    found = [path for folder in (one.accepted, one.quarantine) for path in folder.rglob("*") if path.is_file()]
    images = {f"{path.parent.parent.name}/cat/{path.stem}" for path in found}
    assert len(found) == 2 * len(images), found
    return images


@pytest.mark.parametrize("kind", ["exfat", "vfat"])
def test_a_label_is_one_where_names_differ_by_case_in_vain(kind, mounted, ingest, tmp_path):
    """`0.txt` is there as `0.TXT`, too, as on SMB: it is one label all the same, and moves once, with its image."""
    one = _served(ingest, mounted(kind), tmp_path, intake={"sidecars": True})
    for number, label in enumerate(("0.txt", "1.TXT")):
        one.put(f"cat/{number}.jpg", jpeg(photo(seed=number)))
        one.put(f"cat/{label}", b"label")
    one.start()
    one.wait_for_decisions(2)
    assert one.stop() == 0
    filed = sorted(path.name.lower() for path in one.accepted.rglob("*") if path.is_file())
    assert filed == ["0.jpg", "0.txt", "1.jpg", "1.txt"]
    assert _counts(one) == [2, 4, 4]


@pytest.mark.parametrize("kind", ["exfat"])
def test_a_card_or_a_cloud_can_be_an_inbox(kind, mounted, ingest, tmp_path):
    """Without links and without safe renames, files are taken from there all the same: the copy is what counts."""
    at = mounted(kind)
    one = _served(ingest, at, tmp_path)
    _send(one)
    one.start()
    one.wait_for_decisions(FILES + 1)
    assert one.stop() == 0
    _check(one, tmp_path, keeps_sources=True)
    assert one.start("--once").wait(60) == 0
    _check(one, tmp_path)


def test_a_destination_that_takes_no_names_safely_is_told_at_the_start(mounted, ingest, tmp_path):
    """A memory card cannot refuse to replace: nothing is recorded or moved, and the other source goes on."""
    card = mounted("exfat")
    for place in ("a/inbox", "b/inbox", "b/accepted", "b/quarantine"):
        (tmp_path / place).mkdir(parents=True)
    for place in ("accepted", "quarantine"):
        (card / place).mkdir()
    one = ingest(
        sources=[
            {"name": name, "inbox": str(tmp_path / name / "inbox")}
            | {place: str(where / place) for place in ("accepted", "quarantine")}
            for name, where in (("a", card), ("b", tmp_path / "b"))
        ]
    )
    for name in ("a", "b"):
        one.inbox = tmp_path / name / "inbox"
        one.put("cat/1.jpg", jpeg(photo()))
    one.start()
    one.wait_for_decisions(1)
    [paused] = one.events("source paused")
    assert paused["source"] == "a"
    assert "neither rename without replacing nor make hard links" in paused["why"]
    assert one.stop() == 0
    assert _counts(one) == [1, 1, 1]
    assert (tmp_path / "a/inbox/cat/1.jpg").exists()
    assert list(card.rglob("*.jpg")) == []


def test_a_log_on_another_machine_is_told_at_the_start(mounted, ingest):
    """Before a locked database or nothing at all shows it: where the log is, why that is bad, and what to do."""
    one = ingest(audit={"database": str(mounted("sshfs") / "audit.db")})
    one.start()
    [event] = one.events("the log is not on a local disk")
    assert "is on FUSE" in event["why"]
    assert "name that place as audit.database" in event["why"]
    one.stop()
