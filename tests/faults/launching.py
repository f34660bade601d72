"""Starts daemons in milliseconds: one process has loaded everything, and each daemon is a fork of it.

The daemon is the real command with real signals and disks. What differs from production: its worker processes are
forked instead of spawned, which saves a second for each.
"""

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from tests.faults.site import Site, patience, wait_until

ROOT = Path(__file__).resolve().parents[2]


class Daemon:
    """One running daemon and its workers."""

    def __init__(self, launcher: "Launcher", pid: int) -> None:
        self.pid = pid
        self._launcher = launcher
        self._handle = os.pidfd_open(pid)
        self._code: int | None = None

    def wait(self, seconds: float = 60.0) -> int | None:
        """Wait for its end and give the exit code, negative for a signal; None when it goes on."""
        if self._code is None and select.select([self._handle], [], [], seconds)[0]:
            self._code = self._launcher.reap(self.pid)
            os.close(self._handle)
        return self._code

    @property
    def reaped(self) -> bool:
        """Whether its end has been noticed."""
        return self._code is not None

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.wait(0) is None

    def send(self, number: int) -> None:
        """Send a signal, if it still runs."""
        if self._code is None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, number)

    def freeze(self, *, at_rest: bool) -> None:
        """Stop all its threads; those that wait for a disk go on waiting, unless it has to be `at_rest`.

        Whatever a frozen thread is told by the kernel from now on, it cannot act on.
        """
        self.send(signal.SIGSTOP)
        allowed = "TtZX" if at_rest else "TtZXD"
        wait_until(lambda: set(thread_states(self.pid)) <= set(allowed), "the threads of the daemon stop")

    def kill(self) -> None:
        """End it as a power failure would, and wait until its workers are gone too."""
        self.send(signal.SIGKILL)
        self.wait()
        wait_until(lambda: not self.members(), "the workers end with their daemon")

    def stop(self) -> int | None:
        """Ask it to stop and give the exit code; one that does not stop is killed, and the code is None."""
        self.send(signal.SIGTERM)
        code = self.wait(patience.seconds)
        if code is None:
            self.kill()
            return None
        return code

    def members(self) -> list[int]:
        """Give the living processes of its session other than itself."""
        return [pid for pid in _session(self.pid) if pid != self.pid]


class Launcher:
    """Forks daemons; use as a context. Several threads may use it, each with daemons of its own."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.launcher_process", "-" * 2000],  # room for what forks are called
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},  # as real workers have it
        )
        assert self._answer() == {"ready": True}
        self._started: list[Daemon] = []
        self._asking = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.end_all()
        self._process.stdin.close()
        self._process.wait(patience.seconds)
        self._process.stdout.close()

    @property
    def running(self) -> int:
        """How many daemons have not ended by themselves."""
        return sum(daemon.running for daemon in self._started)

    def end_all(self) -> None:
        """Leave no daemon behind."""
        for daemon in self._started:
            daemon.kill()
        self._started = []

    def start(
        self,
        site: Site,
        *,
        once: bool = False,
        held: bool = False,
        faults: Sequence[str] = (),
        arguments: Sequence[str] = (),
    ) -> Daemon:
        """Start a daemon, or a command with other arguments; `held` stops it before its first step until SIGCONT.

        `faults` are names of functions in `seeded.py`, applied inside its process.
        """
        run = ["run", "--config", str(site.config_file), *(["--once"] if once else [])]
        faults = [*(["account_of_its_own"] if site.accounts > 1 else []), *faults]
        return self.fork(list(arguments) or run, site.log_file, held=held, faults=faults)

    def fork(
        self,
        arguments: Sequence[str],
        log_file: Path,
        *,
        held: bool = False,
        faults: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> Daemon:
        """Start a command whose output goes into a file."""
        order = {"start": list(arguments), "log": str(log_file), "held": held, "faults": list(faults)}
        answer = self._ask(**order, environment=dict(environment or {}))
        daemon = Daemon(self, answer["pid"])
        self._started = [*(one for one in self._started if not one.reaped), daemon]
        return daemon

    def start_and_wait(self, site: Site, **kwargs) -> Daemon:
        """Start a daemon and wait until it watches."""
        before = len(site.events("started"))
        daemon = self.start(site, **kwargs)
        wait_until(lambda: len(site.events("started")) > before or not daemon.running, "the daemon starts")
        assert daemon.running, site.last_words()
        return daemon

    def recover(self, site: Site, seconds: float | None = None) -> None:
        """Run the daemon once until all is settled, as the next start after an accident would."""
        daemon = self.start(site, once=True)
        code = daemon.wait(2 * patience.seconds if seconds is None else seconds)
        if code is None:
            daemon.kill()
        assert code == 0, f"the start after the accident ended with {code}: {site.last_words()}"

    def reap(self, pid: int) -> int:
        """Give the exit code of a daemon that has ended."""
        return self._ask(reap=pid)["code"]

    def _ask(self, **request) -> dict:
        with self._asking:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            return self._answer()

    def _answer(self) -> dict:
        line = self._process.stdout.readline()
        assert line, "the launcher has ended"
        return json.loads(line)


def _session(leader: int) -> list[int]:
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError, ValueError):
                fields = Path("/proc", name, "stat").read_text().rsplit(")", 1)[1].split()
                threads = len(os.listdir(f"/proc/{name}/task"))  # those of a dead leader still hold its files
                if int(fields[3]) == leader and (fields[0] != "Z" or threads > 1):
                    found.append(int(name))
    return found


def thread_states(pid: int) -> list[str]:
    """Give the kernel's letter for what each thread of a process does: T is stopped, D waits for a disk."""
    states = []
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        with suppress(OSError):  # ended meanwhile
            states.append(stat.read_text().rsplit(")", 1)[1].split()[0])
    return states


def process_state(pid: int) -> str:
    """Give the kernel's letter for what a process does: T is stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


def pause() -> None:
    """Wait for the shortest time worth waiting."""
    time.sleep(0.005)
