"""How fast the daemon is from end to end: real command, real disk, durable log.

    python -m bench.daemon throughput               # against scoring alone, both with two processes
    python -m bench.daemon script                   # against a 40-line script with imageguard 0.1.0, which it installs
    python -m bench.daemon latency                  # from close to moved, idle daemon, 12 megapixels
    python -m bench.daemon stages                   # where its own processor time goes, ms for a file
    python -m bench.daemon throughput --photos FOLDER --runs 5 --json figures.json

Images are drawn from the seed, or copied from a folder of JPEG files. What is compared is run in turns, so that others
who use the machine meanwhile harm both sides alike; figures are medians, with the least and the most in brackets.
Everything happens in a temporary folder below --home, which should be on the disk that you want to know about.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles

from bench import alone, pictures
from bench.ingest import OBSERVED, Ingest, Look, leave_in_order, steady
from bench.pictures import Pictures

PEER = ("imageguard==0.1.0", "watchdog>=7.1,<8")
WORKERS = 2
KEPT_SECONDS = 1.5
"""An observed daemon tells every second."""
SCRIPT = Path(__file__).with_name("naive_script.py")
Figures = dict[str, list[float]]


def throughput(home: Path, supply: Pictures, chosen: argparse.Namespace) -> Figures:
    """Score and ingest the same files in turns."""
    figures: Figures = {}
    for _ in range(chosen.runs):
        with _root(home) as root:
            ingest = Ingest(root)
            supply.fill(ingest.inbox, range(chosen.images))
            scored = alone.score([ingest.inbox / name for name in pictures.names(chosen.images)], WORKERS)
            with ingest:
                ingest.start()
                looks = ingest.looks_until(chosen.images)
        _note(figures, _rates(looks))
        rate, cpu = scored.count / scored.seconds, scored.cpu_seconds / scored.count
        _note(figures, {"alone: images/s": rate, "alone: ms of processor per image": 1000 * cpu})
        _note(
            figures,
            {
                "daemon against alone, by the clock": figures["daemon: images/s"][-1] / rate,
                "daemon against alone, by processor time": 1000 * cpu / figures["all: ms of processor per image"][-1],
            },
        )
    return figures


def script(home: Path, supply: Pictures, chosen: argparse.Namespace) -> Figures:
    """Let the script of a user and the daemon do the same, in turns."""
    python = _peer(home)
    figures: Figures = {}
    for _ in range(chosen.runs):
        with _root(home) as root:
            few = max(10, chosen.images // 20)
            supply.fill(root / "inbox", range(few))
            naive = few / _seconds_of_script(python, root, few)
        with _root(home) as root, Ingest(root) as ingest:
            supply.fill(ingest.inbox, range(chosen.images))
            ingest.start()
            daemon = _rates(ingest.looks_until(chosen.images))["daemon: images/s"]
        _note(figures, {"script: images/s": naive, "daemon: images/s": daemon, "daemon against script": daemon / naive})
    return figures


def latency(home: Path, supply: Pictures, chosen: argparse.Namespace) -> Figures:
    """Let one image after another arrive at an idle daemon."""
    settle = 0.5
    waits = []
    with _root(home) as root, Ingest(root, intake={"settle_seconds": settle}) as ingest:
        ingest.start()
        for number in range(chosen.images):
            path = ingest.inbox / f"{number:04}.jpg"
            path.write_bytes(supply[number])
            closed = time.monotonic()
            while path.exists():
                time.sleep(0.001)
            waits.append(1000 * (time.monotonic() - closed - settle))
            time.sleep(0.2 + 0.1 * (number % 7))
    cuts = quantiles(waits, n=100)
    return {"close to moved, beyond settling: ms": waits, "p50 ms": [median(waits)], "p99 ms": [cuts[98]]}


def stages(home: Path, supply: Pictures, chosen: argparse.Namespace) -> Figures:
    """Ask stopwatches in a real daemon."""
    figures: Figures = {}
    for _ in range(chosen.runs):
        with _root(home) as root, Ingest(root, OBSERVED) as ingest:
            supply.fill(ingest.inbox, range(chosen.images))
            ingest.start()
            ingest.looks_until(chosen.images)
            time.sleep(KEPT_SECONDS)
            spent = ingest.stages()
        del spent["rest"]  # most of it is starting
        _note(figures, {name: 1000 * seconds / chosen.images for name, seconds in spent.items()})
    return figures


def _rates(looks: Sequence[Look]) -> dict[str, float]:
    first, last = steady(looks)
    count = last.filed - first.filed
    parent, workers = last.parent_cpu - first.parent_cpu, last.workers_cpu - first.workers_cpu
    return {
        "daemon: images/s": count / (last.at - first.at),
        "parent: ms of processor per image": 1000 * parent / count,
        "workers: ms of processor per image": 1000 * workers / count,
        "all: ms of processor per image": 1000 * (parent + workers) / count,
        "parent: MB": last.parent_megabytes,
    }


def _peer(home: Path) -> Path:
    """Install what the script needs into an environment that is thrown away."""
    place = home / "peer"
    for command in (
        [sys.executable, "-m", "venv", place],
        [place / "bin/pip", "install", "-q", "--disable-pip-version-check", *PEER],
    ):
        subprocess.run(command, check=True)  # noqa: S603 - names of ours
    return place / "bin/python"


def _seconds_of_script(python: Path, root: Path, count: int) -> float:
    command = [python, SCRIPT, root, str(count)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()  # noqa: S603 - ours
    return float(told[3]) - float(told[1])


@contextmanager
def _root(home: Path) -> Iterator[Path]:
    root = Path(tempfile.mkdtemp(dir=home))
    try:
        (root / "inbox").mkdir()
        yield root
    finally:
        shutil.rmtree(root)


def _note(figures: Figures, more: dict[str, float]) -> None:
    print("  ", ", ".join(f"{name} {value:.3f}" for name, value in more.items()), flush=True)
    for name, value in more.items():
        figures.setdefault(name, []).append(value)


def show(figures: Figures) -> None:
    """Print each figure's median and spread."""
    for name, values in figures.items():
        print(f"  {name:<42} {median(values):9.3f}   ({min(values):.3f} to {max(values):.3f})")


MEASURED: dict[str, Callable[[Path, Pictures, argparse.Namespace], Figures]] = {
    "throughput": throughput,
    "script": script,
    "latency": latency,
    "stages": stages,
}
USUAL_SIZE = {"throughput": "0.2", "script": "0.2", "latency": "12", "stages": "0.2"}
USUAL_COUNT = {"throughput": 2_000, "script": 2_000, "latency": 50, "stages": 2_000}


def main() -> int:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.daemon", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=MEASURED)
    parser.add_argument("--images", type=int, help="how many; by default 2000, for latency 50")
    parser.add_argument("--size", choices=pictures.SIZES, help="megapixels; by default 0.2, for latency 12")
    parser.add_argument("--photos", type=Path, help="folder of JPEG files to use instead of drawn ones")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--home", type=Path, help="where to work; by default the system's folder for temporary files")
    parser.add_argument("--json", type=Path, help="write all values here")
    chosen = parser.parse_args()
    leave_in_order()
    chosen.images = chosen.images or USUAL_COUNT[chosen.what]
    supply = (
        Pictures.found(chosen.photos)
        if chosen.photos
        else Pictures.made(chosen.size or USUAL_SIZE[chosen.what], chosen.seed)
    )
    with tempfile.TemporaryDirectory(dir=chosen.home) as home:
        figures = MEASURED[chosen.what](Path(home), supply, chosen)
    print(
        f"{chosen.what}: {chosen.images} images of {len(supply.bases)} scenes, {chosen.runs} runs, seed {chosen.seed}"
    )
    show(figures)
    if chosen.json:
        chosen.json.write_text(json.dumps(figures, indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
