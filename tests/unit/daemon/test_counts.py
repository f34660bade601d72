"""What many files cost, counted and not timed: a change that makes every file pay alone is seen here first."""

import json
import os
import time
from collections import Counter
from dataclasses import replace

import pytest
import sqlalchemy as sa

from imageguard_daemon.config import Scoring
from imageguard_daemon.core.model import Candidate, FileIdentity, Limits
from imageguard_daemon.quality import measurement
from imageguard_daemon.sandbox.answers import pack_answer
from imageguard_daemon.sandbox.wire import sealed_copy
from imageguard_daemon.sandbox.workers import Workers
from tests.helpers.images import jpeg, photo

FILES = 512


@pytest.fixture
def counted(monkeypatch, bench):
    """Count commits, statements and syncs while so many files from ten folders are filed."""
    counts: Counter[str] = Counter()
    engine = bench.audit._engine
    sa.event.listen(engine, "commit", lambda _: counts.update(["commits"]))
    sa.event.listen(engine, "before_cursor_execute", lambda *_: counts.update(["statements"]))
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: counts.update(["syncs"]) or fsync(descriptor))
    bench.backlog.limit = FILES
    for number in range(FILES):
        bench.arrive(f"{number // 52}/{number}.jpg", b"%d" % number)
    bench.step()
    assert len(bench.filed) == FILES
    return {name: count * 1000 / FILES for name, count in counts.items()}


def test_a_group_shares_its_durable_writes(counted):
    """A thousand files take two commits for every 64, less than a statement each, and one sync each beside folders."""
    assert counted["commits"] <= 32
    assert counted["statements"] <= 450
    assert counted["syncs"] <= 1000 + 120


def test_what_is_done_is_announced_together(tmp_path):
    """The daemon is woken for many results at a time, not for each."""
    wakes: list[int] = []
    data = jpeg(photo(64, 64))
    for number in range(200):
        (tmp_path / f"{number}.jpg").write_bytes(data)
    workers = Workers(Scoring(workers=2), lambda: wakes.append(1))
    try:
        waiting = [(Candidate("default", str(n)), str(tmp_path / f"{n}.jpg")) for n in range(200)]
        while waiting or workers.in_work:
            given = workers.capacity
            workers.submit(waiting[:given])
            del waiting[:given]
            workers.finished()
            time.sleep(0.01)
    finally:
        workers.stop()
    assert len(wakes) <= 60


def test_messages_hold_no_pixels():
    """To a worker go paths, and back come numbers: a kilobyte for a file of any size."""
    data = jpeg(photo(640, 480))
    path = "/srv/ingest/inbox/some class/some image.jpg"
    there = json.dumps({"number": 1_000_000, "path": path, "decode": True})
    identity = FileIdentity(2**16, 2**33, 10**8, 2**61, 2**61)
    back = replace(measurement.measure_bytes(data, Limits()), camera="A camera", identity=identity)
    assert len(there) < 200
    assert len(json.dumps(pack_answer(1_000_000, back))) < 1000 < len(data)


def test_a_files_bytes_are_copied_once_for_its_decoder(monkeypatch):
    """A worker writes what it has read into the memory that the decoder sees, and nothing else."""
    written = []
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, view: written.append(len(view)) or write(descriptor, view))
    os.close(sealed_copy(bytes(100_000)))
    assert sum(written) == 100_000
