"""How far a run is, as people are told."""

import io

import pytest
from rich.console import Console

from imageguard_daemon.batch import progress
from imageguard_daemon.batch.progress import Count, RunProgress
from imageguard_daemon.core.errors import NoInputError


def _counted(*images: int) -> Count:
    count = Count(iter(images))
    count._thread.join()
    return count


def test_the_number_of_images_is_counted_beside_the_work() -> None:
    """A thread of its own counts what the run will meet; what is wrong with the images others tell."""
    count = _counted(1, 0, 3)
    assert (count.images, count.is_complete) == (4, True)
    count.stop()

    def broken():
        yield 2
        raise NoInputError("cannot read the list")

    count = Count(broken())
    count._thread.join()
    assert (count.images, count.is_complete) == (2, False)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, as a list of one number."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def _lines(clock: list[float], known: int, *, tells_lines: bool = True) -> list[str]:
    console = Console(file=io.StringIO(), width=200)
    with RunProgress(console, lambda: iter([10_000]), tells_lines=tells_lines) as shown:
        if shown._count is not None:
            shown._count._thread.join()
        shown._bar.get_time = lambda: clock[0]
        for second in range(1, 122):
            clock[0] = float(second)
            shown.show(known + 10 * second, second, known=known, more=", 2 shards in work")
    return console.file.getvalue().splitlines()


def test_a_log_is_told_once_a_minute_how_far_it_is(clock: list[float]) -> None:
    """Images, rate, the time left, and what went wrong."""
    first, second = _lines(clock, 0)
    assert first == "600 of 10,000 images, 10.0 images/s, 0:15:40 left, 60 rejected, 2 shards in work"
    assert second.startswith("1,200 of 10,000 images, 10.0 images/s, 0:14:40 left, 120 rejected")


def test_what_an_earlier_run_has_done_makes_this_one_no_quicker(clock: list[float]) -> None:
    """The rate is that of this run alone."""
    first, _ = _lines(clock, 5_000)
    assert first.startswith("5,600 of 10,000 images, 10.0 images/s, 0:07:20 left")


def test_what_takes_minutes_writes_nothing_into_a_log(clock: list[float]) -> None:
    """The progress of a scan is for terminals only, and elsewhere nothing is counted."""
    assert _lines(clock, 0, tells_lines=False) == []
