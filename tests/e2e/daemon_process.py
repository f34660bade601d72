"""The real command as a process, and what a test wants to know of its folders."""

import atexit
import functools
import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import yaml

from tests.faults.launching import Daemon
from tests.faults.launching import Launcher as DaemonLauncher
from tests.helpers.quick_commands import Launcher

COMMAND = [sys.executable, "-m", "imageguard_daemon"]
PATIENCE_SECONDS = 60.0


def wait_until(condition: Callable[[], object], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Poll a condition; real processes take the time they take."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain: {what}"
        time.sleep(0.05)


@functools.cache
def _launcher() -> Launcher:
    started = Launcher().__enter__()
    atexit.register(started.__exit__)
    return started


def command(
    *arguments: object, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, forked from a process that has loaded everything; one at a time."""
    words = [*map(str, arguments)]
    done = _launcher().run("imageguard_daemon", words, cwd or Path.cwd(), environment=env)
    return subprocess.CompletedProcess(words, done.exit_code, done.stdout, done.stderr)


@functools.cache
def _daemon_launcher() -> DaemonLauncher:
    started = DaemonLauncher().__enter__()
    atexit.register(started.__exit__)
    return started


class ForkedDaemon:
    """A daemon that was forked from what is loaded, with what is used of `subprocess.Popen`."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self.pid = daemon.pid

    def poll(self) -> int | None:
        """Give the exit code; None while it runs."""
        return self._daemon.wait(0)

    def wait(self, timeout: float = PATIENCE_SECONDS) -> int:
        """Give the exit code once it has ended."""
        code = self._daemon.wait(timeout)
        if code is None:
            raise subprocess.TimeoutExpired("a forked daemon", timeout)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, if it still runs."""
        self._daemon.send(number)

    def kill(self) -> None:
        """Send SIGKILL, if it still runs."""
        self._daemon.send(signal.SIGKILL)

    def close(self) -> None:
        """Leave neither it nor its workers behind."""
        self._daemon.kill()


class Ingest:
    """A root folder with a daemon that can be started, killed and asked about.

    Daemon and workers are forked from a process that has loaded everything, which saves each some seconds, unless they
    are to be `spawned`.
    """

    def __init__(self, root: Path, *, spawned: bool = False, **settings) -> None:
        self.root = root
        self.spawned = spawned
        self.inbox, self.accepted, self.quarantine = (root / n for n in ("inbox", "accepted", "quarantine"))
        self.inbox.mkdir(parents=True, exist_ok=True)
        self.log_file = root / "log.jsonl"
        self.config_file = root / "config.yaml"
        self.process: subprocess.Popen[bytes] | ForkedDaemon | None = None
        self.configure(**settings)

    def configure(self, **settings) -> None:
        """Write the configuration; quick enough for a test unless told otherwise."""
        quick = {"settle_seconds": 0.3, "rescan_seconds": 1.0, "settle_unknown_seconds": 1.0}
        intake = quick | settings.pop("intake", {})
        scoring = {"workers": 1} | settings.pop("scoring", {})
        data = {"root": str(self.root), "intake": intake, "scoring": scoring} | settings
        self.config_file.write_text(yaml.safe_dump(data))

    def start(self, *arguments: str, env: dict[str, str] | None = None) -> subprocess.Popen[bytes] | ForkedDaemon:
        """Start the daemon and wait until it watches."""
        started_before = len(self.events("started"))
        words = ["run", "--config", str(self.config_file), *arguments]
        if self.spawned:
            with self.log_file.open("ab") as log:
                self.process = subprocess.Popen(
                    [*COMMAND, *words], stderr=log, stdout=log, env=os.environ | (env or {})
                )
        else:
            self.process = ForkedDaemon(_daemon_launcher().fork(words, self.log_file, environment=env))
        wait_until(lambda: len(self.events("started")) > started_before or self.process.poll() is not None, "start")
        return self.process

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a stop signal and give the exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_SECONDS)

    def close(self) -> None:
        """Leave no process behind."""
        if isinstance(self.process, ForkedDaemon):
            self.process.close()
        elif self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE_SECONDS)

    def put(self, relative_path: str, data: bytes) -> Path:
        """Let a file arrive by rename, complete at once."""
        path = self.inbox / relative_path
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.upload")
        temporary.write_bytes(data)
        return temporary.rename(path)

    def status(self) -> dict:
        """Give what the daemon last wrote of itself."""
        return json.loads((self.root / ".imageguard" / "status.json").read_text())

    def events(self, name: str) -> list[dict]:
        """Give the log lines of one kind."""
        if not self.log_file.exists():
            return []
        lines = (line for line in self.log_file.read_text().splitlines() if line.startswith("{"))
        events = []
        for line in lines:
            try:
                events.append(json.loads(line))
            except ValueError:  # the last one, still being written
                continue
        return [event for event in events if event.get("event") == name]

    def decisions(self) -> list[sqlite3.Row]:
        """Give the rows of the public view."""
        if not (self.root / "audit.db").exists():
            return []
        connection = sqlite3.connect(self.root / "audit.db", timeout=10)
        connection.row_factory = sqlite3.Row
        try:
            return connection.execute("SELECT * FROM decisions ORDER BY id").fetchall()
        except sqlite3.OperationalError:  # no tables yet
            return []
        finally:
            connection.close()

    def wait_for_decisions(self, count: int) -> list[sqlite3.Row]:
        """Wait until so many files have been judged and moved."""
        wait_until(lambda: len(self.decisions()) >= count, f"{count} decisions in {self.root}")
        return self.decisions()

    def contents(self) -> dict[str, list[Path]]:
        """Give every file of inbox, accepted and quarantine by its SHA-256."""
        found: dict[str, list[Path]] = {}
        for folder in (self.inbox, self.accepted, self.quarantine):
            for path in sorted(folder.rglob("*")):
                if path.is_file() and not path.is_symlink():
                    found.setdefault(hashlib.sha256(path.read_bytes()).hexdigest(), []).append(path)
        return found

    def check_books(self) -> None:
        """Hold the log against the folders: nothing lost, nothing doubled, nothing unrecorded, no left-overs."""
        rows = self.decisions()
        filed = [p for folder in (self.accepted, self.quarantine) for p in sorted(folder.rglob("*")) if p.is_file()]
        recorded = [str(self.root / row["destination"]) for row in rows]
        assert len(set(recorded)) == len(recorded), "two records for one destination"
        assert sorted(recorded) == sorted(map(str, filed)), "log and folders differ"
        for row in rows:
            actual = hashlib.sha256((self.root / row["destination"]).read_bytes()).hexdigest()
            assert actual == row["sha256"], row["destination"]
            assert row["destination"].startswith(row["verdict"].replace("quarantined", "quarantine"))
