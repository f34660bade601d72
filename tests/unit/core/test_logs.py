"""What is logged, and how urgent the journal is told that it is."""

import json
import logging
import os
import socket
import subprocess
import sys

import pytest

from imageguard_daemon.core.logs import with_priority

WRITE_LINES = """
import logging, sys, warnings
from rich.console import Console
from imageguard_daemon.core import logs
logs.configure(sys.argv[1], "debug", Console(stderr=True))
log = logging.getLogger("x")
warnings.warn_explicit("watchdog tells of all it watches", RuntimeWarning, "a.py", 1, "watchdog.observers.inotify")
log.debug("a"); log.info("b"); log.warning("c"); log.error("d")
try:
    1 / 0
except ZeroDivisionError:
    log.critical("e", exc_info=True)
"""


@pytest.mark.parametrize("form", ["json", "console"])
def test_each_line_in_the_journal_has_its_priority(form):
    """`journalctl -p warning` shows warnings, errors and every line of a traceback, and nothing else."""
    ours, theirs = socket.socketpair()
    status = os.fstat(theirs.fileno())
    environment = os.environ | {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
    subprocess.run([sys.executable, "-c", WRITE_LINES, form], stderr=theirs.fileno(), check=True, env=environment)
    theirs.close()
    with ours, ours.makefile() as written:
        lines = written.read().splitlines()
    assert [line[:3] for line in lines[:4]] == ["<7>", "<6>", "<4>", "<3>"]
    assert {line[:3] for line in lines[4:]} == {"<2>"}
    assert "ZeroDivisionError" in lines[-1]
    if form == "json":
        assert json.loads(lines[2][3:])["event"] == "c"


@pytest.mark.parametrize("stream", ["", "1:2", "nonsense"])
def test_elsewhere_lines_are_as_they_were(stream):
    """A redirected stream is none of the journal's, whatever the environment of a service says."""
    environment = os.environ | {"JOURNAL_STREAM": stream}
    command = [sys.executable, "-c", WRITE_LINES, "json"]
    written = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stderr
    assert [json.loads(line)["event"] for line in written.splitlines()] == ["a", "b", "c", "d", "e"]


def test_unknown_levels_have_a_priority():
    """Levels between the known ones are as urgent as the one below."""
    assert with_priority(logging.WARNING + 5, "a\nb") == "<4>a\n<4>b"
    assert with_priority(1, "a") == "<7>a"
