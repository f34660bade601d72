"""Trials of verdicts: images judged whose truth is known, each alone and so in any number of processes.

Everything drawn for a photo follows from the seed, its name and the kind of damage: the order of photos, their
number and the number of processes change nothing.
"""

import io
import zlib
from dataclasses import dataclass
from pathlib import Path
from random import Random

import cv2
import numpy as np
from numpy.random import Generator
from PIL import Image, ImageOps

from bench.faults import Rgb
from bench.kinds import KINDS, PAIRS, Zone
from bench.labelled import Label
from imageguard_daemon import validate

LONG_SIDE_PX = 640
STRENGTHS = 7
QUALITIES = 6


@dataclass(frozen=True, slots=True)
class Trial:
    """One damaged copy of a photo and what was said of it; `badness` rises with the damage."""

    kind: str
    badness: float
    zone: Zone
    issues: frozenset[str]
    reason: str
    score: float


@dataclass(frozen=True, slots=True)
class PhotoTrials:
    """All trials of one good photo; `issues` are those of the undamaged copy, `pairs` tell what each pair raised."""

    photo: str
    issues: frozenset[str]
    trials: tuple[Trial, ...]
    pairs: tuple[tuple[tuple[str, str], frozenset[str]], ...]
    qualities: tuple[tuple[int, float], ...]
    """JPEG quality with which a copy was written, and the one that was found."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One image as it is, and what was said of it."""

    path: str
    label: Label
    issues: frozenset[str]
    reason: str
    pixels: int
    """Width x height, 0 where nothing could be measured."""


def judge(job: tuple[Path, Label]) -> Judged:
    """Judge an image as it is."""
    path, label = job
    decision = validate(path)
    pixels = int(decision.measures.get("width", 0) * decision.measures.get("height", 0))
    return Judged(str(path), label, frozenset(decision.issues), decision.reason, pixels)


def judge_good(path: Path) -> Judged | None:
    """Judge a good photo as it is; None for a file that is no image, such as a note beside the photos."""
    try:
        Image.open(path).close()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
    return judge((path, Label("good", "", "undamaged")))


def try_photo(job: tuple[Path, int]) -> PhotoTrials | None:
    """Damage one photo in every way and judge the copies; None for a file that is no image."""
    path, seed = job
    rgb = _scaled_photo(path)
    if rgb is None:
        return None
    return PhotoTrials(
        photo=path.name,
        issues=frozenset(validate(stored(rgb, None)).issues),
        trials=tuple(trial for kind in KINDS for trial in _trials(rgb, kind, _generator(seed, path.name, kind))),
        pairs=tuple(_pair_trial(rgb, pair, _generator(seed, path.name, *pair)) for pair in PAIRS),
        qualities=_found_qualities(rgb, _generator(seed, path.name, "quality")),
    )


def _generator(seed: int, *names: str) -> Generator:
    return np.random.default_rng([seed, *(zlib.crc32(name.encode()) for name in names)])


def _scaled_photo(path: Path) -> Rgb | None:
    """Give a photo upright and with a long side of at most 640 px, where a strength in pixels means the same in all."""
    try:
        with Image.open(path) as image:
            rgb = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
    scale = LONG_SIDE_PX / max(rgb.shape[:2])
    size = (max(round(rgb.shape[1] * scale), 1), max(round(rgb.shape[0] * scale), 1))
    return rgb if scale >= 1 else np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)


def stored(rgb: Rgb, quality: int | None) -> bytes:
    """Give a file: JPEG of this quality, or PNG."""
    buffer = io.BytesIO()
    if quality is None:
        Image.fromarray(rgb).save(buffer, "PNG", compress_level=1)
    else:
        Image.fromarray(rgb).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _container(rng: Generator) -> int | None:
    """Draw how damaged copies are stored: half of them as fine JPEG, as they come from the next editor."""
    return int(rng.integers(88, 97)) if rng.random() < 0.5 else None


def _trials(rgb: Rgb, name: str, rng: Generator) -> list[Trial]:
    # One container for all strengths of a photo: their scores are compared with each other.
    kind, container, trials = KINDS[name], _container(rng), []
    for strength in kind.strengths(STRENGTHS, rng):
        decision = validate(stored(kind.damaged(rgb, strength, rng), container))
        score = decision.scores[f"{kind.signal}_score"]
        issues = frozenset(decision.issues)
        trials.append(Trial(name, kind.badness(strength), kind.zone(strength), issues, decision.reason, score))
    return trials


def _pair_trial(rgb: Rgb, pair: tuple[str, str], rng: Generator) -> tuple[tuple[str, str], frozenset[str]]:
    for name in pair:
        rgb = KINDS[name].damaged(rgb, KINDS[name].fatal_strength(rng), rng)
    return pair, frozenset(validate(stored(rgb, _container(rng))).issues)


def _found_qualities(rgb: Rgb, rng: Generator) -> tuple[tuple[int, float], ...]:
    """Write with libjpeg's own tables at qualities from 1 to 100, and read the quality back.

    Of half the size, where no trace of an earlier compression of the photo is left that would count more.
    """
    half = np.asarray(cv2.resize(rgb, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)
    drawn = [int(1 + 99 * (part + rng.random()) / QUALITIES) for part in range(QUALITIES)]
    return tuple((quality, validate(stored(half, quality)).measures["jpeg_quality"]) for quality in drawn)


def draw(paths: list[Path], count: int, seed: int) -> list[Path]:
    """Draw photos; more of them begin with the same ones."""
    shuffled = list(paths)
    Random(seed).shuffle(shuffled)
    return shuffled[:count]
