"""A process of ours is started, told what to do, started again, stopped, and never left alone."""

import os
import signal
import subprocess
import sys
import time

import pytest

from imageguard_daemon.core.backoff import Backoff
from imageguard_daemon.core.processes import ChildProcess, Restarts

PATIENCE_SECONDS = 60.0
RESTARTS = Restarts(Backoff(5.0, 5.0))
PARENT = """
import subprocess, sys
child = "import os, sys; from imageguard_daemon.core.processes import end_with_parent\\n" \\
    "end_with_parent(int(sys.argv[1])); print(os.getpid(), flush=True); sys.stdin.read()"
import os
subprocess.run([sys.executable, "-c", child, str(os.getpid())])
"""


@pytest.fixture
def child():
    """Make children out of Python programs, and end them."""
    children = []

    def make(program, restarts=RESTARTS, **options):
        children.append(ChildProcess((sys.executable, "-S", "-c", program), restarts, **options))
        return children[-1]

    yield make
    for one in children:
        one.stop(0.0)


def wait_for(condition):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_one_that_has_ended_is_started_again_for_as_long_as_it_takes(child):
    """Where nothing limits it, neither many ends nor a long life before one make it stay away."""
    one = child("")
    for now in (0.0, 10.0, 20.0, 5_000.0):
        assert one.step(now) is None
        wait_for(lambda: not one.is_running)
        ended = one.step(now + 4_000.0)
        assert ended is not None
        assert (ended.code, ended.pause_seconds) == (0, 5.0)
        assert one.next_due(now + 4_000.0) == now + 4_005.0
        one.give_another_chance()


def test_one_that_cannot_be_started_says_why_and_is_tried_again(monkeypatch):
    """A machine without room for one more process has it again later."""

    def none(*_arguments, **_options):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    with monkeypatch.context() as full:
        full.setattr(subprocess, "Popen", none)
        one = ChildProcess((sys.executable, "-c", ""), RESTARTS)
        ended = one.step(0.0)
    assert ended is not None
    assert (ended.code, ended.why, ended.pause_seconds) == (None, "Resource temporarily unavailable", 5.0)
    assert one.step(5.0) is None
    assert one.process_id is not None
    one.stop(0.0)


def test_it_hears_its_message_and_says_its_last_words(child):
    """What it is to do needs no file, and why it could not is not lost with it."""
    one = child(
        "import sys; print(sys.stdin.read(), file=sys.stderr); sys.exit(3)", message=lambda: b"do", listens=True
    )
    one.step(0.0)
    wait_for(lambda: not one.is_running)
    ended = one.step(1.0)
    assert ended is not None
    assert (ended.code, ended.why) == (3, "do")
    assert one.take_lines() == ["do"]


def test_a_stop_that_comes_early_is_heard_once_it_can_be_handled(child):
    """One that is asked to stop while it still starts ends as one that had started: in order."""
    program = "import signal, sys; signal.signal(15, lambda *_: sys.exit(7)); signal.pthread_sigmask(1, {15}); input()"
    one = child(program, defers_stop=True)
    one.step(0.0)
    process = one._process
    one.stop(PATIENCE_SECONDS)
    assert process.returncode == 7
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_a_child_does_not_outlive_a_parent_that_is_killed():
    """Not even SIGKILL, after which the parent runs nothing, leaves a process behind."""
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout
        number = int(parent.stdout.readline())
        parent.kill()
        wait_for(lambda: not _runs(number))


def _runs(number):
    try:
        with open(f"/proc/{number}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_parent_that_was_gone_before_is_noticed():
    """The kernel sends a signal only for an end that comes after it was asked."""
    program = f"from imageguard_daemon.core.processes import end_with_parent; print(end_with_parent({os.getpid()}))"
    for expected, code in ((b"True\n", program), (b"False\n", program.replace(str(os.getpid()), "1"))):
        assert subprocess.check_output([sys.executable, "-c", code]) == expected
