"""A crash, a hang or a lost process costs the one file that caused it, if any."""

import hashlib
import multiprocessing
import os
import signal
import threading
import time

import pytest

from imageguard_daemon.config import Scoring
from imageguard_daemon.errors import RetryableError, StalledError
from imageguard_daemon.model import Candidate
from imageguard_daemon.service import worker_process
from imageguard_daemon.service.workers import Workers
from tests.helpers import hostile_work
from tests.helpers.images import jpeg, photo

PATIENCE_SECONDS = 60.0


@pytest.fixture
def workers():
    """Give one worker that is killed after two seconds for one image."""
    made = Workers(Scoring(workers=1, timeout_seconds=2.0), threading.Event().set)
    yield made
    made.stop()


def _measured(workers, *paths):
    """Submit files and give what came back, by name."""
    results = {}
    deadline = time.monotonic() + PATIENCE_SECONDS
    for path in paths:
        workers.submit(Candidate("default", path.name), str(path))
    while len(results) < len(paths):
        assert time.monotonic() < deadline
        results |= {one.candidate.relative_path: one for one in workers.finished()}
        time.sleep(0.02)
    assert workers.in_work == 0
    return results


@pytest.fixture
def image(tmp_path):
    """Give a good image file."""
    path = tmp_path / "good.jpg"
    path.write_bytes(jpeg(photo(200, 150)))
    return path


def _replace_measuring(monkeypatch, function, only="bad.jpg"):
    real = Workers._call_for

    def call_for(self, task):
        called, arguments = real(self, task)
        return (function, arguments) if called is worker_process.measure and only in task.path else (called, arguments)

    monkeypatch.setattr(Workers, "_call_for", call_for)


def test_threads_the_environment_asks_for_do_not_hang_a_decoder(monkeypatch, image):
    """A confined process can start no thread; a linear algebra library told to have eight would wait for them."""
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "8")
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    workers = Workers(Scoring(workers=1, timeout_seconds=5.0), threading.Event().set)
    try:
        assert _measured(workers, image)["good.jpg"].measurement.measures.width == 200
    finally:
        workers.stop()


def test_a_file_is_measured_in_another_process(workers, image, tmp_path):
    """A good file comes back with measures and the hash of its bytes; a missing one with its error."""
    results = _measured(workers, image, tmp_path / "missing.jpg")
    measurement = results["good.jpg"].measurement
    assert measurement.measures.width == 200
    assert measurement.sha256 == hashlib.sha256(image.read_bytes()).hexdigest()
    assert isinstance(results["missing.jpg"].error, FileNotFoundError)


@pytest.mark.parametrize(
    ("mishap", "words"),
    [(hostile_work.crash, "ended its worker process with code -11"), (hostile_work.hang, "took longer than 2 s")],
)
def test_a_file_that_takes_its_worker_down_twice_is_corrupt(workers, image, tmp_path, monkeypatch, mishap, words):
    """Crashing and hanging files are tried twice, then `corrupt` with what happened; others are measured as usual."""
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"bad")
    _replace_measuring(monkeypatch, mishap)
    results = _measured(workers, bad, image)
    measurement = results["bad.jpg"].measurement
    assert (measurement.issue, measurement.sha256) == ("corrupt", hashlib.sha256(b"bad").hexdigest())
    assert measurement.detail.startswith("tried twice: ")
    assert measurement.detail.count(words) == 2
    assert measurement.identity is not None
    assert results["good.jpg"].measurement.measures is not None
    assert workers.mishaps == 2


def test_a_file_whose_worker_was_lost_once_is_judged_as_usual(workers, tmp_path, monkeypatch):
    """One lost worker says nothing about the file."""
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"bad")
    _replace_measuring(monkeypatch, hostile_work.crash_once)
    assert _measured(workers, bad)["bad.jpg"].measurement.detail == "second attempt"
    assert workers.mishaps == 1


def test_a_worker_killed_from_outside_says_nothing_about_the_file(workers, tmp_path, monkeypatch):
    """SIGKILL, as from a kernel short of memory, is a reason to try again later, never to quarantine."""
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"bad")
    _replace_measuring(monkeypatch, hostile_work.be_killed)
    assert isinstance(_measured(workers, bad)["bad.jpg"].error, RetryableError)


def test_a_disk_that_hangs_is_not_the_images_fault(workers, tmp_path, monkeypatch):
    """A worker that never came back from reading stalls the source; the image is neither tried to death nor corrupt."""
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"bad")
    _replace_measuring(monkeypatch, hostile_work.hang_reading)
    error = _measured(workers, bad)["bad.jpg"].error
    assert isinstance(error, StalledError)
    assert "is its disk or mount in order?" in str(error)


def test_processes_that_cannot_be_started_stall_the_source(workers, image, monkeypatch):
    """Without memory, descriptors or threads for a worker the file is put back, and its source pauses."""
    monkeypatch.setattr(workers._pool, "schedule", _no_processes)
    assert isinstance(_measured(workers, image)["good.jpg"].error, StalledError)


def _no_processes(*_arguments, **_options):
    raise BlockingIOError(11, "Resource temporarily unavailable")


def test_losing_idle_processes_costs_nothing(workers, image):
    """Processes killed while they have no task are replaced."""
    _measured(workers, image)
    for process in multiprocessing.active_children():
        process.kill()
    assert _measured(workers, image)["good.jpg"].measurement.measures is not None
    assert workers.mishaps == 0


def test_processes_that_neither_answer_nor_end_are_replaced(image):
    """Workers stopped before they take a task, which no time limit sees, don't hold it for ever."""
    workers = Workers(Scoring(workers=1, timeout_seconds=1.0), threading.Event().set)
    try:
        _measured(workers, image)
        for process in multiprocessing.active_children():
            os.kill(process.pid, signal.SIGSTOP)
        assert _measured(workers, image)["good.jpg"].measurement.measures is not None
    finally:
        workers.stop()


def test_room_is_bounded(workers, image):
    """The pool says when it has enough to do."""
    assert workers.has_room
    for number in range(2):
        workers.submit(Candidate("default", f"{number}.jpg"), str(image))
    assert not workers.has_room
