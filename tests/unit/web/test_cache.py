"""Answers that take long are made once, kept for a while, and never hold up a page."""

import asyncio
import threading

import pytest

from imageguard_daemon.web.cache import CachePolicy, NotReadyError, SingleFlight, StaleWhileRevalidate


@pytest.fixture
def anyio_backend():
    """The event loop that uvicorn uses."""
    return "asyncio"


class Clock:
    """A clock that moves when told."""

    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def remembered(clock):
    made = StaleWhileRevalidate(CachePolicy(fresh_seconds=10, stale_seconds=30, max_answers=2, max_at_work=1), clock)
    yield made
    made.close()


def test_an_answer_is_made_once_while_it_is_fresh(remembered, clock):
    """Who asks again in time gets what is there."""
    made = iter((1, 2))
    assert remembered.get("a", lambda: next(made)) == 1
    clock.now = 9.0
    assert remembered.get("a", lambda: next(made)) == 1
    clock.now = 31.0
    assert remembered.get("a", lambda: next(made)) == 2


def test_an_older_answer_is_given_while_a_new_one_is_made(remembered, clock):
    """Nobody waits for the renewal of what was there a moment ago."""
    remembered.get("a", lambda: "old")
    clock.now = 20.0
    renewing, renewed = threading.Event(), threading.Event()

    def renew():
        renewing.wait(60)
        return "new"

    assert remembered.get("a", renew) == "old"
    renewing.set()
    remembered._maker.submit(renewed.set)
    assert renewed.wait(60)
    assert remembered.get("a", renew) == "new"


def test_who_has_no_patience_is_told_and_the_answer_is_there_later(remembered):
    """A page says that it is counting; others are not even begun while one is at work."""
    may_end = threading.Event()

    def slow():
        may_end.wait(60)
        return "made"

    with pytest.raises(NotReadyError):
        remembered.get("a", slow, 0.001)
    with pytest.raises(NotReadyError):
        remembered.get("b", slow, 10)
    may_end.set()
    assert remembered.get("a", slow) == "made"


def test_who_asks_again_while_an_answer_takes_long_does_not_wait_again(remembered, clock):
    """Patience begins with the making: a page that is loaded again says at once that it still counts."""
    may_end = threading.Event()
    with pytest.raises(NotReadyError):
        remembered.get("a", may_end.wait, 0.001)
    clock.now = 30.0
    with pytest.raises(NotReadyError):
        remembered.get("a", may_end.wait, 29)  # of seconds, which would be waited for
    assert not may_end.is_set()
    may_end.set()


def test_an_error_reaches_whoever_asked_and_is_not_kept(remembered):
    """The next one to ask has it made anew."""

    def fail():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        remembered.get("a", fail)
    assert remembered.get("a", lambda: 1) == 1


def test_memory_is_bounded(remembered):
    """Of many questions the latest are remembered."""
    for number in range(5):
        remembered.get(number, lambda: "x")
    assert len(remembered._answers) == 2


@pytest.mark.anyio
async def test_many_who_ask_in_one_moment_share_an_answer_that_was_begun_after_they_asked():
    """One is at work, and all who come meanwhile get the next one: nobody is shown what was before they asked."""
    asked, log, looks = SingleFlight(), ["waiting"], []
    has_begun, may_end = threading.Event(), threading.Event()

    def look():
        looks.append(log[-1])
        has_begun.set()
        may_end.wait(60)
        return looks[-1]

    first = asyncio.create_task(asked.get("page", look))
    assert await asyncio.to_thread(has_begun.wait, 60)
    log.append("released")
    others = [asyncio.create_task(asked.get("page", look)) for _ in range(50)]
    assert await asked.get("another page", lambda: "at once") == "at once"
    may_end.set()
    assert await first == "waiting"
    assert await asyncio.gather(*others) == ["released"] * 50
    assert looks == ["waiting", "released"]
    assert not asked._waiting
    assert not asked._at_work


@pytest.mark.anyio
async def test_an_error_of_a_shared_answer_reaches_all_and_is_not_kept():
    """The next one to ask looks anew; who goes away takes the answer from nobody."""
    asked, may_end = SingleFlight(), threading.Event()

    def fail():
        may_end.wait(60)
        raise ValueError("no")

    gone, *others = [asyncio.create_task(asked.get("a", fail)) for _ in range(3)]
    await asyncio.sleep(0)
    gone.cancel()
    may_end.set()
    errors = await asyncio.gather(gone, *others, return_exceptions=True)
    assert [type(one) for one in errors] == [asyncio.CancelledError, ValueError, ValueError]
    assert await asked.get("a", lambda: 1) == 1
