"""What an image may make a worker process or its decoder do; importable there. Names and contents start with `bad`."""

import os
import signal
import time
from collections.abc import Callable, Sequence
from functools import partial

from imageguard_daemon.core.model import Measurement
from imageguard_daemon.quality.decode.limits import Limits
from imageguard_daemon.quality.measurement import measure_bytes
from imageguard_daemon.sandbox import confinement, worker_process
from imageguard_daemon.sandbox.decoder import Decoder
from imageguard_daemon.sandbox.tasks.measure import measuring
from imageguard_daemon.sandbox.worker_process import Answer, measure, measure_batch

WorkerFault = Callable[[str, int], None]
DecoderFault = Callable[[], None]
_confine = confinement.confine
Batch = tuple[Sequence[str], Limits, int, float]


def in_worker(fault: WorkerFault, *batch: *Batch) -> list[Answer]:
    """Measure a batch in a worker that meets `fault` over a bad file: gets its path and the slot on the board."""

    def faulty(path: str, limits: Limits, slot: int, timeout_seconds: float, checks: bool = False) -> Answer:
        if os.path.basename(path).startswith("bad"):
            fault(path, slot)
        return measure(path, limits, slot, timeout_seconds, checks)

    worker_process.measure = faulty
    return measure_batch(*batch)


def in_decoder(fault: DecoderFault, *batch: *Batch) -> list[Answer]:
    """Measure a batch with decoders that meet `fault` over bad contents."""
    if worker_process.Decoder is Decoder:
        worker_process.Decoder = lambda memory_bytes, _task: Decoder(
            memory_bytes, measuring(partial(_faulty_work, fault))
        )
        worker_process._decoder.close()
        worker_process._decoder = None
    return measure_batch(*batch)


def where_nothing_is_confined(_fault: DecoderFault, *batch: *Batch) -> list[Answer]:
    """Measure a batch where the kernel has a filter of system calls and refuses it."""

    def refuse(*_arguments: object, **_options: object) -> None:
        raise PermissionError(1, "seccomp: Operation not permitted")

    confinement.confine = refuse
    worker_process._decoder = None
    return measure_batch(*batch)


def where_decoders_begin_late(seconds: float, *batch: *Batch) -> list[Answer]:
    """Measure a batch with a decoder that is lost before it, and each new one slow to begin."""
    if confinement.confine is _confine:
        confinement.confine = partial(_confine_late, seconds)
        worker_process._decoder.close()
        worker_process._decoder = None
    return measure_batch(*batch)


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


def hang_decoding(_path: str, slot: int) -> None:
    """Never finish, in a worker that has the file's bytes already."""
    worker_process._board.end_reading(slot)
    hang()


def crash_once(path: str, _slot: int) -> None:
    """Die the first time, not the second."""
    if not os.path.exists(f"{path}.tried"):
        open(f"{path}.tried", "w").close()
        crash()
