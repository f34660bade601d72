"""Read-only connections to the log, kept between requests: opening one costs more than asking."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from imageguard_daemon.audit.opening import LogPlace, open_log, which_file
from imageguard_daemon.audit.store import Store

MAX_IDLE = 8
_File = tuple[int, int]


class LogConnections:
    """Lends each request a connection of its own; any thread may ask.

    An idle one has no transaction open, so that the daemon folds its WAL in as if nobody was there. When another file
    has taken the log's place, those to the old one are closed.
    """

    def __init__(self, database: LogPlace) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._idle: deque[Store] = deque()
        self._file: _File | None = None

    @contextmanager
    def lend(self) -> Iterator[Store]:
        """Give a connection for one request and one thread; one that met an error is not used again."""
        log, file = self._take()
        try:
            yield log
        except BaseException:
            log.close()
            raise
        self._put_back(log, file)

    def close(self) -> None:
        """Close those that are idle."""
        with self._lock:
            while self._idle:
                self._idle.pop().close()

    def _take(self) -> tuple[Store, _File | None]:
        file = which_file(self._database)
        if file != self._file:
            self.close()
        with self._lock:
            self._file = file
            if self._idle:
                return self._idle.pop(), file
        return open_log(self._database, complete=True), file

    def _put_back(self, log: Store, file: _File | None) -> None:
        with self._lock:
            if file == self._file and len(self._idle) < MAX_IDLE:
                self._idle.append(log)
                return
        log.close()
