"""How much damage inside files is found, and how often an undamaged file is called corrupt.

    python -m bench.corruption --photos FOLDER [--count 40] [--seed 1] [--only jpeg] [--intact FOLDER ...]

Photos (of any format that is handled) are scaled to a long side of 640 px, saved in every kind of file and damaged
in every way; then the decoder is asked. Of the damaged files

    found      is called corrupt (or unsupported, too large: it is not accepted as it is)
    unseen     decodes to other pixels than before without being noticed
    harmless   decodes to the same pixels: the damage met nothing that matters

and the table gives, in per cent, found / (found + unseen), with the harmless ones left out, and in brackets the share
of visible misses: unseen, and more than 1 % of all pixels differ by more than 24 levels. `--intact` folders hold
files that must not be called corrupt; `unsupported` is not counted against them.
"""

import argparse
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

import cv2
import numpy as np

from bench.damage import DAMAGES
from bench.variants import VARIANTS, Rgb
from imageguard_daemon.core.errors import ImageError
from imageguard_daemon.core.model import Limits
from imageguard_daemon.quality.decode.decoder import decode
from imageguard_daemon.quality.decode.pillow import silent_standard_error

_LIMITS = Limits()


def outcome(data: bytes, intact: np.ndarray) -> str:
    """Sort one damaged file by what the decoder makes of it."""
    try:
        grey = decode(data, _LIMITS).grey
    except ImageError:
        return "found"
    if grey.shape != intact.shape:
        return "visible"
    difference = np.abs(grey.astype(np.int16) - intact)
    if not difference.any():
        return "harmless"
    return "visible" if (difference > 24).mean() > 0.01 else "slight"


def scaled_photos(folder: Path, count: int, rng: Random) -> Iterator[Rgb]:
    """Give photos of a folder, drawn at random, with a long side of at most 640 px."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in rng.sample(paths, min(count, len(paths))):
        bgr = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
        if bgr is not None:
            scale = min(640 / max(bgr.shape[:2]), 1)
            size = (max(round(bgr.shape[1] * scale), 16), max(round(bgr.shape[0] * scale), 16))
            yield np.ascontiguousarray(cv2.resize(bgr, size, interpolation=cv2.INTER_AREA)[..., ::-1], np.uint8)


def measure(photos: list[Rgb], kinds: list[str], repeats: int, seed: int) -> dict[tuple[str, str], Counter[str]]:
    """Give the outcomes by kind of file and kind of damage."""
    tally: dict[tuple[str, str], Counter[str]] = {}
    for kind in kinds:
        for number, photo in enumerate(photos):
            data = VARIANTS[kind](photo)
            intact = decode(data, _LIMITS).grey.astype(np.int16)
            for name, damage in DAMAGES.items():
                rng = Random(f"{seed} {kind} {number} {name}")
                results = (outcome(damage(data, rng), intact) for _ in range(repeats))
                tally.setdefault((kind, name), Counter()).update(results)
    return tally


def cell(counts: Counter[str]) -> str:
    """Give one cell of the table: per cent found, and in brackets the visible misses."""
    harmful = counts["found"] + counts["slight"] + counts["visible"]
    if not harmful:
        return "-"
    visible = f" ({100 * counts['visible'] / harmful:.0f})" if counts["visible"] else ""
    return f"{100 * counts['found'] / harmful:.0f}{visible}"


def table(tally: dict[tuple[str, str], Counter[str]], kinds: list[str]) -> str:
    """Give the figures as a Markdown table."""
    lines = ["| | " + " | ".join(DAMAGES) + " | all |", "|---" * (len(DAMAGES) + 2) + "|"]
    for kind in kinds:
        counts = [tally[kind, name] for name in DAMAGES]
        cells = [cell(count) for count in (*counts, sum(counts, Counter()))]
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def false_alarms(folders: list[Path]) -> tuple[int, list[str]]:
    """Give how many files were looked at and those that are called corrupt, with what was said."""
    alarms, seen = [], 0
    for path in sorted(path for folder in folders for path in folder.rglob("*") if path.is_file()):
        seen += 1
        try:
            decode(path.read_bytes(), _LIMITS)
        except ImageError as error:
            if error.issue == "corrupt":
                alarms.append(f"{path}: {error.detail}")
    return seen, alarms


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, help="a folder of good photos")
    parser.add_argument("--count", type=int, default=40, help="how many of them (default 40)")
    parser.add_argument("--repeats", type=int, default=3, help="damaged copies of each file and kind (default 3)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="kinds of file whose name begins so: jpeg, png, 'tiff lzw', ...")
    parser.add_argument("--intact", type=Path, nargs="*", default=[], help="folders of files that are good")
    given = parser.parse_args()
    kinds = [kind for kind in VARIANTS if kind.startswith(given.only)]
    photos = list(scaled_photos(given.photos, given.count, Random(given.seed)))
    with silent_standard_error():
        tally = measure(photos, kinds, given.repeats, given.seed)
        seen, alarms = false_alarms(given.intact)
    print(f"{len(photos)} photos, {given.repeats} copies each, seed {given.seed}\n\n{table(tally, kinds)}\n")
    print(f"intact files: {seen}, called corrupt: {len(alarms)}", *alarms, sep="\n  ")


if __name__ == "__main__":
    main()
