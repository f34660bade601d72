"""Scoring alone: what the daemon's workers do, by as many processes with nothing around them."""

import multiprocessing
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path

from imageguard_daemon.core.model import Limits
from imageguard_daemon.quality import measurement
from imageguard_daemon.quality.policy import PRESETS, decide

WARM_UP = 5


@dataclass(frozen=True, slots=True)
class Alone:
    """Seconds by the clock and of processor time for `count` files."""

    count: int
    seconds: float
    cpu_seconds: float


def score(paths: Sequence[Path], processes: int) -> Alone:
    """Score files where they lie, in warm processes; each takes its share."""
    os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")  # as the daemon's workers have it
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(processes)
    with context.Pool(processes, _begin, (barrier,)) as pool:
        spans = pool.map(_score_all, [list(map(str, paths[k::processes])) for k in range(processes)], chunksize=1)
    begins, ends, cpu = zip(*spans, strict=True)
    return Alone(len(paths), max(ends) - min(begins), sum(cpu))


_barrier: Barrier


def _begin(barrier: Barrier) -> None:
    global _barrier  # noqa: PLW0603 - given to each process once
    _barrier = barrier
    measurement.prepare_worker()


def _score_all(paths: Sequence[str]) -> tuple[float, float, float]:
    limits = Limits()
    for path in paths[:WARM_UP]:
        _score(path, limits)
    _barrier.wait()
    begin, cpu = time.monotonic(), time.process_time()
    for path in paths:
        _score(path, limits)
    return begin, time.monotonic(), time.process_time() - cpu


def _score(path: str, limits: Limits) -> None:
    decide(measurement.measure_file(path, limits), "general", PRESETS["general"])
