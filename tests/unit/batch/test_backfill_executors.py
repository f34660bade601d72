"""Executors by name, and the driver with fakes: what is lost, late or broken."""

from collections.abc import Iterator
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

import pytest

from imageguard_daemon.batch.backfill.dispatch import Driver
from imageguard_daemon.batch.backfill.executors import GivenFleet, open_fleet
from imageguard_daemon.batch.backfill.rules.schedule import Schedule
from imageguard_daemon.batch.backfill.shard_file import Facts, Made
from imageguard_daemon.batch.backfill.shards import Shard, Task
from imageguard_daemon.core.errors import UnavailableError, UsageError


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
        open_fleet(name, 0)
    assert told in str(caught.value)


def test_any_executor_can_be_brought_along():
    """`module:factory` gives it; how many shards are out follows from its workers, or from --workers."""
    fleet = open_fleet("tests.helpers.shards:two_threads", 0)
    assert fleet.executor.submit(int, "7").result() == 7
    assert fleet.slots == 4
    fleet.close()
    assert open_fleet("tests.helpers.shards:two_threads", 5).slots == 10


class _Scripted(Executor):
    """Gives each task the next answer of its script; an answer that is an exception is raised."""

    def __init__(self, answers: Iterator[object]) -> None:
        self._answers = answers

    def submit(self, _function, task: Task, /):
        future: Future = Future()
        answer = next(self._answers)
        if isinstance(answer, BaseException):
            future.set_exception(answer)
        else:
            content = answer.encode() if isinstance(answer, str) else b""
            made = Made(content, Facts(task.shard.number, 0, task.digest, task.terms, {}))
            future.set_result(answer.result if isinstance(answer, _Nonsense) else made)
        return future


@dataclass
class _Nonsense:
    """What an executor that does something else gives."""

    result: object


class _Renewed(GivenFleet):
    renewals = 0

    def renew(self) -> None:
        self.renewals += 1


def _drive(answers: list[object], shards: int, kind: type[GivenFleet] = _Renewed):
    fleet = kind(_Scripted(iter(answers)), 2)
    taken, given_up = [], []
    tasks = (Task(Shard(number, (), None), "", "") for number in range(shards))
    schedule = Schedule(tasks, attempts=2, linger_seconds=60)
    driver = Driver(
        fleet,
        schedule,
        lambda task, made: taken.append((task.shard.number, made.content.decode())),
        lambda task, why: given_up.append((task.shard.number, why)),
    )
    try:
        driver.run(lambda: None, lambda out: None)
    finally:
        fleet.told = (sorted(taken), given_up)
    return fleet, sorted(taken), given_up


def test_a_broken_pool_is_replaced_and_what_was_in_it_goes_out_again():
    """A killed process breaks the pool; every shard still counts once."""
    broken = BrokenProcessPool("a process was terminated abruptly")
    fleet, taken, given_up = _drive(["a", broken, "b", "c"], 3)
    assert fleet.renewals == 1
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
        (Made(b"", Facts(7, 0, "", "", {})), "the result of shard 7 for shard 0"),
        (Made(b"", Facts(0, 0, "of others", "", {})), "the result of shard 0 for shard 0"),
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
        _drive([BrokenProcessPool("gone"), "b"], 2, GivenFleet)
