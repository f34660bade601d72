"""How many workers start, and how large each may grow: as configured, within what the surroundings allow. Pure."""

import math
from dataclasses import dataclass

from imageguard_daemon.config import Scoring
from imageguard_daemon.core.resource_limits import Allowance

MEGABYTE = 1 << 20
_DAEMONS_OWN_MEGABYTES = 256
"""For the daemon itself, and what the kernel keeps of files."""
_WORKERS_OWN_MEGABYTES = 384
"""Resident, worker and decoder together, over photos of 24 megapixels; measured, with as much again to spare."""
_LEAST_MEGABYTES = 512


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
