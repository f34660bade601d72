"""What a back-fill costs: the images, the shards around them, and the command that drives it all.

    python -m bench.backfilling images --images 20000 --size tiny
    python -m bench.backfilling images --images 4000 --size 0.2 --dask
    python -m bench.backfilling manifest --rows 10000000

The first makes so many JPEGs, runs the real command on them, and again with all results there. Processor time and
memory are those of all processes concerned, looked at five times a second: other work on the machine does not count.
`--dask` starts a scheduler and workers on the loopback interface. The second makes a list of so many rows, and reads it
as a back-fill does that finds nothing to do.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import pyarrow as pa
from pyarrow import parquet

from bench.pictures import Pictures, names
from imageguard_daemon.batch.backfill.manifest import Manifest
from imageguard_daemon.batch.backfill.shards import ManifestRequest, digest_of
from tests.helpers.dask_cluster import DaskCluster, children

_LOOK_SECONDS = 0.2
_TICKS = os.sysconf("SC_CLK_TCK")
_ROWS_OF_A_GROUP = 1_000_000
_MARKS = {
    "sandbox.host": "decoding",
    "dask_scheduler": "scheduler",
    "sandbox.worker_process": "workers",
    "spawn_main": "workers",
    "dask_worker": "nannies",
    "imageguard_daemon": "command",
}


class Watch:
    """Processor seconds and peak memory of all processes below this one, by what they are."""

    def __init__(self) -> None:
        self._seconds: dict[int, tuple[str, float]] = {}
        self._before: dict[int, float] = {}
        self.peaks: Counter[str] = Counter()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look_on)

    def __enter__(self) -> Self:
        """Begin; what has run before does not count."""
        self._before = {pid: _processor_seconds(pid) for pid in _family(os.getpid())}
        self._thread.start()
        return self

    def __exit__(self, *reason: object) -> None:
        """End."""
        self._over.set()
        self._thread.join()

    def seconds(self) -> Counter[str]:
        """Give processor seconds by kind of process."""
        found: Counter[str] = Counter()
        for pid, (kind, seconds) in self._seconds.items():
            found[kind] += seconds - self._before.get(pid, 0.0)
        return found

    def _look_on(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            memory: Counter[str] = Counter()
            for pid in _family(os.getpid()):
                kind = _kind(pid)
                if kind:
                    self._seconds[pid] = (kind, max(_processor_seconds(pid), self._seconds.get(pid, ("", 0.0))[1]))
                    memory[kind] += _private_megabytes(pid)
            for kind, megabytes in memory.items():
                self.peaks[kind] = max(self.peaks[kind], megabytes)


def _family(pid: int) -> list[int]:
    found = children(pid)
    return found + [one for child in found for one in _family(child)]


def _kind(pid: int) -> str:
    words = _read(pid, "cmdline")
    return next((kind for mark, kind in _MARKS.items() if mark in words), "")


def _processor_seconds(pid: int) -> float:
    fields = _read(pid, "stat").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS if fields else 0.0


def _private_megabytes(pid: int) -> int:
    rows = [line.split() for line in _read(pid, "smaps_rollup").splitlines() if line.startswith("Pss:")]
    return int(rows[0][1]) // 1024 if rows else 0


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _run(arguments: list[str], told: str, wanted: argparse.Namespace) -> float:
    """Run the command; gives the processor seconds of the command itself."""
    started = time.perf_counter()
    with Watch() as watch:
        done = subprocess.run(  # noqa: S603 - our own command
            [sys.executable, "-m", "imageguard_daemon", "backfill", *arguments, "--format", "json"],
            stdout=subprocess.PIPE,
            check=True,
        )
    seconds, images = time.perf_counter() - started, json.loads(done.stdout)["total"]
    shards = -(-images // wanted.shard_size)
    by_kind = watch.seconds()
    print(f"{told}: {images:,} images, {shards:,} shards in {seconds:.1f} s, {images / seconds:,.0f} images/s")
    print(f"  processor time: {sum(by_kind.values()) / images * 1000:.2f} ms an image")
    for kind, spent in by_kind.most_common():
        print(f"  {kind:10} {spent:7.1f} s  {spent / images * 1000:6.3f} ms an image  peak {watch.peaks[kind]:4} MB")
    return by_kind["command"]


def images(wanted: argparse.Namespace) -> None:
    """Run the command twice on images that are made for it."""
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        folder = Path(temporary)
        Pictures.made(wanted.size, 1).fill(folder / "data", range(wanted.images))
        paths = [str(folder / "data" / name) for name in names(wanted.images)]
        parquet.write_table(pa.table({"path": paths}), folder / "list.parquet")
        where = ["--executor", wanted.executor, "--workers", str(wanted.workers)]
        if wanted.dask:
            (folder / "cluster").mkdir()
            cluster = stack.enter_context(DaskCluster(folder / "cluster", wanted.workers))
            time.sleep(8)  # workers come by themselves
            where = ["--dask", cluster.address]
        out = folder / "out"
        arguments = ["--manifest", str(folder / "list.parquet"), "--out", str(out), *where]
        arguments += ["--shard-size", str(wanted.shard_size)]
        print(f"{wanted.size} MP, " + " ".join(where).replace(str(folder), ""), f"--shard-size {wanted.shard_size}")
        making = _run(arguments, "made", wanted)
        size = sum(path.stat().st_size for path in out.rglob("*.parquet"))
        print(f"  results: {size / wanted.images:.0f} bytes an image")
        looking = _run(arguments, "all there", wanted)
        shards = -(-wanted.images // wanted.shard_size)
        print(f"  the command beside its start: {max(0, making - looking) / shards * 1000:.0f} ms a shard")


def manifest(wanted: argparse.Namespace) -> None:
    """Read a long list as a back-fill does."""
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "list.parquet"
        schema = pa.schema([("path", pa.string())])
        with parquet.ParquetWriter(path, schema) as writer:
            for start in range(0, wanted.rows, _ROWS_OF_A_GROUP):
                numbers = range(start, min(start + _ROWS_OF_A_GROUP, wanted.rows))
                rows = [f"s3://bucket/train/{n % 1000:03}/{n:012}.jpg" for n in numbers]
                writer.write_table(pa.table({"path": rows}, schema=schema))
        # In a process of its own: what making it took is no part of what reading it takes.
        script = f"from bench.backfilling import read_list; read_list({str(path)!r}, {wanted.shard_size})"
        subprocess.run([sys.executable, "-c", script], check=True)  # noqa: S603 - ours


def read_list(path: str, shard_size: int) -> None:
    """Read a list as a back-fill that finds nothing to do, and print what that took."""
    listed = Manifest(ManifestRequest(path))
    shards = sum(1 for lines in listed.shards(shard_size) if digest_of(lines))
    used = resource.getrusage(resource.RUSAGE_SELF)
    microseconds = (used.ru_utime + used.ru_stime) / listed.count() * 1e6
    # Not ru_maxrss, which begins with that of whoever started this process.
    peak = next(line.split()[1] for line in _read(os.getpid(), "status").splitlines() if line.startswith("VmHWM"))
    told = f"{microseconds:.1f} microseconds of processor time a row, peak {int(peak) // 1024} MB"
    print(f"list: {listed.count():,} rows, {shards:,} shards, {told}")


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("images", help="run the command on images")
    one.add_argument("--images", type=int, default=2000)
    one.add_argument("--size", default="tiny", help="tiny, 0.2, 1 or 12 megapixels")
    one.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    one.add_argument("--executor", default="process")
    one.add_argument("--shard-size", type=int, default=1000)
    one.add_argument("--dask", action="store_true", help="on a Dask cluster of so many workers")
    one.set_defaults(run=images)
    other = commands.add_parser("manifest", help="read a long list")
    other.add_argument("--rows", type=int, default=1_000_000)
    other.add_argument("--shard-size", type=int, default=1000)
    other.set_defaults(run=manifest)
    wanted = parser.parse_args()
    wanted.run(wanted)


if __name__ == "__main__":
    main()
