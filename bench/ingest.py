"""A root folder with the real daemon on it, and what the kernel tells of its processes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_BETWEEN_LOOKS_SECONDS = 0.1
COMMAND = ("-m", "imageguard_daemon", "run")
OBSERVED = ("-m", "bench.observed", "run")
"""The same with a stopwatch on each stage."""


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a running daemon: seconds of processor time so far, memory now, images filed so far."""

    at: float
    filed: int
    parent_cpu: float
    workers_cpu: float
    parent_megabytes: float


class Ingest:
    """A daemon on a root of its own; a context that ends it."""

    def __init__(self, root: Path, command: Sequence[str] = COMMAND, **settings: Any) -> None:
        self.root, self.inbox = root, root / "inbox"
        self._command = command
        self._log = root / "log.jsonl"
        self._read_to = self._filed = 0
        self._process: subprocess.Popen[bytes] | None = None
        self.inbox.mkdir(parents=True, exist_ok=True)
        intake = {"settle_seconds": 0.2} | settings.pop("intake", {})
        scoring = {"workers": 2} | settings.pop("scoring", {})
        self._config = root / "config.yaml"
        self._config.write_text(json.dumps({"root": str(root), "intake": intake, "scoring": scoring} | settings))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    def start(self, *, wait: bool = True) -> None:
        """Start it, and by default wait until it watches."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - the real command
                [sys.executable, *self._command, "--config", str(self._config)], stdout=log, stderr=log
            )
        while wait and '"started"' not in self._log.read_text():
            self._require_alive()
            time.sleep(0.01)

    def stop(self) -> None:
        """Ask it to stop; what does not is killed."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def pid(self) -> int:
        """The daemon's own process."""
        if self._process is None:
            raise RuntimeError("not started")
        return self._process.pid

    def look(self) -> Look:
        """Look once."""
        self._require_alive()
        return Look(
            time.monotonic(),
            self.filed(),
            _cpu_seconds(self.pid),
            sum(map(_cpu_seconds, descendants(self.pid))),
            _resident_megabytes(self.pid),
        )

    def looks_until(
        self, filed: int, seconds: float = 3600.0, seen: Callable[[Look], None] = lambda _: None
    ) -> list[Look]:
        """Look again and again until so many files have been filed, or the time is over."""
        looks = [self.look()]
        while looks[-1].filed < filed and looks[-1].at - looks[0].at < seconds:
            time.sleep(_BETWEEN_LOOKS_SECONDS)
            looks.append(self.look())
            seen(looks[-1])
        return looks

    def filed(self) -> int:
        """Count the images that its log says are filed."""
        with self._log.open("rb") as log:
            log.seek(self._read_to)
            text = log.read()
        end = text.rfind(b"\n") + 1
        self._read_to += end
        self._filed += text[:end].count(b'"event": "accepted"') + text[:end].count(b'"event": "quarantined"')
        return self._filed

    def stages(self) -> dict[str, float]:
        """Give the seconds of processor time that each stage has taken; of an `OBSERVED` daemon."""
        return dict(json.loads((self.root / "observed.json").read_text()))

    def _require_alive(self) -> None:
        if self._process is None or self._process.poll() is not None:
            raise SystemExit(f"the daemon has ended; its log ends with\n{self._log.read_text()[-2000:]}")


def leave_in_order() -> None:
    """From now on leave no daemon and no folder behind when told to end."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(os.EX_TEMPFAIL))


def steady(looks: Sequence[Look], lead: float = 0.1) -> tuple[Look, Look]:
    """Give begin and end of the time in which it worked at its usual pace: without the first tenth of the files."""
    last = next(look for look in looks if look.filed >= looks[-1].filed)
    first = next(look for look in looks if look.filed >= max(1, lead * last.filed))
    return first, last


def descendants(pid: int) -> list[int]:
    """Give the processes that a process and its children have started."""
    children: dict[int, list[int]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError, IndexError):
            children.setdefault(int(_stat(int(name))[1]), []).append(int(name))
    found, todo = [], [pid]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def _stat(pid: int) -> list[str]:
    """Give the fields of /proc/PID/stat from the state on."""
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()


def _cpu_seconds(pid: int) -> float:
    try:
        fields = _stat(pid)
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _resident_megabytes(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES / 1e6
