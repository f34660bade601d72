"""`python -m bench.mutants`: seeded mutants of good files of seven formats through a real daemon.

Counts daemon crashes, lost workers, hangs and files unaccounted for; all must be 0. Good files go in between, and
must be accepted.
"""

import argparse
import json
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from PIL import Image

from tests.helpers.images import encoded, photo

FORMATS: dict[str, dict[str, object]] = {
    "JPEG": {"quality": 92},
    "PNG": {},
    "WEBP": {"quality": 92},
    "TIFF": {"compression": "tiff_lzw"},
    "GIF": {},
    "BMP": {},
    "AVIF": {"quality": 90, "speed": 10},
}
SEEDS_OF_EACH = 4
GOOD_EVERY = 50
SECONDS_FOR_ONE = 2.0
INTERESTING = (0, 1, 0x7F, 0x80, 0xFE, 0xFF)


def good_files() -> list[tuple[str, bytes]]:
    """Give small good files, several of each format."""
    found = []
    for name, options in FORMATS.items():
        for seed in range(SEEDS_OF_EACH):
            image = Image.fromarray(photo(96 + 16 * seed, 80, seed=seed))
            found.append((name.lower(), encoded(image, name, **options)))
    return found


def mutant(data: bytes, draw: random.Random) -> bytes:
    """Give a damaged copy: changed bytes (near the header as often as elsewhere), cuts, copies, swaps, insertions."""
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 4, 16))):
        within = min(len(changed), draw.choice((64, 512, len(changed)))) or 1
        at, length = draw.randrange(within), draw.choice((1, 2, 4, 32, 500))
        match draw.randrange(7):
            case 0:
                changed[at : at + 1] = bytes([draw.randrange(256)])
            case 1:
                changed[at : at + length] = bytes([draw.choice(INTERESTING)]) * min(length, 4)
            case 2:
                changed[at : at + 1] = bytes([(changed[at] if at < len(changed) else 0) ^ 1 << draw.randrange(8)])
            case 3:
                del changed[at : at + length]
            case 4:
                changed[at:at] = draw.randbytes(length)
            case 5:
                source = draw.randrange(len(changed) or 1)
                changed[at : at + length] = changed[source : source + length]
            case _:
                del changed[max(at, 8) :]
    return bytes(changed)


def run(count: int, seed: int) -> dict[str, object]:
    """Send the mutants through a daemon, and give the figures."""
    draw, originals = random.Random(seed), good_files()
    with tempfile.TemporaryDirectory(prefix="imageguard-mutants-") as folder:
        root = Path(folder)
        inbox = root / "inbox" / "mutants"
        inbox.mkdir(parents=True)
        for number in range(count):
            suffix, data = originals[number % len(originals)]
            (inbox / f"{number:06}.{suffix}").write_bytes(mutant(data, draw))
        good = encoded(Image.fromarray(photo(640, 480)), "JPEG", quality=95)
        kept = [inbox / f"good{number}.jpg" for number in range(0, count, GOOD_EVERY)]
        for path in kept:
            path.write_bytes(good)
        started = time.monotonic()
        code = _daemon(root, 60 + SECONDS_FOR_ONE * count)
        return {"seed": seed, **_figures(root, count, len(kept), code), "seconds": round(time.monotonic() - started)}


def _daemon(root: Path, seconds: float) -> int | None:
    """Run a daemon on all that is there; None when it hangs."""
    command = [sys.executable, "-m", "imageguard_daemon", "run", str(root), "--once"]
    try:
        with (root / "log.jsonl").open("wb") as log:
            return subprocess.run(command, stderr=log, stdout=log, timeout=seconds, check=False).returncode  # noqa: S603
    except subprocess.TimeoutExpired:
        return None


def _figures(root: Path, count: int, good: int, code: int | None) -> dict[str, object]:
    with sqlite3.connect(root / "audit.db") as connection:
        rows = connection.execute("SELECT relative_path, destination, reason, duration_ms FROM decisions").fetchall()
    status = json.loads((root / ".imageguard" / "status.json").read_text())
    mutants = [row for row in rows if not row[0].startswith("mutants/good")]
    return {
        "mutants": count,
        "filed": sum((root / row[1]).is_file() for row in mutants),
        "left": sum(path.is_file() for path in (root / "inbox").rglob("*")),
        "exit_code": code,
        "mishaps": status["worker_mishaps"],
        "unexpected_errors": (root / "log.jsonl").read_bytes().count(b"unexpected error while measuring"),
        "good": good,
        "good_rejected": good - sum(1 for row in rows if row[0].startswith("mutants/good") and not row[2]),
        "reasons": dict(Counter(row[2] or "accepted" for row in mutants)),
        "slowest_ms": max((round(row[3]) for row in mutants), default=0),
    }


def main() -> int:
    """Run, print, and give 1 when anything was not as promised."""
    parser = argparse.ArgumentParser(prog="python -m bench.mutants", description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    figures = run(chosen.count, chosen.seed)
    for name, value in figures.items():
        print(f"{name:<18} {value}")
    if chosen.json:
        chosen.json.write_text(json.dumps(figures))
    wrong = figures["exit_code"] != 0 or figures["mishaps"] or figures["left"] or figures["good_rejected"]
    return 1 if wrong or figures["filed"] != chosen.count else 0


if __name__ == "__main__":
    raise SystemExit(main())
