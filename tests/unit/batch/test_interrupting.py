"""Stop signals during a scan."""

import os
import signal

import pytest

from imageguard_daemon.batch.interrupting import InterruptedRunError, Interrupts


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_waiting_ends_at_once(number: int) -> None:
    """The exit code is the shell's for that signal."""
    with Interrupts(), pytest.raises(InterruptedRunError) as caught:
        os.kill(os.getpid(), number)
    assert caught.value.exit_code == 128 + number


def test_what_must_not_be_torn_is_finished_first() -> None:
    """A row that is being written is written to its end."""
    done = []

    def rows(interrupts: Interrupts) -> None:
        with interrupts.held_off():
            os.kill(os.getpid(), signal.SIGTERM)
            done.append("first half")
            done.append("second half")
        done.append("next")

    with Interrupts() as interrupts, pytest.raises(InterruptedRunError):
        rows(interrupts)
    assert done == ["first half", "second half"]


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
