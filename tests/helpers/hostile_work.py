"""Worker processes that meet what an image may make them or their decoder do. Names and contents start with `bad`.

`python -m tests.helpers.hostile_work LINE PROGRESS` is such a worker: the file that `FAULT_FILE` names says, once it is
there, where which fault is met.
"""

import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from imageguard_daemon.core.model import Limits, Measurement
from imageguard_daemon.quality.measurement import measure_bytes
from imageguard_daemon.sandbox import confinement, worker_process
from imageguard_daemon.sandbox.answers import Answer
from imageguard_daemon.sandbox.tasks.measure import measuring
from imageguard_daemon.sandbox.worker_process import Worker

MODULE = "tests.helpers.hostile_work"
FAULT_FILE = "IMAGEGUARD_TEST_FAULT_FILE"
WorkerFault = Callable[[Worker, str], None]
DecoderFault = Callable[[], None]
_confine = confinement.confine
_measure = Worker.measure
_met: list[str] = []


class HostileWorker(Worker):
    """A worker that looks whether there is a fault to be met before it measures a file."""

    def measure(self, number: int, path: str) -> Answer:
        """Measure it, or meet the fault."""
        file = Path(os.environ[FAULT_FILE])
        if file.exists() and not _met:
            _met.extend(file.read_text().split())
            if _met[0] != in_worker.__name__:
                globals()[_met[0]](self, globals()[_met[1]])
        if _met and _met[0] == in_worker.__name__:
            in_worker(self, globals()[_met[1]], number, path)
        return super().measure(number, path)


def in_worker(worker: Worker, fault: WorkerFault, number: int, path: str) -> None:
    """Meet the fault over a bad file, in the worker itself."""
    if os.path.basename(path).startswith("bad"):
        worker.begin_decoder()
        worker.progress.begin_reading(number)
        fault(worker, path)


def in_decoder(worker: Worker, fault: DecoderFault) -> None:
    """Have decoders that meet the fault over bad contents."""
    worker.task = measuring(partial(_faulty_work, fault))
    _without_decoder(worker)


def where_nothing_is_confined(worker: Worker, _fault: DecoderFault) -> None:
    """Be where the kernel has a filter of system calls and refuses it."""

    def refuse(*_arguments: object, **_options: object) -> None:
        raise PermissionError(1, "seccomp: Operation not permitted")

    confinement.confine = refuse
    _without_decoder(worker)


def where_decoders_begin_late(worker: Worker, _fault: DecoderFault) -> None:
    """Have each new decoder slow to begin, slower than an image may be."""
    confinement.confine = partial(_confine_late, 2.5)
    _without_decoder(worker)


def _without_decoder(worker: Worker) -> None:
    if worker.decoder is not None:
        worker.decoder.close()
        worker.decoder = None


def _confine_late(seconds: float, *arguments: object, **options: object) -> None:
    time.sleep(seconds)
    _confine(*arguments, **options)


def _faulty_work(fault: DecoderFault, data: bytes, limits: Limits) -> Measurement:
    if data.startswith(b"bad"):
        fault()
    return measure_bytes(data, limits)


def crash(*_where: object) -> None:
    """Die as by a memory error."""
    signal.raise_signal(signal.SIGSEGV)


def hang(*_where: object) -> None:
    """Never finish, and never want a processor either."""
    while True:
        time.sleep(3_600)


def be_killed(*_where: object) -> None:
    """End as by the kernel when memory runs out."""
    signal.raise_signal(signal.SIGKILL)


def dawdle(*_where: object) -> None:
    """Take long, but finish."""
    time.sleep(3.0)


def hang_decoding(worker: Worker, _path: str) -> None:
    """Never finish, in a worker that has the file's bytes already."""
    worker.progress.end_reading()
    hang()


def crash_once(_worker: Worker, path: str) -> None:
    """Die the first time, not the second."""
    if not os.path.exists(f"{path}.tried"):
        open(f"{path}.tried", "w").close()
        crash()


if __name__ == "__main__":
    worker_process.Worker = HostileWorker  # type: ignore[misc]
    worker_process.main()
