"""What is made of a Dask cluster's bad days, without a cluster; tests/e2e/test_backfill_dask.py has a real one."""

from concurrent.futures import CancelledError

import pytest

from imageguard_daemon.batch.backfill import engines
from imageguard_daemon.batch.backfill.engines import DaskEngine, versions_here
from imageguard_daemon.core.errors import NoInputError, UnavailableError, UsageError
from tests.helpers.shards import terms


class _Client:
    """A client of a cluster with so many threads, whose workers answer as they are told."""

    threads = 3
    answer: object = versions_here()
    connects = True

    def __init__(self, address: str, **options: object) -> None:
        if not self.connects:
            raise OSError(f"Timed out trying to connect to {address} after 10 s")
        self.status = "running"

    def get_executor(self, *, pure: bool, retries: int) -> object:
        return pure, retries

    def nthreads(self) -> dict[str, int]:
        return dict.fromkeys(map(str, range(self.threads)), 1)

    def run(self, function: object, *arguments: object, on_error: str) -> dict[str, object]:
        return {"tcp://10.0.0.7:1234": self.answer}

    def close(self, timeout: float) -> None:
        self.status = "closed"


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> type[_Client]:
    """The client that is given out."""

    class Own(_Client):
        pass

    monkeypatch.setattr(engines, "_client_class", lambda: Own)
    return Own


class KilledWorker(Exception):  # noqa: N818 - Dask's name
    """As of Dask."""


def test_as_many_shards_are_out_as_keep_its_threads_busy(client, monkeypatch):
    """Two for each thread, counted anew as workers come and go; two while there are none yet."""
    monkeypatch.setattr(engines, "_COUNT_SECONDS", 0)
    engine = DaskEngine("tcp://x:1", terms(), 3)
    assert engine.capacity == 6
    client.threads = 0
    assert engine.capacity == 2


def test_a_cluster_without_workers_is_not_waited_for_for_ever(client, monkeypatch):
    """After its time it is told; workers that come in between are enough to go on."""
    client.threads = 0
    monkeypatch.setattr(engines, "_COUNT_SECONDS", 0)
    engine = DaskEngine("tcp://x:1", terms(), 3)
    assert engine.capacity
    engine.check()
    monkeypatch.setattr(engines, "_WITHOUT_WORKERS_SECONDS", -1)
    with pytest.raises(UnavailableError, match="has had no workers for"):
        engine.check()
    client.threads = 1
    assert engine.capacity
    engine.check()


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            ("0.0.1", "0"),
            r"worker tcp://10\.0\.0\.7:1234 has imageguard-daemon 0\.0\.1 with scorer 0, and this command",
        ),
        (ModuleNotFoundError("No module named 'imageguard_daemon'"), "cannot load imageguard-daemon: No module named"),
        (
            NoInputError("scoring.readout: cannot read own.npz: gone"),
            "cannot load the readout: scoring.readout: cannot",
        ),
    ],
)
def test_a_worker_that_does_not_fit_is_named(client, answer, told):
    """Another version, or none at all, is told with the worker's address before anything is sent."""
    client.answer = answer
    with pytest.raises(UnavailableError, match=told):
        DaskEngine("tcp://x:1", terms(), 3)


def test_a_scheduler_that_is_not_there_is_told(client):
    """At the start in a sentence; when it goes later, with what is kept."""
    engine = DaskEngine("tcp://x:1", terms(), 3)
    client.connects = False
    with pytest.raises(UnavailableError, match=r"^no Dask scheduler at tcp://x:1: Timed out trying to connect"):
        DaskEngine("tcp://x:1", terms(), 3)
    with pytest.raises(UnavailableError, match="what is done is kept, and the same command goes on"):
        engine.renew()


def test_what_ends_a_shard_is_told_from_what_ends_the_cluster(client):
    """Cancelled means lost, all of it; a shard that comes back with an error Dask has tried often enough."""
    engine = DaskEngine("tcp://x:1", terms(), 3)
    assert engine.executor == (False, 2)
    assert engine.is_lost(CancelledError())
    assert not engine.is_lost(KilledWorker())
    assert engine.is_final(KilledWorker())
    assert engine.is_final(OSError())
    engine.close()
    assert engine.is_lost(OSError())


def test_without_dask_it_says_what_to_install(monkeypatch):
    """The extra is named."""
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(UsageError, match=r"pip install 'imageguard-daemon\[dask\]'"):
        DaskEngine("tcp://x:1", terms(), 3)
