"""Limits of control groups decide how many workers start and how large they may grow; out of memory they go first."""

import os
import threading
import time
from pathlib import Path

import pytest

from imageguard_daemon.config import Scoring
from imageguard_daemon.core.processes import DECODER_STEP, WORKER_STEP
from imageguard_daemon.sandbox.processes import MEGABYTE, Allowance, WorkerPlan, allowance, plan_workers
from imageguard_daemon.sandbox.workers import Workers

PATIENCE_SECONDS = 60.0


def _tree(folder: Path, files: dict[str, str], own: str) -> Allowance:
    for name, text in files.items():
        path = folder / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    (folder / "own").write_text(own)
    return allowance(folder / "cgroup", folder / "own")


@pytest.mark.parametrize(
    ("files", "own", "processors", "megabytes"),
    [
        ({"a/b/cpu.max": "150000 100000", "a/b/memory.max": "1073741824"}, "0::/a/b\n", 1.5, 1024),
        ({"a/b/cpu.max": "max 100000", "a/cpu.max": "200000 100000", "a/b/memory.max": "max"}, "0::/a/b\n", 2.0, None),
        ({"a/memory.max": "536870912", "a/b/memory.max": "1073741824"}, "0::/a/b\n", None, 512),
        ({"memory.max": "1073741824"}, "0::/../../host/path\n", None, 1024),
        ({"memory.max": "1073741824", "cpu.max": "50000 100000"}, "0::/not/seen/from/here\n", 0.5, 1024),
        (
            {
                "memory/x/memory.limit_in_bytes": "1073741824",
                "cpu,cpuacct/x/cpu.cfs_quota_us": "50000",
                "cpu,cpuacct/x/cpu.cfs_period_us": "100000",
            },
            "7:memory:/x\n6:cpu,cpuacct:/x\n1:name=systemd:/x\n0::/x\n",
            0.5,
            1024,
        ),
        ({"memory/memory.limit_in_bytes": "9223372036854771712"}, "7:memory:/\n", None, None),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, "7:cpu:/\n", None, None),
        ({"cpu.max": "", "memory.max": "nonsense"}, "0::/\n", None, None),
        ({}, "", None, None),
    ],
)
def test_the_narrowest_limit_around_counts(tmp_path, files, own, processors, megabytes):
    """Of both versions of control groups, seen from inside a container too; what makes no sense is no limit."""
    found = _tree(tmp_path, files, own)
    assert found.processors == processors
    assert found.memory_bytes == (megabytes * MEGABYTE if megabytes else None)


@pytest.mark.parametrize(
    ("settings", "processors", "allowed", "wanted"),
    [
        (Scoring(), 8, Allowance(), WorkerPlan(8, 4096)),
        (Scoring(), 8, Allowance(1.5), WorkerPlan(2, 4096, "the limit of 1.5 processors")),
        (Scoring(), 2, Allowance(16.0), WorkerPlan(2, 4096)),
        (Scoring(), 8, Allowance(None, 1024 * MEGABYTE), WorkerPlan(2, 1024, "the memory limit of 1,024 MB")),
        (Scoring(), 8, Allowance(0.1), WorkerPlan(1, 4096, "the limit of 0.1 processors")),
        (Scoring(), 8, Allowance(2.0, 100 * MEGABYTE), WorkerPlan(1, 512, "the memory limit of 100 MB")),
        (Scoring(workers=6), 2, Allowance(1.0, 512 * MEGABYTE), WorkerPlan(6, 512, "the memory limit of 512 MB")),
        (Scoring(worker_memory_megabytes=600), 4, Allowance(None, 8192 * MEGABYTE), WorkerPlan(4, 600)),
    ],
)  # fmt: skip
def test_workers_fit_into_what_is_allowed(settings, processors, allowed, wanted):
    """What was configured is kept, at least one worker starts, and what made it less is said."""
    assert plan_workers(settings, processors, allowed) == wanted


def _scores() -> dict[int, int]:
    """Give the score of each process below this one."""
    found, parents = {}, {}
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            parents[int(name)] = int(Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[1])
            found[int(name)] = int(Path(f"/proc/{name}/oom_score_adj").read_text())
        except OSError:
            continue
    below = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in below} - below:
        below |= more
    return {pid: found[pid] for pid in below - {os.getpid()} if pid in found}


def test_decoders_go_before_workers_and_workers_before_the_daemon():
    """When memory runs out the kernel takes what holds the pixels; its image is tried again."""
    own = int(Path("/proc/self/oom_score_adj").read_text())
    workers = Workers(Scoring(workers=1), threading.Event().set)
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        wanted = {own + WORKER_STEP, own + WORKER_STEP + DECODER_STEP}
        while not wanted <= set(_scores().values()):
            assert time.monotonic() < deadline, _scores()
            time.sleep(0.1)
    finally:
        workers.stop()
