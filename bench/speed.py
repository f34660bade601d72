"""What one image costs, beside what decoding it costs: `python -m bench.speed`.

For each kind of file, everything that a worker does for it (integrity, SHA-256, decoding, six signals) and the
verdict are timed in turn with OpenCV's colour decode of the same bytes, in one process of one thread. Printed are
medians of processor time, and of the ratio pair by pair with its quartiles. Wall-clock time would say what else the
machine is doing.

Pictures are made by code from a seed, or taken from folders: `--small` for about 0.2 megapixels, `--large` for
about 12. `--peers PYTHON` times other libraries on the same JPEG files, with the interpreter of an environment where
they are installed (`pip install imageguard==0.1.0 cleanvision`).
"""

# ruff: noqa: E402 - the number of threads is settled before NumPy is imported
import argparse
import hashlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")  # read when NumPy is imported; a worker has one thread, too

import cv2
import numpy as np
from PIL import Image

from imageguard_daemon.core.model import Limits
from imageguard_daemon.quality import measurement, readout
from imageguard_daemon.quality.decode import decoder
from imageguard_daemon.quality.features import compression, vector
from imageguard_daemon.quality.features.lines import lines
from imageguard_daemon.quality.features.tiles import dense, reduced
from imageguard_daemon.quality.features.vector import FASTEST
from imageguard_daemon.quality.policy import PRESETS, decide
from tests.helpers.images import encoded, photo

LIMITS = Limits()
SMALL, LARGE = (500, 375), (4000, 3000)
FORMATS: dict[str, dict[str, object]] = {
    "JPEG": {"quality": 92},
    "PNG": {"compress_level": 6},
    "WEBP": {"quality": 90},
    "TIFF": {},
    "TIFF LZW": {"compression": "tiff_lzw"},
    "TIFF deflate": {"compression": "tiff_deflate"},
    "BMP": {},
}
_PEERS = {
    "imageguard": """
import sys, time
from imageguard.core import detect_image_quality
from imageguard.io import load_image
from imageguard.rules import apply_rules
paths = sys.argv[1:]
apply_rules(detect_image_quality(load_image(paths[0])))
started = time.process_time()
for path in paths:
    apply_rules(detect_image_quality(load_image(path)))
print((time.process_time() - started) / len(paths))
""",
    "cleanvision": """
import contextlib, io, os, sys, time
from cleanvision import Imagelab
paths = sys.argv[1:]
kinds = {name: {} for name in ("light", "dark", "odd_size", "low_information", "blurry")}
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    Imagelab(filepaths=paths[:1]).find_issues(kinds, n_jobs=1)
    started = time.process_time()
    Imagelab(filepaths=paths).find_issues(kinds, n_jobs=1)
    took = time.process_time() - started
print(took / len(paths))
""",
}


def everything(data: bytes) -> None:
    """Do for one file what a worker and the daemon do with its bytes, up to the decision."""
    decide(measurement.measure_bytes(data, LIMITS), "general", PRESETS["general"])


def colour_decode(data: bytes) -> None:
    """Decode as whoever trains on it would."""
    cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


def seconds(work: Callable[[], object]) -> float:
    """Give the processor time that something takes once."""
    started = time.process_time()
    work()
    return time.process_time() - started


def compare(files: list[bytes], runs: int) -> tuple[float, float, list[float]]:
    """Give the median seconds of everything and of the colour decode, and the ratio of each pair."""
    ours, decodes = [], []
    everything(files[0])
    for _ in range(runs):
        for data in files:
            ours.append(seconds(lambda data=data: everything(data)))  # type: ignore[misc]
            decodes.append(seconds(lambda data=data: colour_decode(data)))  # type: ignore[misc]
    ratios = sorted(our / decode for our, decode in zip(ours, decodes, strict=True))
    return statistics.median(ours), statistics.median(decodes), ratios


def print_ratios(name: str, files: list[bytes], runs: int) -> float:
    """Print one line of the table; give the median seconds of everything."""
    ours, decode, ratios = compare(files, runs)
    low, middle, high = (ratios[int(share * (len(ratios) - 1))] for share in (0.25, 0.5, 0.75))
    print(f"{name:22} {ours * 1e3:9.1f} {decode * 1e3:9.1f} {middle:8.2f}  {low:.2f} to {high:.2f}", flush=True)
    return ours


def print_stages(name: str, data: bytes, runs: int) -> None:
    """Print where the time goes for one file."""
    picture, side = decoder.decode(data, LIMITS), LIMITS.working_long_side
    found = vector.extract(picture, side)
    working_grey = reduced(picture.grey, side)
    native, working = picture.grey, np.ascontiguousarray(working_grey)
    backend = FASTEST
    across, down = lines(native)
    along = backend.lines(across, down)
    stages: dict[str, Callable[[], object]] = {
        "SHA-256": lambda: hashlib.sha256(data).hexdigest(),
        "decoding, integrity": lambda: decoder.decode(data, LIMITS),
        "working size": lambda: reduced(native, side),
        "upright": lambda: dense(vector.upright(working_grey)(working_grey)),
        "lines": lambda: lines(native),
        "blur": lambda: backend.blur(working),
        "noise": lambda: backend.noise(working),
        "exposure": lambda: backend.exposure(working),
        "compression": lambda: compression.compression_features(native, along.row, along.column, backend.blocks),
        "enlargement": lambda: backend.lines(across, down),
        "all features": lambda: vector.extract(picture, side),
        "readout": lambda: readout.read_out(found),
    }
    print(f"\n{name}: milliseconds of processor time, medians")
    for stage, work in stages.items():
        print(f"  {stage:22} {statistics.median(seconds(work) for _ in range(runs)) * 1e3:8.2f}")


def made(size: tuple[int, int], count: int, seed: int) -> list[Image.Image]:
    """Give pictures made by code."""
    return [Image.fromarray(photo(*size, seed=seed + number)) for number in range(count)]


def read(folder: Path, count: int) -> list[Image.Image]:
    """Give pictures of a folder, evenly spread over its names."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    return [Image.open(path).convert("RGB") for path in paths[:: max(1, len(paths) // count)][:count]]


def output(command: list[str]) -> str:
    """Run a command and give what it prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603 - our own words


def print_peers(python: str, files: list[bytes], ours: float, runs: int) -> None:
    """Time other libraries on the same files."""
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for number, data in enumerate(files):
            paths.append(os.path.join(folder, f"{number}.jpg"))
            Path(paths[-1]).write_bytes(data)
        for name, script in _PEERS.items():
            took = statistics.median(float(output([python, "-c", script, *paths])) for _ in range(runs))
            print(f"  {name:20} {took * 1e3:9.1f} ms, {took / ours:.1f} times as long")


def print_starts(runs: int) -> None:
    """Time the start of the command and of the import as whole processes, an empty one beside them."""
    for name, arguments in {
        "python -c pass": ["-c", "pass"],
        "import imageguard_daemon": ["-c", "import imageguard_daemon"],
        "imageguard-daemon --help": ["-m", "imageguard_daemon", "--help"],
    }.items():
        took = []
        for _ in range(runs):
            started = time.perf_counter()
            output([sys.executable, *arguments])
            took.append(time.perf_counter() - started)
        print(f"  {name:26} {statistics.median(took):6.3f} s (wall clock; {min(took):.3f} to {max(took):.3f})")


def main() -> None:
    """Print the table, the stages, the starts, and the peers if they are wanted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", type=Path, help="folder of pictures of about 0.2 megapixels")
    parser.add_argument("--large", type=Path, help="folder of pictures of about 12 megapixels")
    parser.add_argument("--count", type=int, default=8, help="pictures of each size")
    parser.add_argument("--runs", type=int, default=9, help="times that each file is measured")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--peers", metavar="PYTHON", help="interpreter with imageguard and cleanvision installed")
    options = parser.parse_args()
    measurement.prepare_worker()
    small = read(options.small, options.count) if options.small else made(SMALL, options.count, options.seed)
    few = max(1, options.count // 4)
    large = read(options.large, few) if options.large else made(LARGE, few, options.seed)
    print(f"OpenCV {cv2.__version__}, NumPy {np.__version__}, Pillow {Image.__version__}; processor time, one thread\n")
    print(f"{'':22} {'all, ms':>9} {'decode':>9} {'ratio':>8}  quartiles")
    jpegs = {}
    for label, pictures, runs in (("0.2 MP", small, options.runs), ("12 MP", large, max(3, options.runs // 2))):
        for name, settings in FORMATS.items():
            files = [encoded(picture, name.split()[0], **settings) for picture in pictures]
            ours = print_ratios(f"{label} {name}", files, runs)
            if name == "JPEG":
                jpegs[label] = (files, ours)
    for label, (files, _) in jpegs.items():
        print_stages(f"{label} JPEG", files[0], options.runs)
    print("\nStarts")
    print_starts(options.runs)
    if options.peers:
        for label, (files, ours) in jpegs.items():
            print(f"\n{label} JPEG, other libraries (ours {ours * 1e3:.1f} ms)")
            print_peers(options.peers, files, ours, max(1, options.runs // 3))


if __name__ == "__main__":
    main()
