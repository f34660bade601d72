"""A Dask cluster of real processes on the loopback interface, without a dashboard."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Self

from tests.e2e.daemon_process import wait_until
from tests.helpers.children import children


class DaskCluster:
    """A scheduler and workers of one thread each; a worker that is killed is started again by its nanny."""

    def __init__(self, folder: Path, workers: int) -> None:
        self._folder = folder
        self._wanted = workers
        self.scheduler: subprocess.Popen[bytes] | None = None
        self.workers: list[subprocess.Popen[bytes]] = []
        self.address = ""

    def __enter__(self) -> Self:
        """Start it; workers come while others go on."""
        file = self._folder / "scheduler.json"
        options = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)]
        self.scheduler = self._started("distributed.cli.dask_scheduler", *options)
        wait_until(lambda: file.exists() and file.read_text().endswith("}"), "the scheduler")
        self.address = json.loads(file.read_text())["address"]
        for _ in range(self._wanted):
            self.add_worker()
        return self

    def __exit__(self, *reason: object) -> None:
        """End all of it."""
        for process in [*self.workers, self.scheduler]:
            for pid in [*children(process.pid), process.pid]:
                _kill(pid)
            process.wait(60)

    def add_worker(self, **environment: str) -> subprocess.Popen[bytes]:
        """Start another worker."""
        options = ["--nthreads", "1", "--host", "127.0.0.1", "--no-dashboard", "--local-directory", str(self._folder)]
        worker = self._started("distributed.cli.dask_worker", self.address, *options, **environment)
        self.workers.append(worker)
        return worker

    def kill_one(self) -> None:
        """Kill the process of a worker that scores, not its nanny."""
        scoring = [pid for worker in self.workers for pid in children(worker.pid) if _measures(pid)]
        os.kill(scoring[0], signal.SIGKILL)

    def is_scoring(self, workers: int) -> bool:
        """Tell whether so many workers have begun to score."""
        return sum(any(map(_measures, children(worker.pid))) for worker in self.workers) >= workers

    def _started(self, module: str, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        with (self._folder / "cluster.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", module, *arguments], stdout=log, stderr=log, env=os.environ | environment
            )


def _measures(pid: int) -> bool:
    """Tell whether a process has one below it that measures images."""
    return any(b"sandbox.host" in _command_line(child) for child in children(pid))


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
