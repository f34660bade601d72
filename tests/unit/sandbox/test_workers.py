"""A crash, a hang or a lost process costs the one file that caused it, if any."""

import errno
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from imageguard_daemon.config import Scoring
from imageguard_daemon.core import processes
from imageguard_daemon.core.errors import ChangedError, ReplacedError, RetryableError, StalledError, UnavailableError
from imageguard_daemon.core.model import Candidate, FileIdentity, Limits, Measurement
from imageguard_daemon.quality.version import loops_here
from imageguard_daemon.sandbox import worker_process
from imageguard_daemon.sandbox.answers import pack_answer, read_answer
from imageguard_daemon.sandbox.losses import Cause, Loss
from imageguard_daemon.sandbox.tasks import measure
from imageguard_daemon.sandbox.wire import Progress
from imageguard_daemon.sandbox.worker_process import Worker
from imageguard_daemon.sandbox.workers import Workers
from tests.helpers import hostile_work
from tests.helpers.images import jpeg, photo

PATIENCE_SECONDS = 120.0


ROOT = Path(__file__).parents[3]


@pytest.fixture
def fault_file(tmp_path_factory, monkeypatch):
    """Have workers that meet the fault which this file names, once it is there."""
    file = tmp_path_factory.mktemp("fault") / "fault"
    monkeypatch.setenv(hostile_work.FAULT_FILE, str(file))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr("imageguard_daemon.sandbox.processes.WORKER_MODULE", hostile_work.MODULE)
    return file


@pytest.fixture
def workers(fault_file):
    """Give one worker that is killed after two seconds for one image."""
    made = Workers(Scoring(workers=1, timeout_seconds=2.0), threading.Event().set)
    yield made
    made.stop()


@pytest.fixture
def let_fail(fault_file):
    """Give what has workers meet a fault from now on."""

    def write(where, fault):
        new = fault_file.with_suffix(".new")
        new.write_text(f"{where.__name__} {fault.__name__}")
        new.rename(fault_file)

    return write


def _measured(workers, *paths):
    """Submit files as one batch and give what came back, by name."""
    results = {}
    deadline = time.monotonic() + PATIENCE_SECONDS
    workers.submit([(Candidate("default", path.name), str(path)) for path in paths])
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


@pytest.fixture
def bad(tmp_path):
    """Give a file that makes processes do what a test has them do."""
    path = tmp_path / "bad.jpg"
    path.write_bytes(b"bad")
    return path


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
    """A good file comes back with measures, the code that took them, and its hash; a missing one with its error."""
    results = _measured(workers, image, tmp_path / "missing.jpg")
    measurement = results["good.jpg"].measurement
    assert (measurement.measures.width, measurement.code) == (200, loops_here())
    assert measurement.sha256 == hashlib.sha256(image.read_bytes()).hexdigest()
    assert isinstance(results["missing.jpg"].error, FileNotFoundError)


@pytest.mark.parametrize(
    ("where", "fault", "told"),
    [
        (hostile_work.in_decoder, hostile_work.crash, "corrupt: ended its decoder with code -11"),
        (hostile_work.in_decoder, hostile_work.hang, "too_large: took longer than 2 s"),
        (hostile_work.in_worker, hostile_work.crash, "corrupt: ended its worker process with code -11"),
    ],
)
def test_a_file_that_takes_a_process_down_twice_is_rejected(workers, image, bad, let_fail, where, fault, told):
    """It is tried twice: crashing makes it `corrupt`, hanging `too_large`; others are measured as usual."""
    let_fail(where, fault)
    results = _measured(workers, bad, image)
    measurement = results["bad.jpg"].measurement
    issue, words = told.split(": ")
    assert (measurement.issue, measurement.sha256) == (issue, hashlib.sha256(b"bad").hexdigest())
    assert measurement.detail.startswith("tried twice: ")
    assert measurement.detail.count(words) == 2
    assert measurement.identity is not None
    assert results["good.jpg"].measurement.measures is not None
    assert workers.failures >= 2  # on a busy machine the good one may take two tries, too


@pytest.mark.parametrize("where", [hostile_work.in_decoder, hostile_work.in_worker])
@pytest.mark.parametrize("fault", [hostile_work.crash, hostile_work.be_killed])
def test_a_process_lost_with_a_batch_costs_one_file(workers, image, bad, tmp_path, let_fail, where, fault):
    """Those before and after it in the batch are measured, and nothing is held against them."""
    names = [f"{number}.jpg" for number in range(6)]
    for name in names:
        (tmp_path / name).write_bytes(image.read_bytes())
    let_fail(where, fault)
    paths = [tmp_path / name for name in names]
    results = _measured(workers, *paths[:3], bad, *paths[3:])
    assert {name for name, one in results.items() if one.measurement and one.measurement.measures} == set(names)
    assert not any(results[name].measurement.detail for name in names)
    assert results["bad.jpg"].error or results["bad.jpg"].measurement.issue == "corrupt"
    assert workers.failures == 2


def test_a_file_whose_worker_was_lost_once_is_judged_as_usual(workers, bad, image, let_fail):
    """One lost worker says nothing about the file."""
    bad.write_bytes(image.read_bytes())
    let_fail(hostile_work.in_worker, hostile_work.crash_once)
    measurement = _measured(workers, bad)["bad.jpg"].measurement
    assert (measurement.measures.width, measurement.detail) == (200, "")
    assert workers.failures == 1


@pytest.mark.parametrize("where", [hostile_work.in_decoder, hostile_work.in_worker])
def test_a_process_killed_from_outside_says_nothing_about_the_file(workers, bad, let_fail, where):
    """SIGKILL, as from a kernel short of memory, is a reason to try again later, never to quarantine."""
    let_fail(where, hostile_work.be_killed)
    assert isinstance(_measured(workers, bad)["bad.jpg"].error, RetryableError)


def test_a_disk_that_hangs_is_not_the_images_fault(workers, bad, image, let_fail):
    """A worker that never came back from reading says so; what was to come after it is not even begun."""
    let_fail(hostile_work.in_worker, hostile_work.hang)
    results = _measured(workers, bad, image)
    assert isinstance(results["bad.jpg"].error, TimeoutError)
    assert "is its disk or mount in order?" in str(results["bad.jpg"].error)
    assert isinstance(results["good.jpg"].error, ChangedError)


def test_what_is_done_does_not_wait_for_what_is_not(workers, image, bad, let_fail):
    """Answers come one by one: a file is finished while a later one of the same worker takes its time."""
    _measured(workers, image)
    let_fail(hostile_work.in_worker, hostile_work.dawdle)
    workers.submit([(Candidate("default", name), str(path)) for name, path in (("good", image), ("bad", bad))])
    began = time.monotonic()
    while not (finished := workers.finished()):
        assert time.monotonic() < began + PATIENCE_SECONDS
        time.sleep(0.02)
    assert [one.candidate.relative_path for one in finished] == ["good"]


def test_files_do_not_wait_behind_a_slow_one_while_others_are_free(fault_file, image, bad, let_fail):
    """A worker has few files with it: what is left goes to the others."""
    let_fail(hostile_work.in_worker, hostile_work.dawdle)
    workers = Workers(Scoring(workers=2, timeout_seconds=10.0), threading.Event().set)
    try:
        files = [("bad", bad), *((str(number), image) for number in range(20))]
        workers.submit([(Candidate("default", name), str(path)) for name, path in files])
        order: list[str] = []
        deadline = time.monotonic() + PATIENCE_SECONDS
        while workers.in_work:
            assert time.monotonic() < deadline
            order += [one.candidate.relative_path for one in workers.finished()]
            time.sleep(0.02)
    finally:
        workers.stop()
    assert order.index("bad") >= 18


def test_once_told_to_stop_a_worker_begins_no_further_file(workers, image):
    """What no worker has is let go of; it is in the inbox. What one has is finished."""
    _measured(workers, image)
    workers.submit([(Candidate("default", str(number)), str(image)) for number in range(60)])
    workers.begin_nothing_more()
    assert workers.in_work < 60
    deadline = time.monotonic() + PATIENCE_SECONDS
    while workers.in_work:
        assert time.monotonic() < deadline
        workers.finished()
        time.sleep(0.02)


def test_processes_that_cannot_be_started_stall_the_source(workers, image, monkeypatch):
    """Without memory, descriptors or threads for a worker the file is put back, and its source pauses."""
    monkeypatch.setattr("imageguard_daemon.sandbox.processes.start_process", _no_processes)
    for one in list(workers._processes):
        one.process.kill()
    assert isinstance(_measured(workers, image)["good.jpg"].error, StalledError)


def _no_processes(*_arguments, **_options):
    raise BlockingIOError(11, "Resource temporarily unavailable")


def test_losing_idle_processes_costs_nothing(workers, image):
    """Processes killed while they have no task are replaced."""
    _measured(workers, image)
    for one in list(workers._processes):
        one.process.kill()
    assert _measured(workers, image)["good.jpg"].measurement.measures is not None
    assert workers.failures == 0


def test_processes_that_are_lost_again_and_again_end_the_daemon_for_another_try(workers, image, monkeypatch):
    """Mostly memory is short: the code is one that systemd tries again, not the end."""
    monkeypatch.setattr("imageguard_daemon.sandbox.workers._LOST_IN_A_ROW", 0)
    _measured(workers, image)
    for one in list(workers._processes):
        one.process.kill()
    with pytest.raises(StalledError, match="before they have done anything"):
        _measured(workers, image)
    with pytest.raises(StalledError, match="before they have done anything"):
        workers.finished()


def test_processes_that_neither_answer_nor_end_are_replaced(image, monkeypatch):
    """Workers stopped before they take a task, which no time limit sees, don't hold it for ever."""
    monkeypatch.setattr("imageguard_daemon.sandbox.processes._BEGIN_SECONDS", 10.0)
    workers = Workers(Scoring(workers=1, timeout_seconds=1.0), threading.Event().set)
    try:
        _measured(workers, image)
        for one in workers._processes:
            os.kill(one.process.pid, signal.SIGSTOP)
        assert _measured(workers, image)["good.jpg"].measurement.measures is not None
    finally:
        workers.stop()


def test_room_is_bounded(workers, image):
    """The pool says how much more it should be given."""
    room = workers.capacity
    assert room >= 2
    workers.submit([(Candidate("default", f"{number}.jpg"), str(image)) for number in range(room)])
    assert workers.capacity == 0


def test_a_decoder_that_cannot_be_set_up_is_no_images_fault(workers, image, let_fail):
    """Where the kernel refuses to confine it, all ends with the reason, and no image is called corrupt."""
    let_fail(hostile_work.where_nothing_is_confined, hostile_work.crash)
    with pytest.raises(UnavailableError, match=r"does not work here.*seccomp: Operation not permitted"):
        _measured(workers, image)


def test_the_time_a_file_takes_to_be_read_is_not_that_of_decoding_it(image, monkeypatch):
    """From a slow mount, which gives a file in about as long as an image may take, it is judged as from a quick one."""
    given = []

    class Decoder:
        def ask(self, _contents, _limits, seconds):
            given.append(seconds)
            return Measurement("")

    def slowly(file, most_bytes):
        time.sleep(0.2)
        return file.read(most_bytes)

    monkeypatch.setattr(worker_process.measurement, "_read_all", slowly)
    memory = Progress.make()
    worker = Worker(measure.task(), 1 << 30, Limits(), 0.1, checks=False, progress=Progress(memory), decoder=Decoder())
    os.close(memory)
    found = worker.measure(1, str(image))
    assert found.sha256 == hashlib.sha256(image.read_bytes()).hexdigest()
    assert given == [0.1]
    assert (worker.progress.at, worker.progress.is_reading) == (1, False)


def test_a_worker_that_has_stopped_by_itself_says_nothing_about_the_file(workers, bad, let_fail):
    """It ends a decoder that takes too long: when it does not come to that, no image is to blame."""
    let_fail(hostile_work.in_worker, hostile_work.hang_decoding)
    assert isinstance(_measured(workers, bad)["bad.jpg"].error, RetryableError)


def test_the_time_a_decoder_takes_to_begin_is_no_images(workers, image, let_fail):
    """On a machine with too much to do a new one may take longer than an image may: no image is called too large."""
    let_fail(hostile_work.where_decoders_begin_late, hostile_work.crash)
    assert _measured(workers, image)["good.jpg"].measurement.measures is not None
    assert workers.failures == 0


def test_workers_of_another_edition_do_nothing_for_an_older_daemon(image, monkeypatch):
    """After an upgrade in place new workers refuse, and the daemon ends with the code that starts it anew."""
    monkeypatch.setattr("imageguard_daemon.sandbox.workers.installed_edition", lambda: "an older one")
    workers = Workers(Scoring(workers=1), threading.Event().set)
    try:
        with pytest.raises(ReplacedError, match="were replaced while it was running") as told:
            _measured(workers, image)
        assert told.value.exit_code == os.EX_TEMPFAIL
    finally:
        workers.stop()


def test_a_worker_lost_after_an_upgrade_ends_the_daemon_for_a_new_start(workers, image, bad, monkeypatch, let_fail):
    """Whatever the new files do with the old daemon's messages: it looks for new files before it blames anything."""
    assert _measured(workers, image)["good.jpg"].measurement
    monkeypatch.setattr("imageguard_daemon.sandbox.workers.installed_edition", lambda: "a newer one")
    let_fail(hostile_work.in_worker, hostile_work.crash)
    with pytest.raises(ReplacedError):
        _measured(workers, bad)


def test_the_edition_is_that_of_the_files(tmp_path, monkeypatch):
    """A file more, a newer or a longer one is another edition; files that come and go beside them are not."""
    monkeypatch.setattr(processes, "_PACKAGE", str(tmp_path))
    module = tmp_path / "module.py"
    module.write_text("a")
    known = processes.installed_edition()
    (tmp_path / "module.pyc").write_text("b")
    assert processes.installed_edition() == known
    os.utime(module, (1, 1))
    newer = processes.installed_edition()
    assert newer != known
    (tmp_path / "other.py").write_text("")
    assert processes.installed_edition() != newer


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_full_dev_shm_of_others_hinders_no_worker(image):
    """What every account may fill is not needed."""
    program = f"""
import threading
from pathlib import Path
from imageguard_daemon.config import Scoring
from imageguard_daemon.sandbox.workers import Workers
from tests.unit.sandbox.test_workers import _measured
workers = Workers(Scoring(workers=1), threading.Event().set)
print(_measured(workers, Path({str(image)!r}))["good.jpg"].measurement.measures.width)
workers.stop()
"""
    fill = 'mount -t tmpfs -o size=64k tmpfs /dev/shm && yes >/dev/shm/others 2>/dev/null; exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", fill, "sh", sys.executable, "-c", program]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["200"]


def test_errors_come_through_as_they_were():
    """What a worker says of a file is what the daemon sorts: the kind of error, its number, its words."""
    gone = FileNotFoundError(errno.ENOENT, "No such file or directory", "a.jpg")
    for said in (gone, OSError(errno.EIO, "Input/output error"), StalledError("gone"), ChangedError("other")):
        heard = read_answer(pack_answer(1, said))
        assert (type(heard), str(heard)) == (type(said), str(said))
    killed = Loss("was killed", Cause.killed)
    assert read_answer(pack_answer(1, killed)) == killed
    identity = FileIdentity(1, 2, 3, 4, 5)
    found = Measurement("ab", issue="corrupt", detail="no end", identity=identity, duration_ms=1.5)
    assert read_answer(pack_answer(1, found)) == found
