"""Uploaders of another account than the daemon's, of whom the kernel does not say whether they still write."""

import os
import tempfile
from pathlib import Path

import pytest

from tests.e2e.daemon_process import command, wait_until
from tests.helpers.images import jpeg, photo
from tests.world.accounts import IngestWithoutLeases, Uploader

PHOTO = jpeg(photo())
HALF = len(PHOTO) // 2


@pytest.fixture
def unknowing(tmp_path):
    """Make root folders whose daemons do not know who writes; they end with the test."""
    made = []

    def make(**settings):
        made.append(IngestWithoutLeases(tmp_path / "root", **settings))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize("begun", [HALF, 0], ids=["half", "nothing"])
def test_an_upload_that_pauses_is_not_filed_as_corrupt(begun, unknowing):
    """A scanner that writes half, or nothing, and goes on after far longer than the settle time: one good image."""
    one = unknowing(intake={"settle_unknown_seconds": 30.0})
    one.start()
    with Uploader(one.inbox / "cat/1.jpg") as uploader:
        uploader.write(PHOTO[:begun])
        wait_until(lambda: one.events("waits for the rest of an upload"), "the daemon has met what is there")
        uploader.write(PHOTO[begun:])
    [row] = one.wait_for_decisions(1)
    assert (row["verdict"], row["size_bytes"]) == ("accepted", len(PHOTO))
    [told] = one.events("who writes to a file is not known here")
    assert told["of"] == "files of account 61002"
    wait_until(lambda: "not known: files of account 61002" in _status(one), "`status` names the account")
    assert one.stop() == 0
    one.check_books()


def test_a_whole_image_that_goes_on_growing_is_judged_again(unknowing):
    """A film behind a still picture: what is filed in the end is what is recorded, and all of it."""
    one = unknowing()
    one.start()
    with Uploader(one.inbox / "cat/1.jpg") as uploader:
        uploader.write(PHOTO)
        one.wait_for_decisions(1)
        uploader.write(bytes(5000))
        wait_until(lambda: one.events("put back into the inbox"), "it is put back")
    rows = one.wait_for_decisions(2)
    assert [row["size_bytes"] for row in rows] == [len(PHOTO), len(PHOTO) + 5000]
    assert one.stop() == 0
    verified = command("verify", "--config", one.config_file)
    assert verified.returncode == 0, verified.stdout


def test_a_copied_image_that_goes_on_growing_loses_nothing(unknowing):
    """On another disk the copy is filed; all that is written to the old file since comes as a new one, kills or not."""
    memory = Path("/dev/shm")  # noqa: S108 - it is the other file system that counts
    with tempfile.TemporaryDirectory(dir=memory) as disk:
        one = unknowing(sources=[{"accepted": f"{disk}/accepted", "quarantine": f"{disk}/quarantine"}])
        if os.stat(disk).st_dev == os.stat(one.root).st_dev:
            pytest.skip("needs /dev/shm as a second file system")
        for folder in ("accepted", "quarantine"):
            Path(disk, folder).mkdir()
        one.start()
        with Uploader(one.inbox / "cat/1.jpg") as uploader:
            uploader.write(PHOTO)
            one.wait_for_decisions(1)
            one.close()  # killed
            uploader.write(bytes(5000))
            one.start()
            wait_until(lambda: one.events("put back into the inbox"), "it is put back")
        rows = one.wait_for_decisions(2)
        assert [row["size_bytes"] for row in rows] == [len(PHOTO), len(PHOTO) + 5000]
        assert one.stop() == 0
        filed = [path.read_bytes() for path in Path(disk).rglob("*.jpg")]
        assert sorted(filed, key=len) == [PHOTO, PHOTO + bytes(5000)]
        verified = command("verify", "--config", one.config_file)
        assert verified.returncode == 0, verified.stdout


def _status(one):
    return " ".join(command("status", "--config", one.config_file).stdout.split())


def test_a_damaged_image_of_another_account_is_quarantined_in_the_end(unknowing):
    """When nothing more comes, it is what it is; `run --once` waits for that."""
    one = unknowing(intake={"settle_unknown_seconds": 3.0})
    with Uploader(one.inbox / "cat/1.jpg") as uploader:
        uploader.write(PHOTO[:HALF])
    assert one.start("--once").wait(60) == 0
    [row] = one.decisions()
    assert (row["verdict"], row["reason"]) == ("quarantined", "corrupt")


def test_once_is_quick_where_writers_are_known(ingest):
    """An own damaged or empty file has no writer, as the kernel says: nothing waits a minute for it."""
    one = ingest(intake={"settle_unknown_seconds": 3600.0})
    one.put("cat/cut.jpg", PHOTO[:HALF])
    one.put("cat/empty.jpg", b"")
    assert one.start("--once").wait(60) == 0
    assert [row["reason"] for row in one.decisions()] == ["corrupt", "corrupt"]
