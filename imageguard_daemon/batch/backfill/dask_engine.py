"""Shards on a Dask cluster: the only place that imports Dask.

Dask itself balances, tries again what fails, sends the tasks of a lost worker to others, and gives up one that has cost
it several workers. What is left to do here is to find out early what would fail every shard, and to come back when the
scheduler does.
"""

import asyncio
import logging
import time
from concurrent.futures import CancelledError, Executor
from contextlib import suppress
from pathlib import Path
from typing import Any

from imageguard_daemon import __version__
from imageguard_daemon.batch.backfill.engines import SHARDS_FOR_EACH_WORKER, Engine
from imageguard_daemon.batch.backfill.scoring import describe_versions
from imageguard_daemon.batch.backfill.shards import Terms
from imageguard_daemon.core.errors import FatalError, UnavailableError, UsageError
from imageguard_daemon.core.names import printable
from imageguard_daemon.quality.readout import scorer_of

_CONNECT_SECONDS = 10.0
_CLOSE_SECONDS = 5.0
_COUNT_SECONDS = 5.0
_WITHOUT_WORKERS_SECONDS = 120.0


class DaskEngine(Engine):
    """The workers of one scheduler; they may come and go. Dask tries each shard so many times."""

    def __init__(self, address: str, terms: Terms, attempts: int) -> None:
        self._address = address
        self._terms = terms
        self._attempts = attempts
        self._shown = printable(address)
        self._client: Any = None
        self._counted_at = 0.0
        self._empty_since: float | None = None
        super().__init__(self._connect(), 0)

    @property
    def capacity(self) -> int:
        """As many as its threads now keep busy, a few when it has none yet."""
        self._count()
        return super().capacity or SHARDS_FOR_EACH_WORKER

    def is_lost(self, error: BaseException) -> bool:
        """Tell whether the scheduler is gone: what was out is then cancelled."""
        if isinstance(error, CancelledError | asyncio.CancelledError):
            return True
        return str(self._client.status) != "running"

    def is_final(self, _error: BaseException) -> bool:
        """Say yes: Dask has tried it often enough, or would only lose more workers by it."""
        return True

    def check(self) -> None:
        """Look whether there are still workers.

        Raises:
            UnavailableError: there have been none for two minutes.
        """
        now = time.monotonic()
        if self._workers:
            self._empty_since = None
        elif self._empty_since is None:
            self._empty_since = now
        elif now - self._empty_since > _WITHOUT_WORKERS_SECONDS:
            raise UnavailableError(
                f"the scheduler at {self._shown} has had no workers for {_WITHOUT_WORKERS_SECONDS:g} s; what is done "
                "is kept, and the same command goes on from there"
            )

    def renew(self) -> None:
        """Connect again: a scheduler that was started again knows nothing of what was out.

        Raises:
            UnavailableError: it is not there.
        """
        self.close()
        try:
            self.executor = self._connect()
        except UnavailableError as error:
            raise UnavailableError(f"{error}; what is done is kept, and the same command goes on from there") from error

    def close(self) -> None:
        """Let go of it; what is out there is forgotten."""
        with suppress(Exception):  # it may be gone
            self._client.close(timeout=_CLOSE_SECONDS)

    def _connect(self) -> Executor:
        client = _client_class()
        try:
            self._client = client(
                self._address, timeout=_CONNECT_SECONDS, set_as_default=False, name="imageguard-daemon"
            )
        except (OSError, ValueError, TypeError, AssertionError) as error:
            raise UnavailableError(f"no Dask scheduler at {self._shown}: {printable(str(error))}") from error
        self._counted_at = 0.0
        self._require_same_version()
        executor: Executor = self._client.get_executor(pure=False, retries=self._attempts - 1)
        return executor

    def _count(self) -> None:
        now = time.monotonic()
        if now - self._counted_at < _COUNT_SECONDS or self._client.status != "running":
            return
        self._counted_at = now
        with suppress(OSError, TimeoutError):  # whoever waits for results finds out more
            self._workers = sum(self._client.nthreads().values())

    def _require_same_version(self) -> None:
        """Ask the workers there are by now; those that come later refuse by themselves."""
        readout = self._terms.scoring.readout
        answers = self._client.run(versions_here, readout, on_error="return")
        ours = (self._terms.package_version, self._terms.scorer_version)
        for worker, answer in sorted(answers.items()):
            if isinstance(answer, BaseException):
                message = printable(" ".join(str(answer).split()) or type(answer).__name__)
                what = "the readout" if isinstance(answer, FatalError) else "imageguard-daemon"
                raise UnavailableError(f"the Dask worker {worker} cannot load {what}: {message}")
            if answer != ours:
                raise UnavailableError(describe_versions(f"the Dask worker {worker}", answer, ours, readout))


def versions_here(readout: Path | None = None) -> tuple[str, str]:
    """Give the versions of the package and of the scorer with this readout; workers are asked for theirs."""
    return __version__, scorer_of(readout)


def _client_class() -> Any:
    try:
        from distributed import Client  # noqa: PLC0415 - an extra, and a second to load
    except ImportError as error:
        raise UsageError(f"--dask needs pip install 'imageguard-daemon[dask]' ({error})") from error
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] == "distributed":  # what they would say is said here in other words
            logging.getLogger(name).setLevel(logging.CRITICAL)
    return Client
