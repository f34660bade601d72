"""A real uploader in a process of its own against the mover, round after round.

`IMAGEGUARD_RACE_ROUNDS` sets the number of rounds; without the proof in `Move.confirm`, some hundreds show damage.
"""

import mmap
import os
import random
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from imageguard_daemon.core.errors import ChangedError
from imageguard_daemon.core.regular_files import Writers, ask
from tests.helpers.moving import carry_out
from tests.helpers.records import recorded

ROUNDS = int(os.environ.get("IMAGEGUARD_RACE_ROUNDS", "400"))
JUDGED, UPLOADED = b"judged", b"UPLOAD"
LATEST_OPEN_NS = 400_000
UPLOADER = """
import mmap, os, struct, sys, time
board = mmap.mmap(os.open(sys.argv[1], os.O_RDWR), 32)
number = 0
while True:
    while board[0] == number % 256:
        pass
    number += 1
    delay, = struct.unpack_from("q", board, 8)
    begin = time.perf_counter_ns()
    while time.perf_counter_ns() - begin < delay:
        pass
    wrote = 0
    try:
        file = os.open(sys.argv[2], os.O_WRONLY)
    except FileNotFoundError:
        pass
    else:
        os.pwrite(file, b"UPLOAD", 0)
        os.close(file)
        wrote = 1
    board[2] = wrote
    board[1] = number % 256
"""


class Uploader:
    """Opens the old name once a round, some time after it is told to."""

    def __init__(self, folder: Path, path: Path) -> None:
        (folder / "board").write_bytes(bytes(32))
        self._file = os.open(folder / "board", os.O_RDWR)
        self._board = mmap.mmap(self._file, 32)
        self._process = subprocess.Popen([sys.executable, "-c", UPLOADER, folder / "board", path])
        self._round = 0

    def go(self, delay_ns: int) -> None:
        """Let it begin."""
        self._round += 1
        struct.pack_into("q", self._board, 8, delay_ns)
        self._board[0] = self._round % 256

    def wrote(self) -> bool:
        """Wait for its end, and tell whether it found a file to write into."""
        deadline = time.monotonic() + 60
        while self._board[1] != self._round % 256:
            assert time.monotonic() < deadline
            assert self._process.poll() is None
        return bool(self._board[2])

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._board.close()
        os.close(self._file)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder where an fsync takes no time, which leaves the proof the least time to be right."""
    shm = Path("/dev/shm")  # noqa: S108 - a file system in memory
    with tempfile.TemporaryDirectory(dir=shm if os.access(shm, os.W_OK) else tmp_path) as name:
        for part in ("inbox", "accepted", "elsewhere"):
            (Path(name) / part).mkdir()
        (Path(name) / "probe").touch()
        if ask(f"{name}/probe").writers is Writers.unknown:
            pytest.skip("the file system grants no leases")
        yield Path(name)


@pytest.mark.parametrize("way", ["rename", "copy"])
@pytest.mark.timeout(3600)
def test_what_was_judged_is_what_is_published_whoever_opens_the_old_name(folder: Path, way: str) -> None:
    """An uploader that opens the name at any moment of the move neither changes what is published nor loses a byte."""
    source = folder / "inbox" / "1.jpg"
    uploader = Uploader(folder, source)
    rng = random.Random(1)  # noqa: S311 - no secret
    moved = 0
    try:
        for number in range(ROUNDS * 10):
            if number >= ROUNDS and (way == "copy" or moved < number):
                break  # on a busy machine the uploader comes too late for long
            source.write_bytes(JUDGED)
            if way == "copy":
                os.link(source, folder / "elsewhere" / str(number))
            destination = folder / "accepted" / f"{number}.jpg"
            one = recorded(source, destination)
            uploader.go(rng.randrange(LATEST_OPEN_NS))
            try:
                carry_out(one)
            except ChangedError:
                assert not destination.exists()
            else:
                moved += 1
            wrote = uploader.wrote()
            left = [path.read_bytes() for path in (folder / "inbox").iterdir()]
            assert left == ([UPLOADED] if wrote else [JUDGED] if not destination.exists() else []), f"round {number}"
            assert not destination.exists() or destination.read_bytes() == JUDGED, f"round {number}"
            for path in (folder / "inbox").iterdir():
                path.unlink()
    finally:
        uploader.close()
    assert moved
    assert way == "copy" or moved < number, "the race was no race"
