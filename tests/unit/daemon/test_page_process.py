"""The process with the pages is started, restarted within limits, and stopped."""

import sys
import time

import pytest

from imageguard_daemon.config import Settings
from imageguard_daemon.daemon import page_process
from imageguard_daemon.daemon.page_process import LIMIT_SECONDS, STARTS_WITHIN_LIMIT, PageProcess


@pytest.fixture
def page():
    """Make page processes out of Python programs."""
    made = []

    def make(program):
        made.append(PageProcess((sys.executable, "-S", "-c", program)))
        return made[-1]

    yield make
    for one in made:
        one.stop()


def _end(one):
    one._child._process.wait(60)


def test_without_a_command_there_is_none():
    """Nothing is started, and nothing has to be stopped."""
    one = PageProcess()
    one.step(0.0)
    one.reload(Settings())
    assert one.is_up is None
    one.stop()


def test_one_that_dies_is_started_again_after_pauses_that_grow_and_given_up_in_the_end(page):
    """A page that cannot live does not keep the machine busy; a reload gives it another chance."""
    one, now = page("raise SystemExit(1)"), 0.0
    for pause in (1, 2, 4, 8):
        one.step(now)
        _end(one)
        one.step(now)
        assert not one.is_up
        one.step(now + pause - 0.1)
        assert not one.is_up
        now += pause
    one.step(now)
    _end(one)
    one.step(now)
    one.step(now + LIMIT_SECONDS / 2)
    assert not one.is_up
    assert len(one._child._starts) == STARTS_WITHIN_LIMIT
    one.reload(Settings())
    one.step(now)
    assert one.is_up


def test_one_that_will_never_do_is_not_tried_again(page, caplog, capsys):
    """Without the packages for pages the reason is told once."""
    one = page("import sys; print('error: pages need more packages', file=sys.stderr); sys.exit(69)")
    one.step(0.0)
    _end(one)
    one.step(0.0)
    one.step(10_000.0)
    assert not one.is_up
    assert "pages need more packages" in capsys.readouterr().out + caplog.text


def test_it_is_stopped_and_killed_if_need_be(page, monkeypatch):
    """One that ignores the stop signal does not outlive the daemon; one that says a lot is not held up."""
    monkeypatch.setattr(page_process, "_STOP_SECONDS", 0.2)
    program = "import signal, sys; signal.signal(15, signal.SIG_IGN); sys.stderr.write('x' * 2**20); signal.pause()"
    one = page(program)
    one.step(0.0)
    process = one._child._process
    for second in range(40):
        one.step(float(second))
    one.stop()
    assert process.returncode is not None
    one.step(10_000.0)
    assert one.is_up is False


def test_what_it_says_while_it_runs_is_passed_on_line_by_line(page, caplog, capsys):
    """A page that cannot read its tokens says so to whoever reads the daemon's log, while it goes on."""
    one = page("import os, time; os.write(2, b'no perm'); time.sleep(0.3); os.write(2, b'ission\\n'); time.sleep(60)")
    for second in range(600):
        one.step(float(second))
        if "no permission" in (told := capsys.readouterr().out + caplog.text):
            break
        time.sleep(0.1)
    assert told.count("no permission") == 1
    assert one.is_up
