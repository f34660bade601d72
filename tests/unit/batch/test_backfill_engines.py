"""Engines by name, and what is made of their answers: lost, late, broken, or given up; a cluster without a cluster."""

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError, Executor, Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imageguard_daemon.batch.backfill import dispatch, engines
from imageguard_daemon.batch.backfill.dispatch import Dispatcher
from imageguard_daemon.batch.backfill.engines import DaskEngine, Engine, open_engine, versions_here
from imageguard_daemon.batch.backfill.results import Footer, ShardResult
from imageguard_daemon.batch.backfill.shards import Shard, ShardTask
from imageguard_daemon.core.errors import NoInputError, UnavailableError, UsageError
from tests.helpers.shards import terms


@pytest.mark.parametrize(
    ("name", "error", "told"),
    [
        ("nowhere.at.all:make", UsageError, "No module named 'nowhere'"),
        ("tests.helpers.shards:nothing", UsageError, "has no attribute 'nothing'"),
        ("tests.helpers.shards:no_executor", UsageError, "gives a str, not a concurrent.futures.Executor"),
        ("tests.helpers.shards:failing", UnavailableError, "failed: ConnectionError: no such cluster"),
        ("processes", UsageError, "neither process nor thread, nor of the form module:factory"),
    ],
)
def test_an_executor_that_cannot_be_had_is_told(name, error, told):
    """A wrong name, module or factory is told in one sentence with the name in it."""
    with pytest.raises(error, match=f"^--executor {name}") as caught:
        open_engine(name, 0)
    assert told in str(caught.value)


def test_any_executor_can_be_brought_along():
    """`module:factory` gives it; how many shards are out follows from its workers, or from --workers."""
    engine = open_engine("tests.helpers.shards:two_threads", 0)
    assert engine.executor.submit(int, "7").result() == 7
    assert engine.capacity == 4
    engine.close()
    assert open_engine("tests.helpers.shards:two_threads", 5).capacity == 10


def test_a_process_that_is_killed_costs_its_own_shard_alone():
    """Each process is in a pool of its own: the other's work comes to its end, and a new process takes the next."""
    engine = open_engine("process", 2)
    try:
        first, second = engine.executor.submit(time.sleep, 30), engine.executor.submit(os.getpid)
        pid = second.result(60)
        killed, further = engine.executor.submit(_end_process), engine.executor.submit(os.getpid)
        with pytest.raises(BrokenProcessPool):
            killed.result(60)
        assert further.result(60) not in {pid, os.getpid()}
        assert not first.done()
    finally:
        engine.close()


def _end_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class _Scripted(Executor):
    """Gives each task the next answer of its script; an answer that is an exception is raised."""

    def __init__(self, answers: Iterator[object]) -> None:
        self._answers = answers

    def submit(self, _function, task: ShardTask, /):
        future: Future = Future()
        _answer(future, task, next(self._answers))
        return future


def _answer(future: Future, task: ShardTask, answer: object) -> None:
    if isinstance(answer, BaseException):
        future.set_exception(answer)
    elif isinstance(answer, _Nonsense):
        future.set_result(answer.result)
    else:
        footer = Footer(task.shard.number, 0, task.digest, task.terms, {})
        future.set_result(ShardResult(str(answer).encode(), footer))


@dataclass
class _Nonsense:
    """What an executor that does something else gives."""

    result: object


class _Renewed(Engine):
    renewals = 0

    def renew(self) -> None:
        self.renewals += 1
        if isinstance(self.executor, _Held):
            self.executor.out.clear()


class _Noted:
    """Notes what comes."""

    def __init__(self) -> None:
        self.taken: list[tuple[int, str]] = []
        self.given_up: list[tuple[int, str]] = []

    def take(self, task: ShardTask, result: ShardResult) -> None:
        self.taken.append((task.shard.number, result.content.decode()))

    def give_up(self, task: ShardTask, why: str) -> None:
        self.given_up.append((task.shard.number, why))


def _tasks(count: int) -> Iterator[ShardTask]:
    return (ShardTask(Shard(number, (), None), "", "") for number in range(count))


def _drive(answers: list[object], shards: int, kind: type[Engine] = _Renewed, attempts: int = 2):
    engine, noted = kind(_Scripted(iter(answers)), 1), _Noted()
    dispatcher = Dispatcher(engine, _tasks(shards), noted, attempts=attempts, linger_seconds=60)
    dispatcher.run(lambda: None, lambda out: None)
    return engine, sorted(noted.taken), noted.given_up


def test_a_broken_pool_is_replaced_and_what_was_in_it_goes_out_again():
    """A killed process breaks the pool; every shard still counts once."""
    broken = BrokenProcessPool("a process was terminated abruptly")
    engine, taken, given_up = _drive(["a", broken, "b", "c"], 3)
    assert engine.renewals == 1
    assert (taken, given_up) == ([(0, "a"), (1, "b"), (2, "c")], [])


def test_a_shard_that_keeps_failing_is_reported_and_the_others_are_done():
    """Its reason is told after so many attempts."""
    _, taken, given_up = _drive([OSError("bad"), "b", OSError("worse"), "c"], 3)
    assert [number for number, _ in taken] == [1, 2]
    assert given_up == [(0, "OSError: worse")]


def test_an_error_that_concerns_all_shards_ends_the_run():
    """A worker of another version, or without what the store needs, would fail them all."""
    with pytest.raises(UnavailableError, match="another version"):
        _drive([UnavailableError("another version"), "b"], 3)


@pytest.mark.parametrize(
    ("result", "told"),
    [
        (None, "something of type NoneType where the result of a shard was due"),
        ("done", "something of type str where the result of a shard was due"),
        (ShardResult(b"", Footer(7, 0, "", "", {})), "the result of shard 7 for shard 0"),
        (ShardResult(b"", Footer(0, 0, "of others", "", {})), "the result of shard 0 for shard 0"),
    ],
)
def test_an_executor_that_answers_nonsense_is_told_in_a_sentence(result, told):
    """Who does not run what is given, or mixes up answers, ends the run, and nothing of it is kept."""
    with pytest.raises(UnavailableError, match=told):
        _drive([_Nonsense(result), "b"], 1)


def test_an_executor_that_gives_no_futures_is_told(monkeypatch):
    """What `submit` gives must be waited for."""
    monkeypatch.setattr(_Scripted, "submit", lambda *_: "queued")
    with pytest.raises(UnavailableError, match="something of type str where a Future was due"):
        _drive(["a"], 1)


def test_an_executor_brought_along_cannot_be_made_anew():
    """It is said, with what is kept."""
    with pytest.raises(UnavailableError, match="the executor is broken; what is done is kept"):
        _drive([BrokenProcessPool("gone"), "b"], 2, Engine)


def test_what_takes_its_engine_down_does_not_do_so_for_ever():
    """A scheduler that goes again and again with the same shard in work gives that shard up."""
    broken = BrokenProcessPool("gone")
    engine, taken, given_up = _drive([broken] * 5, 1)
    assert (engine.renewals, taken) == (5, [])
    assert given_up == [(0, "its worker was lost: BrokenProcessPool: gone")]


def test_an_engine_that_tries_again_by_itself_is_not_asked_to():
    """What Dask has tried often enough is given up at once."""

    class Final(_Renewed):
        def is_final(self, _error: BaseException) -> bool:
            return True

    _, taken, given_up = _drive([OSError("bad"), "b"], 2, Final)
    assert (taken, given_up) == ([(1, "b")], [(0, "OSError: bad")])


class _Held(Executor):
    """Answers when the test says so."""

    def __init__(self) -> None:
        self.out: list[tuple[Future, ShardTask]] = []

    def submit(self, _function, task: ShardTask, /):
        future: Future = Future()
        self.out.append((future, task))
        return future

    def numbers(self) -> list[int]:
        """Give the shards that are out and have no answer."""
        return [task.shard.number for future, task in self.out if not future.done()]

    def answer(self, number: int, answer: object) -> None:
        """Answer the copy of a shard that has been out for longest."""
        future, task = next(one for one in self.out if one[1].shard.number == number and not one[0].done())
        _answer(future, task, answer)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, as a list of one number; nothing is waited for."""
    now = [0.0]
    monkeypatch.setattr(dispatch.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(dispatch, "wait", lambda futures, *_: ({one for one in futures if one.done()}, set()))
    return now


class _EndOfScriptError(BaseException):
    """The test has seen enough."""


def _run_script(shards, capacity, steps, attempts=3):
    """Run with a held executor; before each look, the next step is called with it, until there are no more."""
    executor, noted = _Held(), _Noted()
    engine = _Renewed(executor, capacity // 2)
    tasks = shards if isinstance(shards, Iterator) else _tasks(shards)
    dispatcher = Dispatcher(engine, tasks, noted, attempts=attempts, linger_seconds=60)
    script = iter(steps)

    def check() -> None:
        step = next(script, None)
        if step is None:
            raise _EndOfScriptError
        step(executor)

    with suppress(_EndOfScriptError):
        dispatcher.run(check, lambda out: None)
    return executor, noted


def _look(_executor: _Held) -> None:
    """Do nothing before this look."""


def test_no_more_is_out_than_there_is_room_for(clock):
    """With room for four, four shards are out, and a fifth goes out when one is done."""
    executor, _ = _run_script(9, 4, [_look, _look])
    assert executor.numbers() == [0, 1, 2, 3]
    executor, _ = _run_script(9, 4, [_look, lambda held: held.answer(2, "c"), _look])
    assert executor.numbers() == [0, 1, 3, 4]


def test_the_manifest_is_read_no_further_than_there_is_room(clock):
    """A hundred million rows are not read ahead: a task is taken from the stream only when it is sent."""
    read = []
    _run_script((read.append(task) or task for task in _tasks(100)), 4, [_look] * 5)
    assert len(read) == 4


def test_a_straggler_goes_out_a_second_time_and_counts_once(clock):
    """One that takes far longer than the others is sent again, once; whichever copy comes first is taken."""

    def quick(held: _Held) -> None:
        clock[0] = 10
        held.answer(1, "b")
        held.answer(2, "c")

    def at(seconds: float, numbers: list[int]):
        def step(held: _Held) -> None:
            assert held.numbers() == numbers
            clock[0] = seconds

        return step

    steps = [
        _look,
        quick,
        at(50, [0]),
        at(61, [0]),
        at(1000, [0, 0]),
        at(1001, [0, 0]),
        lambda held: held.answer(0, "a"),
    ]
    executor, noted = _run_script(3, 4, [*steps, _look])
    assert executor.numbers() == [0]  # the other copy: nobody waits for it
    assert sorted(noted.taken) == [(0, "a"), (1, "b"), (2, "c")]


@given(
    st.integers(1, 12), st.integers(1, 5), st.lists(st.sampled_from(["done", "failed", "lost", "late"]), max_size=60)
)
def test_every_shard_is_done_or_given_up_exactly_once(count, workers, events):
    """Whatever happens in whatever order, no shard is forgotten, and none counts twice."""
    now = [0.0]

    def step_of(event: str):
        def step(held: _Held) -> None:
            now[0] += 500.0 if event == "late" else 1.0
            assert len(held.numbers()) <= 2 * workers + late_copies
            if held.numbers():
                answer = {"failed": OSError("bad"), "lost": BrokenProcessPool("killed")}.get(event, "good")
                held.answer(held.numbers()[0], answer)

        return step

    late_copies = len(events)  # those that nobody waits for any more
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(dispatch.time, "monotonic", lambda: now[0])
        patched.setattr(dispatch, "wait", lambda futures, *_: ({one for one in futures if one.done()}, set()))
        _, noted = _run_script(count, 2 * workers, map(step_of, ["", *events, *["done"] * 200]))
    ends = [number for number, _ in [*noted.taken, *noted.given_up]]
    assert sorted(ends) == list(range(count))


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
