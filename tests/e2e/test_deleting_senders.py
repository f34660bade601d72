"""Senders that delete in the inbox while the daemon works there: a mirror, a clean-up job, an emptied folder."""

import hashlib
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.daemon_process import Ingest, wait_until
from tests.helpers.images import jpeg, photo

GOOD = [jpeg(photo(160, 120, seed=seed)) for seed in range(8)]
SECONDS_OF_MIRRORING = 6.0
DECISIONS = 40


@pytest.fixture
def other_device(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system, to which files are copied."""
    shm = Path("/dev/shm")  # noqa: S108 - it is the other file system that counts
    if not os.access(shm, os.W_OK) or shm.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system to write to")
    with tempfile.TemporaryDirectory(dir=shm) as folder:
        yield Path(folder)


@pytest.mark.skipif(not shutil.which("rsync"), reason="needs rsync")
def test_a_mirror_that_deletes_what_it_does_not_know_ends_nothing(
    ingest: Callable[..., Ingest], tmp_path: Path, other_device: Path
) -> None:
    """`rsync -a --delete` into the inbox, again and again, costs our hidden names and no image: each is recorded."""
    for name in ("accepted", "quarantine"):
        (other_device / name).mkdir()
    places = {name: str(other_device / name) for name in ("accepted", "quarantine")}
    one = ingest(sources=[{"name": "default"} | places], intake={"settle_seconds": 0.1, "rescan_seconds": 0.5})
    one.accepted, one.quarantine = other_device / "accepted", other_device / "quarantine"
    (tmp_path / "sent/cat").mkdir(parents=True)
    one.start()
    rounds, deadline = 0, time.monotonic() + SECONDS_OF_MIRRORING
    while time.monotonic() < deadline:
        data = GOOD[rounds % len(GOOD)] + str(rounds).encode()
        (tmp_path / f"sent/cat/{rounds % 5}.jpg").write_bytes(data)
        done = subprocess.run(["rsync", "-a", "--delete", f"{tmp_path}/sent/", one.inbox], check=False)
        assert done.returncode in {0, 23, 24}  # the last two say that files went while it was at work
        assert one.process.poll() is None, one.log_file.read_text()[-2000:]
        rounds += 1
    shutil.rmtree(one.inbox / "cat", ignore_errors=True)
    last = one.put("last/1.jpg", GOOD[0] + b"last")
    wait_until(lambda: not last.exists(), "the last image is filed")
    assert one.stop() == 0
    rows = one.decisions()
    assert len(rows) > 5
    for row in rows:
        assert hashlib.sha256(Path(row["destination"]).read_bytes()).hexdigest() == row["sha256"]
    filed = [path for path in other_device.rglob("*") if path.is_file()]
    assert sorted(map(str, filed)) == sorted(row["destination"] for row in rows)


def test_a_sender_who_removes_his_emptied_folder_leaves_nothing_unrecorded(ingest: Callable[..., Ingest]) -> None:
    """While one program writes on in its file and another removes emptied folders, all that is filed was judged."""
    one = ingest(intake={"settle_seconds": 0.1, "rescan_seconds": 0.5})
    one.start()
    enough = threading.Event()
    programs = [threading.Thread(target=run, args=(one.inbox / "cat", enough)) for run in (_write_on, _remove_emptied)]
    for program in programs:
        program.start()
    wait_until(lambda: len(one.decisions()) >= DECISIONS, "decisions")
    enough.set()
    for program in programs:
        program.join()
    assert one.stop() == 0
    one.check_books()


def _write_on(folder: Path, enough: threading.Event) -> None:
    number = 0
    while not enough.is_set():
        number += 1
        folder.mkdir(exist_ok=True)
        with suppress(FileNotFoundError):
            (folder / "1.jpg").write_bytes(GOOD[number % len(GOOD)] + str(number).encode())
        deadline = time.monotonic() + 2
        while (folder / "1.jpg").exists() and time.monotonic() < deadline:
            time.sleep(0.15)  # long enough to be judged
            with suppress(FileNotFoundError):
                descriptor = os.open(folder / "1.jpg", os.O_WRONLY | os.O_APPEND)
                os.write(descriptor, b"and more")
                os.close(descriptor)


def _remove_emptied(folder: Path, enough: threading.Event) -> None:
    while not enough.is_set():
        with suppress(OSError):
            folder.rmdir()
        time.sleep(0.0005)
