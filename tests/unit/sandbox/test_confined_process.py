"""A process that meets hostile bytes costs the question it dies over, and no other."""

from dataclasses import replace

import pytest

from imageguard_daemon.sandbox.confined_process import ConfinedProcess, Work
from imageguard_daemon.sandbox.thumbnail_process import HEADER, SIDE
from tests.helpers.images import jpeg, photo

IMAGE = jpeg(photo(64, 64))
WORK = Work("imageguard_daemon.sandbox.thumbnail_process", (1 << 30, 10**6), 10.0, HEADER.size + 3 * SIDE * SIDE)


@pytest.fixture
def ask():
    """Make processes that end with the test."""
    made = []

    def make(work: Work) -> ConfinedProcess:
        made.append(ConfinedProcess(work))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_one_that_died_is_replaced(ask) -> None:
    """The question it died over has no answer; the next one gets a fresh process."""
    process = ask(WORK)
    assert process.ask(IMAGE)
    assert process._process is not None
    process._process.kill()
    process._process.wait()
    assert process.ask(IMAGE) == b""
    assert process.ask(IMAGE)


def test_one_that_takes_too_long_or_says_too_much_says_nothing(ask) -> None:
    """No answer is waited for longer than was agreed, and none is longer."""
    assert ask(replace(WORK, patience_seconds=0.0001)).ask(IMAGE) == b""
    assert ask(replace(WORK, most_answer_bytes=HEADER.size)).ask(IMAGE) == b""
    assert ask(replace(WORK, module="imageguard_daemon.no_such_module")).ask(IMAGE) == b""
