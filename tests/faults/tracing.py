"""strace: which system calls a daemon makes, and errors or SIGKILL at any of them."""

import collections
import re
import signal
import subprocess
from pathlib import Path

from tests.faults.launching import Daemon, pause, process_state
from tests.faults.site import wait_until


def trace(daemon: Daemon, *options: str, output: Path | str = "/dev/null") -> subprocess.Popen[bytes]:
    """Attach strace to a daemon's main thread, which moves and records."""
    tracer = subprocess.Popen(
        ["strace", "-qq", "-o", str(output), *options, "-p", str(daemon.pid)], stderr=subprocess.DEVNULL
    )
    status = Path(f"/proc/{daemon.pid}/status")
    while "TracerPid:\t0" in status.read_text():
        assert tracer.poll() is None, "strace has ended"
        pause()
    return tracer


def trace_from_start(daemon: Daemon, *options: str, output: Path | str = "/dev/null") -> subprocess.Popen[bytes]:
    """Attach strace to a daemon that was started `held`, then let it begin."""
    wait_until(
        lambda: process_state(daemon.pid) == "T", "the daemon is held"
    )  # attached earlier, SIGCONT would be lost
    tracer = trace(daemon, *options, output=output)
    daemon.send(signal.SIGCONT)
    return tracer


def detach(tracer: subprocess.Popen[bytes]) -> None:
    """End a trace; the daemon goes on."""
    tracer.terminate()
    tracer.wait(60)


def count_calls(output: Path) -> collections.Counter[str]:
    """Give how often each system call was made, from strace's output."""
    names = (re.match(r"(\w+)\(", line) for line in output.read_text(errors="replace").splitlines())
    return collections.Counter(match[1] for match in names if match)
