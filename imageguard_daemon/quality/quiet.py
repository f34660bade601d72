"""Keep what libraries say of broken images out of a caller's terminal."""

import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


class Quiet:
    """A context in which no warning is shown, from any number of threads.

    `warnings.catch_warnings` alone is not enough: two threads that overlap put back one another's filters, and
    silence stays for good. Here the first to enter keeps the filters and the last to leave puts them back.
    """

    def __init__(self) -> None:
        self._reset()
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        """Begin anew: in a forked child, no other thread is there to leave."""
        self._lock = threading.Lock()
        self._inside = 0
        self._kept = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._kept = warnings.catch_warnings()
                self._kept.__enter__()
                warnings.simplefilter("ignore")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._kept.__exit__(None, None, None)


QUIET = Quiet()


@contextmanager
def silent_standard_error() -> Iterator[None]:
    """Have nothing of this process reach standard error meanwhile: C libraries print there without a file's name.

    For programs: a library must not do so to its caller.
    """
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
