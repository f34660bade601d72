"""Processes of ours that meet files and images: how many workers there are, how each is started, and kept in sight.

As many workers as configured, each as large, within what the surroundings allow. A container or a systemd unit may have
less than the machine: the limits of our control groups are read.
"""

import math
import os
import socket
import subprocess
import sys
import sysconfig
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import imageguard_daemon
from imageguard_daemon.core.model import Candidate
from imageguard_daemon.quality import OPENCV_ENVIRONMENT
from imageguard_daemon.sandbox import wire
from imageguard_daemon.sandbox.losses import Loss
from imageguard_daemon.sandbox.wire import Progress

if TYPE_CHECKING:
    from imageguard_daemon.config import Scoring

WORKER_MODULE = "imageguard_daemon.sandbox.worker_process"
_HOME = str(Path(imageguard_daemon.__file__).parent.parent)
_AHEAD_SECONDS = 0.05
_AHEAD_FILES = (2, 16)
"""How much a worker has with it: so much work, as quick as it was last, but neither fewer files nor more."""
_BEGIN_SECONDS = 60.0
"""So long new processes may take to begin, on a machine with much to do."""
_END_SECONDS = 1.0

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUPS = Path("/proc/self/cgroup")
_UNLIMITED_BYTES = 1 << 60
"""What the first version of control groups says where there is no limit is above this."""
MEGABYTE = 1 << 20
_DAEMONS_OWN_MEGABYTES = 256
"""For the daemon itself, and what the kernel keeps of files."""
_WORKERS_OWN_MEGABYTES = 384
"""Resident, worker and decoder together, over photos of 24 megapixels; measured, with as much again to spare."""
_LEAST_MEGABYTES = 512


def start_process(module: str, *descriptors: int) -> tuple["subprocess.Popen[bytes]", socket.socket]:
    """Start a module as a program that gets the end of a line, and these descriptors; give it, and the other end.

    Raises:
        OSError: there is no process to be had.
    """
    ours, theirs = wire.pair()
    with theirs:
        try:
            process = subprocess.Popen(  # noqa: S603 - our own interpreter, and numbers
                [sys.executable, "-P", "-m", module, *map(str, (theirs.fileno(), *descriptors))],
                pass_fds=(theirs.fileno(), *descriptors),
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        except BaseException:
            ours.close()
            raise
    return process, ours


def _environment() -> dict[str, str]:
    """Give the environment of the process: what others have set for their own memory and threads is not for it.

    Dask has the C library give memory back at once, which costs a third more for each image; and a confined decoder
    can start no thread.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    if sysconfig.get_path("purelib") != _HOME:  # whatever put it onto the path here does not do so there
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (environment.get("PYTHONPATH"), _HOME)))
    return OPENCV_ENVIRONMENT | environment | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


@dataclass(frozen=True, slots=True)
class Task:
    """A candidate in work; `losses` tells what earlier attempts did to their workers."""

    candidate: Candidate
    path: str
    losses: tuple[Loss, ...] = ()
    issue: tuple[str, str] | None = None

    @property
    def is_dangerous(self) -> bool:
        """Whether the file is not to be decoded any more."""
        return self.issue is not None


class WorkerHandle:
    """One worker process: `tasks` are those it has and has not answered, in the order in which it answers them.

    Raises:
        OSError: there is no process to be had.
    """

    def __init__(self, order: Mapping[str, Any], readout: bytes | None) -> None:
        memory = Progress.make()
        try:
            self.progress = Progress(memory)
            self.process, self.line = start_process(WORKER_MODULE, memory)
        finally:
            os.close(memory)
        self.line.setblocking(False)  # whoever does not read must not keep its supervisor from the others
        self.tasks: deque[tuple[int, Task]] = deque()
        self.is_ready = False
        self._ahead = _AHEAD_FILES[0]
        self._seen, self._since = 0, time.monotonic()
        with suppress(OSError):  # it has ended already, which is found out by reading
            wire.send_with_copy(self.line, order, readout)

    @property
    def room(self) -> int:
        """How many more files it should have with it now."""
        return self._ahead - len(self.tasks) if self.is_ready else 0

    @property
    def task_at_hand(self) -> Task | None:
        """The first that it has not answered, if it has begun it."""
        if not self.tasks:
            return None
        number, task = self.tasks[0]
        return task if self.progress.at == number else None

    def give(self, number: int, task: Task) -> bool:
        """Hand it a file; False where its line is full."""
        if not self.tasks:
            self._since = time.monotonic()
        try:
            wire.send(self.line, {"number": number, "path": task.path, "decode": not task.is_dangerous})
        except BlockingIOError:  # names so long that few fit into the line: it has to read some first
            return False
        except OSError:
            pass  # it has ended, which is found out by reading
        self.tasks.append((number, task))
        return True

    def begun(self) -> None:
        """Note that it is ready."""
        self.is_ready, self._since = True, time.monotonic()

    def answered(self) -> Task:
        """Note that it has answered, and give what that was about."""
        now = time.monotonic()
        least, most = _AHEAD_FILES
        as_quick = int(_AHEAD_SECONDS / max(now - self._since, 1e-3))
        self._ahead = max(least, min(most, as_quick))
        self._since = now
        return self.tasks.popleft()[1]

    def hangs(self, longest_seconds: float) -> bool:
        """Tell whether it should long have got on; each step of each file has its own time. To be asked often."""
        now, value = time.monotonic(), self.progress.value
        if value != self._seen:
            self._seen, self._since = value, now
        if self.is_ready and not self.tasks:
            return False
        most = longest_seconds if self.task_at_hand else longest_seconds + _BEGIN_SECONDS
        return now > self._since + most

    def end(self, *, at_once: bool) -> int | None:
        """Have it ended, and give its exit code; None when it does not end."""
        self.line.close()
        if not at_once:
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(_END_SECONDS)  # it hung up, and is about to end: how tells what it was lost over
        self.process.kill()
        with suppress(subprocess.TimeoutExpired):
            return self.process.wait(_END_SECONDS)
        return None  # a disk that does not answer holds it: nobody can wait for that


# --- how many, and how large


@dataclass(frozen=True, slots=True)
class Allowance:
    """Limits of the control groups that this process is in; None where there is none."""

    processors: float | None = None
    memory_bytes: int | None = None


def allowance(cgroups: Path = _CGROUPS, own_cgroups: Path = _OWN_CGROUPS) -> Allowance:
    """Read the narrowest limits, of our group and those around it (cgroups(7)); what cannot be read is not a limit."""
    processors, memory = [], []
    for folder in _own_folders(cgroups, own_cgroups):
        processors += [_processors_v2(folder), _processors_v1(folder)]
        memory += [_number(folder / "memory.max"), _number(folder / "memory.limit_in_bytes")]
    known_memory = [limit for limit in memory if limit is not None and limit < _UNLIMITED_BYTES]
    known_processors = [limit for limit in processors if limit is not None]
    return Allowance(min(known_processors, default=None), min(known_memory, default=None))


def _own_folders(cgroups: Path, own_cgroups: Path) -> Iterator[Path]:
    """Give the folders of all groups that this process is in; where a container sees only its own, that one."""
    lines: list[str] = []
    with suppress(OSError):
        lines = own_cgroups.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    for line in lines:
        _, controllers, path = line.split(":", 2)
        for mount in (cgroups / controllers, cgroups / "unified") if controllers else (cgroups, cgroups / "unified"):
            group = mount / path.lstrip("/")
            yield from (folder for folder in (group, *group.parents) if folder == mount or mount in folder.parents)


def _processors_v2(folder: Path) -> float | None:
    quota, _, period = _text(folder / "cpu.max").partition(" ")
    if not (quota.isdecimal() and period.isdecimal() and int(period)):
        return None  # "max", or another kernel's file
    return int(quota) / int(period)


def _processors_v1(folder: Path) -> float | None:
    quota, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
    return quota / period if quota and period else None


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text.isdecimal() else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """What is started; `because` says what made it less than the machine or the configuration would have it."""

    count: int
    megabytes: int
    because: str = ""

    @property
    def memory_bytes(self) -> int:
        """The address space of one worker."""
        return self.megabytes * MEGABYTE


def plan_workers(settings: "Scoring", processors: int, allowed: Allowance) -> WorkerPlan:
    """Decide; a number of workers that was configured is kept, whatever is allowed."""
    counts = {"processors": processors}
    if allowed.processors is not None:
        counts[f"the limit of {allowed.processors:g} processors"] = max(1, math.ceil(allowed.processors))
    megabytes = settings.worker_memory_megabytes
    reasons = []
    if allowed.memory_bytes is not None:
        most = allowed.memory_bytes // MEGABYTE
        name = f"the memory limit of {most:,} MB"
        counts[name] = max(1, (most - _DAEMONS_OWN_MEGABYTES) // _WORKERS_OWN_MEGABYTES)
        if max(most, _LEAST_MEGABYTES) < megabytes:
            megabytes = max(most, _LEAST_MEGABYTES)
            reasons.append(name)
    if settings.workers:
        return WorkerPlan(settings.workers, megabytes, " and ".join(reasons))
    narrowest = min(counts, key=lambda name: counts[name])
    if narrowest != "processors" and narrowest not in reasons:
        reasons.insert(0, narrowest)
    return WorkerPlan(counts[narrowest], megabytes, " and ".join(reasons))
