"""Keep Pillow's warnings out of a caller's terminal, from any number of threads."""

import os
import threading
import warnings


class Quiet:
    """A context in which no warning is shown.

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
