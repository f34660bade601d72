"""Folders of pictures to arrays of features and truths."""

import csv
import logging
import multiprocessing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imageguard_daemon.core.errors import ImageError
from imageguard_daemon.core.model import Limits
from imageguard_daemon.quality.decode.decoder import decode
from imageguard_daemon.quality.features.vector import extract
from training import recipes, scenes
from training.damage import Rgb
from training.truth import from_labels

_LOG = logging.getLogger(__name__)
_LIMITS = Limits()
_LARGEST_SIDE = 1800
"""Larger photos are reduced before most damage is done: what is looked for shows at working size."""
_LARGE_SIDE, _LARGE_FROM = 2800, 1300
"""Some examples stay as large as this, of photos that are larger than that."""


@dataclass(frozen=True, slots=True)
class Job:
    """All examples of one picture: a path, or nothing for a drawn scene."""

    seed: int
    count: int
    path: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    is_damaged: bool = False
    """Whether a labelled picture is damaged, and not only saved anew."""
    is_large: bool = False
    """Whether it stays as large as it is."""

    @property
    def data_set(self) -> str:
        """The set that a labelled picture is from, if the table says so."""
        return dict(self.labels).get("set", "")


@dataclass(frozen=True, slots=True)
class Examples:
    """`features`: n x len(NAMES), `truths`: n x 6 x 2 (lowest and highest right score), `group`: which picture."""

    features: NDArray[np.float32]
    truths: NDArray[np.float32]
    group: NDArray[np.int32]
    kinds: NDArray[np.str_]


def jobs(good: list[Path], labels: Path | None, per_photo: int, drawn: int, seed: int) -> list[Job]:
    """List what is to be made from folders of good photos and a table of labelled ones."""
    seeds = iter(np.random.SeedSequence(seed).generate_state(1_000_000))
    found = []
    for path in (str(path) for folder in good for path in _pictures(folder)):
        found.append(Job(int(next(seeds)), per_photo, path))
        if _is_large(path):
            found.append(Job(int(next(seeds)), max(1, per_photo // 10), path, is_large=True))
    found += [Job(int(next(seeds)), per_photo) for _ in range(drawn)]
    return [*found, *(_labelled_jobs(labels, per_photo, seeds) if labels else ())]


def _labelled_jobs(labels: Path, per_photo: int, seeds: Iterator[int]) -> Iterator[Job]:
    with labels.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            path, known = str(labels.parent / row.pop("path")), tuple(row.items())
            yield Job(int(next(seeds)), max(1, per_photo // 6), path, known)
            if from_labels(row).is_good:
                yield Job(int(next(seeds)), max(1, per_photo // 3), path, known, is_damaged=True)
                if _is_large(path):
                    yield Job(int(next(seeds)), max(1, per_photo // 10), path, known, is_damaged=True, is_large=True)


def _pictures(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder")
    yield from sorted(path for path in folder.rglob("*") if path.is_file())


def _is_large(path: str) -> bool:
    try:
        with Image.open(path) as image:
            return max(image.size) > _LARGE_FROM
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False  # it is named when it is read


def make_examples(all_jobs: list[Job], processes: int) -> Examples:
    """Make the examples of all jobs in so many processes; a picture that can't be read is left out and named."""
    results = []
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for number, result in enumerate(pool.imap(_examples_of, enumerate(all_jobs))):
            results += result
            if number % 50 == 49:
                _LOG.info("%d of %d pictures", number + 1, len(all_jobs))
    if not results:
        raise ValueError("no picture could be read")
    features, truths, groups, kinds = zip(*results, strict=True)
    return Examples(np.array(features), np.array(truths), np.array(groups, np.int32), np.array(kinds))


def _examples_of(numbered: tuple[int, Job]) -> list[tuple[NDArray[np.float32], NDArray[np.float32], int, str]]:
    number, job = numbered
    cv2.setNumThreads(1)
    rng = np.random.default_rng(job.seed)
    try:
        image, quality = (
            _read(job.path, _LARGE_SIDE if job.is_large else _LARGEST_SIDE) if job.path else (_drawn(rng), 100.0)
        )
    except ImageError as error:
        _LOG.warning("left out: %s: %s", job.path, error)
        return []
    labels = from_labels(dict(job.labels)) if job.labels else None
    own = recipes.Own.of_labels(labels) if labels else recipes.Own()
    found = []
    for _ in range(job.count):
        if labels and not job.is_damaged:
            picture, truth, kind = recipes.resaved(image, rng), labels, "labelled"
        else:
            source = (recipes.as_it_is if job.is_large else recipes.prepare)(image, quality, rng, own)
            example = recipes.make(source, rng)
            picture, truth, kind = example.picture, example.truth, "+".join(example.kinds)
        found.append((extract(picture, recipes.WORKING_LONG_SIDE).vector, truth.scores(), number, kind))
    return found


def _drawn(rng: np.random.Generator) -> Rgb:
    return scenes.DRAWN[int(rng.integers(len(scenes.DRAWN)))](rng)


def _read(path: str, largest_side: int) -> tuple[Rgb, float]:
    """Give a picture as RGB of 0 to 1, and the JPEG quality that its file tells (100 if none, or if reduced)."""
    data = Path(path).read_bytes()
    picture = decode(data, _LIMITS)
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if decoded is None:
        decoded = cv2.cvtColor(picture.grey, cv2.COLOR_GRAY2BGR)
    scale = largest_side / max(decoded.shape[:2])
    if scale < 1:
        decoded = cv2.resize(decoded, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    quality = float(picture.table_quality or 100) if scale >= 1 else 100.0
    return np.asarray(decoded[..., ::-1] / np.float32(255), np.float32), quality
