"""Executors by name, and the driver with fakes: what is lost, late or broken."""

from collections.abc import Iterator
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool

import pytest

from imageguard_daemon.batch.backfill.driving import Driver
from imageguard_daemon.batch.backfill.executors import GivenFleet, open_fleet
from imageguard_daemon.batch.backfill.schedule import Schedule
from imageguard_daemon.batch.backfill.shards import Shard, Task
from imageguard_daemon.errors import UnavailableError, UsageError


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
            future.set_result((task.shard.number, answer))
        return future


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
        lambda task, made: taken.append(made),
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


def test_an_executor_brought_along_cannot_be_made_anew():
    """It is said, with what is kept."""
    with pytest.raises(UnavailableError, match="the executor is broken; what is done is kept"):
        _drive([BrokenProcessPool("gone"), "b"], 2, GivenFleet)
