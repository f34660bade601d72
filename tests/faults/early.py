"""Never early: uploaders that take their time, in all the ways uploaders do, and no half of a file is judged."""

import mmap
import os
import random
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.faults import sftp
from tests.faults.figures import Figures
from tests.faults.launching import Launcher
from tests.faults.oracle import Offered
from tests.faults.requirements import SFTP_SERVER
from tests.faults.site import Site, wait_until
from tests.faults.uploading import offered, unique

SETTLE_SECONDS = 2.0
BREAK_SECONDS = 0.6
"""How long an uploader that closed its file waits before it goes on: less than the settle time, or it is too late."""
CHUNKS = 6

Upload = Callable[[Path, bytes], None]


def _chunks(data: bytes) -> list[bytes]:
    size = -(-len(data) // CHUNKS)
    return [data[start : start + size] for start in range(0, len(data), size)]


def _dawdle() -> None:
    time.sleep(random.uniform(0.2, 0.8))


def slow_cp(path: Path, data: bytes) -> None:
    """Write in pieces, the file open all the time, for longer than the settle time."""
    with path.open("wb", buffering=0) as file:
        for chunk in _chunks(data):
            file.write(chunk)
            _dawdle()


def double_open(path: Path, data: bytes) -> None:
    """Write half, close, open again, write the rest, as scanners do."""
    half = len(data) // 2
    path.write_bytes(data[:half])
    time.sleep(BREAK_SECONDS)
    with path.open("ab") as file:
        file.write(data[half:])


def shared_mmap(path: Path, data: bytes) -> None:
    """Write through a shared mapping whose descriptor is closed, so that no close and no write is ever seen."""
    with path.open("wb+") as file:
        file.truncate(len(data))
        mapping = mmap.mmap(file.fileno(), len(data))
    position = 0
    for chunk in _chunks(data):
        mapping[position : position + len(chunk)] = chunk
        position += len(chunk)
        _dawdle()
    mapping.close()


def rsync(path: Path, data: bytes, *options: str) -> None:
    """Send with the real rsync, slowly, to a hidden temporary that is renamed into place."""
    source = path.parents[2] / "sending" / path.name
    source.parent.mkdir(exist_ok=True)
    source.write_bytes(data)
    subprocess.run(["rsync", "--whole-file", "--bwlimit=8", *options, source, path], check=True, capture_output=True)


def rsync_inplace(path: Path, data: bytes) -> None:
    """Send with the real rsync straight into the final name."""
    rsync(path, data, "--inplace")


def sftp_put(path: Path, data: bytes) -> None:
    """Send to the real sftp-server, slowly."""
    with sftp.Client() as client:
        handle = client.open(path, resume=False)
        position = 0
        for chunk in _chunks(data):
            client.write(handle, position, chunk)
            position += len(chunk)
            _dawdle()
        client.close(handle)


def torn_sftp(path: Path, data: bytes) -> None:
    """Lose the connection after half of the file, then resume within the settle time."""
    half = len(data) // 2
    with sftp.Client() as client:
        client.write(client.open(path, resume=False), 0, data[:half])
        client.break_off()
    time.sleep(BREAK_SECONDS)
    with sftp.Client() as client:
        handle = client.open(path, resume=True)
        client.write(handle, half, data[half:])
        client.close(handle)


def uploaders() -> list[Upload]:
    """Give the ways of uploading that this machine has the programs for."""
    known: list[Upload] = [slow_cp, double_open, shared_mmap]
    if shutil.which("rsync"):
        known += [rsync, rsync_inplace]
    if SFTP_SERVER.exists():
        known += [sftp_put, torn_sftp]
    return known


def upload_slowly(launcher: Launcher, home: Path, rounds: int, at_once: int = 10) -> Figures:
    """Let every kind of uploader send one file a round, some rounds at once, to one daemon."""
    site = Site(home, intake={"settle_seconds": SETTLE_SECONDS, "rescan_seconds": 0.5})
    (site.inbox / "cat").mkdir()
    ways = uploaders()
    figures = Figures("slow and broken uploads")
    figures.counts["kinds of uploader"] = len(ways)
    daemon = launcher.start_and_wait(site)
    files: list[Offered] = []
    while figures.rounds < rounds:
        wave = min(at_once, rounds - figures.rounds)
        files += _one_wave(site, ways, range(figures.rounds, figures.rounds + wave))
        figures.rounds += wave
    figures.files = len(files)
    try:
        wait_until(lambda: not site.waiting(), "every file is judged")
    except AssertionError as error:
        figures.note(f"stranded: {error}: {site.waiting()[:5]}")
    if daemon.stop() != 0:
        figures.note(f"did not stop well: {site.last_words()}")
    figures.judge("all uploads", site, files)
    _check_verdicts(site, figures)
    return figures


def _one_wave(site: Site, ways: list[Upload], numbers: range) -> list[Offered]:
    files, threads = [], []
    for number in numbers:
        for way in ways:
            name, data = f"cat/{way.__name__}-{number}.jpg", unique("good")
            files.append(offered(name, data))
            threads.append(threading.Thread(target=way, args=(site.inbox / name, data)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return files


def _check_verdicts(site: Site, figures: Figures) -> None:
    for name, verdict, reason in site.decisions():
        if verdict != "accepted":
            figures.note(f"{os.path.basename(name)} is a good image, but was {verdict}: {reason}")
