"""Work shared out among processes, with a count for a person at a terminal."""

import multiprocessing
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

import cv2

Run = Callable[[str, Callable[[Any], Any], Sequence[Any]], list[Any]]
"""`run(what, work, jobs)` gives the results of `work` in the order of `jobs`; `what` names them on the terminal."""


def prepare() -> None:
    """Set up a process that tries and judges: one thread, as there are many processes."""
    cv2.setNumThreads(1)


@contextmanager
def processes(workers: int) -> Iterator[Run]:
    """Give a function that runs jobs in so many processes."""
    # Started afresh: a forked process may hang on a lock that a thread of OpenCV held.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=prepare) as pool:
        yield lambda what, work, jobs: list(_reported(what, pool.map(work, jobs), len(jobs)))


def _reported(what: str, results: Iterator[Any], total: int) -> Iterator[Any]:
    """Pass results on, telling a person at a terminal how many there are."""
    for number, result in enumerate(results, 1):
        if sys.stderr.isatty():
            print(f"\r{what}: {number} of {total} ", end="" if number < total else "\n", file=sys.stderr, flush=True)
        yield result
