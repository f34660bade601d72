"""How fast and in how much memory `scan` goes through a folder: once measuring, once with everything known.

    python -m bench.scanning --images 20000

Makes that many small images (copies of a few, each a file of its own) in a temporary folder, and scans it twice
in a process of its own.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

_SCRIPT = """
import resource, sys
from imageguard_daemon.cli.app import run_command_line
sys.argv[0] = "imageguard-daemon"
try:
    run_command_line()
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""


def _make(folder: Path, images: int) -> None:
    rng = np.random.default_rng(1)
    contents = [
        cv2.imencode(".jpg", cv2.blur(rng.integers(0, 256, (64, 64, 3), np.uint8), (3, 3)))[1].tobytes()
        for _ in range(16)
    ]
    for number in range(images):
        path = folder / f"class{number % 10}" / f"{number // 1000}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(contents[number % len(contents)])


def _scan(folder: Path, output: Path) -> tuple[float, float, dict[str, int]]:
    started = time.perf_counter()
    arguments = ["scan", str(folder), "--csv", str(output), "--format", "json"]
    made = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-c", _SCRIPT, *arguments], capture_output=True, text=True, check=True
    )
    return time.perf_counter() - started, int(made.stderr.split()[-1]) / 1024, json.loads(made.stdout)


def main() -> None:
    """Print one line for each run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    wanted = parser.parse_args().images
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "data"
        _make(folder, wanted)
        for run in ("measured", "known"):
            seconds, megabytes, told = _scan(folder, Path(temporary) / "out.csv")
            rate = told["total"] / seconds
            print(f"{run}: {told['total']:,} images in {seconds:.1f} s, {rate:,.0f} images/s, peak {megabytes:.0f} MB")
        state = os.path.getsize(Path(temporary) / "out.csv.state")
        print(f"state: {state / wanted:.0f} bytes an image")


if __name__ == "__main__":
    main()
