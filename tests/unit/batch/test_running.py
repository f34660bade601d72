"""A run: stop signals, and how far it is, as people are told."""

import io
import os
import signal
import subprocess
import sys
import threading

import pytest
from rich.console import Console

from imageguard_daemon.batch import running
from imageguard_daemon.batch.running import Count, InterruptedRunError, Interrupts, RunProgress
from imageguard_daemon.core.errors import NoInputError


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_an_error_only_where_that_is_asked(number: int) -> None:
    """No handler raises: a library that holds a lock just then gets to let go of it. The exit code is the shell's."""
    lock = threading.Lock()
    with Interrupts() as interrupts:
        interrupts.check()
        with lock:
            os.kill(os.getpid(), number)
        with pytest.raises(InterruptedRunError) as caught:
            interrupts.check()
    assert caught.value.exit_code == 128 + number


def test_signals_that_come_together_are_one() -> None:
    """A terminal that is closed sends two at once; what is being written is finished all the same."""
    with Interrupts() as interrupts:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGHUP)
        with pytest.raises(InterruptedRunError) as caught:
            interrupts.check()
    assert caught.value.exit_code == 128 + signal.SIGTERM


def test_a_second_signal_ends_a_process_that_hears_no_more() -> None:
    """Where nothing asks any more, as in a hanging mount, the same key pressed again ends the process."""
    program = (
        "import os, signal, time\n"
        "from imageguard_daemon.batch import running\n"
        "running.PATIENCE_SECONDS = 0.0\n"
        "with running.Interrupts():\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    time.sleep(0.01)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    print('still there')\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (-signal.SIGINT, "")


def test_afterwards_signals_mean_what_they_meant_before() -> None:
    """Handlers are put back, and what is ignored, as under nohup, stays ignored."""
    before = signal.getsignal(signal.SIGINT)
    hangup = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupts():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, hangup)
    assert signal.getsignal(signal.SIGINT) is before


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
    monkeypatch.setattr(running.time, "monotonic", lambda: now[0])
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
