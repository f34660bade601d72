"""How many workers start, and how large each may grow: as configured, within what the surroundings allow.

A container or a systemd unit may have less than the machine: the limits of our control groups are read.
"""

import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from imageguard_daemon.config import Scoring

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
    return int(quota) / int(period) if quota.isdecimal() and period.isdecimal() and int(period) else None


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


def plan_workers(settings: Scoring, processors: int, allowed: Allowance) -> WorkerPlan:
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
