"""What many files cost, counted and not timed: a change that makes every file pay alone is seen here first."""

import os
import pickle
import threading
from collections import Counter
from dataclasses import replace

import pytest
import sqlalchemy as sa

from imageguard_daemon.config import Scoring
from imageguard_daemon.core.model import Candidate
from imageguard_daemon.quality import measurement
from imageguard_daemon.quality.decode.limits import Limits
from imageguard_daemon.sandbox.wire import sealed_copy
from imageguard_daemon.sandbox.workers import Batch, Task, Workers
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


@pytest.fixture
def workers():
    """Give workers that are never asked to do anything."""
    made = Workers(Scoring(workers=2), threading.Event().set)
    yield made
    made.stop()


def test_a_thousand_small_files_are_few_messages(workers, monkeypatch):
    """While many wait, 32 go in one message; the last ones are shared out among all workers."""
    monkeypatch.setattr(Workers, "_call_for", lambda _self, _batch: (len, ((),)))
    waiting = [(Candidate("default", str(number)), str(number)) for number in range(1000)]
    while waiting:
        share = workers.share_of(len(waiting))
        workers.submit(waiting[:share])
        del waiting[:share]
    assert workers.messages <= 60


def test_messages_hold_no_pixels(workers):
    """To a worker go paths, and back come numbers: a kilobyte for a file of any size."""
    data = jpeg(photo(640, 480))
    path = "/srv/ingest/inbox/some class/some image.jpg"
    batch = Batch(tuple(Task(Candidate("default", str(n)), path) for n in range(32)), 0)
    there = len(pickle.dumps(workers._call_for(batch)))
    back = len(pickle.dumps([replace(measurement.measure_bytes(data, Limits()), camera="A camera")] * 32))
    assert there / 32 < 200
    assert back < 32 * 1000 < len(data)


def test_a_files_bytes_are_copied_once_for_its_decoder(monkeypatch):
    """A worker writes what it has read into the memory that the decoder sees, and nothing else."""
    written = []
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, view: written.append(len(view)) or write(descriptor, view))
    os.close(sealed_copy(bytes(100_000)))
    assert sum(written) == 100_000
