"""Measuring files that stay where they are: what the pipeline does with an inbox, without deciding or moving."""

import threading
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from imageguard_daemon.config import Scoring
from imageguard_daemon.core.model import Candidate
from imageguard_daemon.quality.readout import Readout
from imageguard_daemon.sandbox.workers import Finished, Workers

_LONGEST_WAIT_SECONDS = 1.0
"""A pool that fell silent is noticed only by asking."""


def measure_files(
    paths: Iterable[str],
    settings: Scoring,
    check: Callable[[], None] = lambda: None,
    readout: Readout | None = None,
) -> Iterator[Finished]:
    """Measure files in worker processes; yields them as they finish, each path as the `relative_path`.

    Paths are taken as the workers have room: a long iterator is not read ahead. A path must not come twice while it
    is in work. `check` is called between any two of them and at least once a second. The workers end with the
    iteration, also when it is left by an exception. `readout` is the one that the settings name, where it was read
    already: what stands in the file by now does not matter.

    Raises:
        UnavailableError: the workers do not work at all.
        NoInputError, PermissionDeniedError, ConfigError: there is no readout to be had where the settings name one.
    """
    news = threading.Event()
    workers = Workers(settings, news.set, readout=readout)
    waiting = iter(paths)
    exhausted = False
    try:
        while not exhausted or workers.in_work:
            check()
            if not exhausted and (capacity := workers.capacity):
                paths_taken = list(islice(waiting, capacity))
                exhausted = len(paths_taken) < capacity
                workers.submit([(Candidate("", path), path) for path in paths_taken])
            for one in workers.finished():
                yield one
                check()
            if workers.in_work and (exhausted or not workers.capacity):
                news.wait(_LONGEST_WAIT_SECONDS)
                news.clear()
    finally:
        workers.stop()
