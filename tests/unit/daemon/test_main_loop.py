"""The loop runs its parts in one order, from their start to their end."""

import json
import os
import signal
import threading
from dataclasses import replace

import pytest
from rich.console import Console

from imageguard_daemon.config_file import load
from imageguard_daemon.core.errors import (
    NoInputError,
)
from imageguard_daemon.core.locks import RootLock
from imageguard_daemon.daemon import main_loop, status
from imageguard_daemon.daemon.main_loop import Daemon, Waker
from imageguard_daemon.daemon.parts import Part
from imageguard_daemon.daemon.status import StatusLine


class _Recorder(Part):
    """A part that writes down what is asked of it, and has work until it was stepped twice."""

    def __init__(self):
        self.calls = []

    def start(self):
        self.calls.append("start")

    def step(self, now):
        self.calls.append("step")

    def next_due(self, now):
        return now

    def has_work(self, now):
        return len(self.calls) < 3 or self.calls[-1] == "drain"

    def conclude(self):
        self.calls.append("conclude")
        return {"recorded": "not all"}

    def drain(self):
        self.calls.append("drain")

    def stop(self):
        self.calls.append("stop")

    def snapshot(self, so_far, now):
        return replace(so_far, code=f"{so_far.state} {so_far.backlog}")


@pytest.fixture
def signals():
    """Leave the handlers of this process as they were."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def test_a_part_lives_from_start_to_stop_and_adds_to_the_snapshot(tmp_path, monkeypatch, signals):
    """To be in the list is all it takes: it is stepped, waited for, concluded, drained of what it began, and ended."""
    part = _Recorder()
    monkeypatch.setattr(main_loop, "Guard", lambda _locks, _audit: part)
    settings = load(None, tmp_path)
    assert Daemon(settings, lambda: settings, StatusLine(Console())).run(once=True) == 75  # it was not done
    first, steps, last = part.calls[:1], part.calls[1:-4], part.calls[-4:]
    assert (first, set(steps), last) == (["start"], {"step"}, ["conclude", "drain", "step", "stop"])
    assert json.loads((settings.state_folder / status.STATUS_FILE).read_text())["code"] == "stopping 0"


def test_waking_ends_a_wait_from_any_thread():
    """A wake before or during a wait ends it, and is used up by it."""
    waker = Waker()
    waker.wake()
    waker.wait(60.0)
    thread = threading.Thread(target=waker.wake)
    thread.start()
    waker.wait(60.0)
    thread.join()
    waker.wait(0.0)  # nothing left: returns at once instead of failing
    waker.close()


def test_a_start_that_lacks_a_folder_is_the_last_end(tmp_path):
    """`status` says why nothing runs; but nothing of a start beside a daemon that is at work."""
    file = tmp_path / "config.yaml"
    file.write_text(f"root: root\nsources: [{{accepted: {tmp_path}/disk/accepted}}]")
    settings = load(file)
    starting = Daemon(settings, lambda: settings, StatusLine(Console()))
    with pytest.raises(NoInputError):
        starting.run()
    found = status.read_ending(settings.state_folder)
    assert found is not None
    assert (found.exit_code, "disk/accepted is not there" in found.why) == (os.EX_NOINPUT, True)
    (settings.state_folder / status.ENDING_FILE).unlink()
    lock = RootLock(settings.state_folder)
    with pytest.raises(NoInputError):
        starting.run()
    lock.release()
    assert status.read_ending(settings.state_folder) is None
