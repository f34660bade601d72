"""What a shard is: lines of a manifest, and the terms on which they are judged. Pure, and small enough to be sent."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from imageguard_daemon.batch.judging import COLUMNS, Rules, Value
from imageguard_daemon.config import Scoring

Row = dict[str, Value]
FORMAT = 2
"""Of the results; raised when older ones are not to be read as if they were new ones: before 2, names were escaped."""
RESULT_COLUMNS: tuple[str, ...] = (*COLUMNS, "row", "error")
"""What a result has of each row of the manifest: the columns of a scan, the row's number, why it could not be read."""


class Line(NamedTuple):
    """One row of a manifest: what stands there, where that is, how it is named below its root, and its class."""

    row: int
    path: str
    address: str
    relative_path: str
    class_name: str


@dataclass(frozen=True, slots=True)
class ManifestRequest:
    """Which list, which of its columns, and where its relative paths begin (here, when `root` is empty)."""

    path: str
    path_column: str = "path"
    class_column: str = "class"
    root: str = ""
    class_from: str = "first_folder"


@dataclass(frozen=True, slots=True)
class Reading:
    """How images are read: so many at a time, each within so many seconds, so often before giving up."""

    at_a_time: int = 4
    timeout_seconds: float = 60.0
    attempts: int = 3


@dataclass(frozen=True, slots=True)
class Terms:
    """What results depend on beside the images; workers of other versions refuse them."""

    rules: Rules
    scoring: Scoring
    scorer_version: str
    package_version: str
    reading: Reading = Reading()


@dataclass(frozen=True, slots=True)
class Shard:
    """So many rows of a manifest, one after another, and the terms on which they are judged; picklable."""

    number: int
    lines: tuple[Line, ...]
    terms: Terms


@dataclass(frozen=True, slots=True)
class Task:
    """What an executor is sent: a shard, what an earlier run has of it, and how its result is marked."""

    shard: Shard
    digest: str
    terms: str
    kept: tuple[Row, ...] = ()


def digest_of(lines: Iterable[Line]) -> str:
    """Give what tells the rows of one shard from those of any other: they are hashed as they stand."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(f"{line.row}\0{line.address}\0{line.class_name}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def fingerprint_of(facts: object) -> str:
    """Give a short mark of settings: equal for equal ones, in this version and in later ones."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
