"""As process 1 of a container: nothing stays behind as a zombie, signals arrive, and the exit code is the command's."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.daemon_process import PATIENCE_SECONDS, wait_until
from tests.helpers.children import children
from tests.helpers.images import jpeg, photo

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a namespace of processes needs root")
IN_A_CONTAINER = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
COMMAND = [sys.executable, "-m", "imageguard_daemon"]


def _states_below(pid):
    found = {}
    for child in children(pid):
        try:
            found[child] = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0]
            found |= _states_below(child)
        except OSError:
            continue
    return found


@pytest.fixture
def container(tmp_path):
    """A daemon that is process 1 of its namespace; gives the process before it, seen from here."""
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([*IN_A_CONTAINER, *COMMAND, "run", str(tmp_path / "ingest")], stderr=log)
    status = tmp_path / "ingest/.imageguard/status.json"
    wait_until(lambda: status.exists() or process.poll() is not None, "it watches")
    assert process.poll() is None, (tmp_path / "log").read_text()
    yield process
    process.kill()
    process.wait(PATIENCE_SECONDS)


def test_what_killed_workers_leave_behind_is_reaped(container, tmp_path):
    """Decoders of killed workers end with them, and are no zombies; images are judged afterwards."""
    (first,) = children(container.pid)
    (daemon,) = children(first)
    wait_until(lambda: any(map(children, children(daemon))), "a worker with its decoder is there")
    for worker in children(daemon):
        os.kill(worker, signal.SIGKILL)
    (tmp_path / "ingest/inbox/1.jpg").write_bytes(jpeg(photo(640, 480), 95))
    wait_until((tmp_path / "ingest/accepted/1.jpg").exists, "it goes on")
    wait_until(lambda: "Z" not in _states_below(first).values(), "nothing stays behind")


def test_signals_arrive_and_the_code_is_the_commands(container):
    """`docker stop` ends it in order, with 0."""
    (first,) = children(container.pid)
    os.kill(first, signal.SIGTERM)
    assert container.wait(PATIENCE_SECONDS) == 0


@pytest.mark.parametrize(
    ("program", "code"), [("raise SystemExit(78)", 78), ("import os; os.kill(os.getpid(), 9)", 128 + 9)]
)
def test_a_command_that_fails_fails_with_its_code(program, code):
    """An exit code stays, a signal is told as shells do."""
    text = f"from imageguard_daemon.cli.app import step_in_front_if_first as s; s(); {program}"
    done = subprocess.run([*IN_A_CONTAINER, sys.executable, "-c", text], check=False, timeout=PATIENCE_SECONDS)
    assert done.returncode == code


def test_elsewhere_it_is_the_process_itself():
    """A daemon that systemd started has the process id that systemd knows."""
    text = (
        "import os; from imageguard_daemon.cli.app import step_in_front_if_first as s; "
        "before = os.getpid(); s(); raise SystemExit(before != os.getpid())"
    )
    assert subprocess.run([sys.executable, "-c", text], check=False).returncode == 0
