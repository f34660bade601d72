"""What the loop waits for, said by a thread that waits for none."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from imageguard_daemon.daemon import stall_watch
from imageguard_daemon.daemon.stall_watch import StallWatch, waiting
from tests.helpers.pipeline_bench import Bench

PATIENCE_SECONDS = 60.0
HANGING = """
import signal, sys, time
from pathlib import Path
from imageguard_daemon.daemon import stall_watch
from imageguard_daemon.daemon.stall_watch import StallWatch

stall_watch.SLOW_SECONDS = 0.2
one = StallWatch(Path(sys.argv[1]), drain_seconds=0.2)
signal.signal(signal.SIGTERM, lambda *_: None)
if sys.argv[2] == "pending":
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])  # as a hung call holds it off
one.start()
with one.touching("nas", "/mnt/nas"):
    print("touching", flush=True)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        time.sleep(60)
"""


def wait_for(condition):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def noting(tmp_path, monkeypatch):
    """Look at the notes of this thread, and call a disk slow soon."""
    monkeypatch.setattr(stall_watch, "SLOW_SECONDS", 0.2)
    one = StallWatch(tmp_path, drain_seconds=3600.0)
    one.start()
    yield one
    one.stop()


@pytest.mark.parametrize("name", ["1.jpg", "1.txt"])
def test_the_loop_touches_no_inbox_unnoted(tmp_path, monkeypatch, name):
    """What is looked at before a file is judged may hang as well as what is looked at afterwards."""
    noted = []

    @contextmanager
    def noting(source, what):
        noted.append((source, what))
        yield
        noted.pop()

    bench = Bench(tmp_path, sidecars=True)
    bench.pipeline._touching = noting
    asked = []

    def of_source(*_):
        asked.append(list(noted))

    monkeypatch.setattr(type(bench.pipeline._left_behind._refusals), "of_source", of_source)
    bench.arrive(f"cat/{name}", b"1")
    bench.step()
    assert asked
    assert all(
        ("default", str(bench.inbox)) in [(one, what.partition(",")[0]) for one, what in notes] for notes in asked
    )
    bench.audit.close()


def test_what_does_not_answer_is_named_until_it_does(noting, tmp_path):
    """`status` can say which folder of which source is waited for, while the loop can say nothing."""
    with noting.touching("nas", "/mnt/nas"):
        wait_for(lambda: waiting(tmp_path, os.getpid()))
        found = waiting(tmp_path, os.getpid())
        assert (found["source"], found["waiting_for"]) == ("nas", "/mnt/nas")
        assert waiting(tmp_path, 1) is None  # another process's is old
    wait_for(lambda: waiting(tmp_path, os.getpid()) is None)


def test_what_answers_is_not_named(noting, tmp_path, monkeypatch):
    """A disk that is touched again and again is none that hangs."""
    monkeypatch.setattr(stall_watch, "SLOW_SECONDS", 0.9)  # a busy machine may let one touch take a while
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        with noting.touching("disk", "/srv"):
            time.sleep(0.01)
    assert waiting(tmp_path, os.getpid()) is None


@pytest.mark.parametrize("how", ["taken", "pending"])
def test_a_stop_signal_ends_a_daemon_that_hangs(tmp_path, how):
    """Whether a thread of it took the signal or none could: after the time to drain it ends, as by a kill."""
    with subprocess.Popen([sys.executable, "-c", HANGING, str(tmp_path), how], stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"touching\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == os.EX_TEMPFAIL
