"""Stop signals during a scan."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from imageguard_daemon.batch.running import InterruptedRunError, Interrupts


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
