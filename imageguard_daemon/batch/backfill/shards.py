"""What a shard is: lines of a manifest, and the terms on which they are judged. Pure, and small enough to be sent."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from imageguard_daemon.batch.judging import COLUMNS, Rules, Value
from imageguard_daemon.config import Scoring
from imageguard_daemon.core.errors import DataError

Row = dict[str, Value]
FORMAT = 2
"""Of the results; raised when older ones are not to be read as if they were new ones: before 2, names were escaped."""
RESULT_COLUMNS: tuple[str, ...] = (*COLUMNS, "row", "error")
"""What a result has of each row of the manifest: the columns of a scan, the row's number, why it could not be read."""
_LIMITS = ("max_pixels", "max_megabytes", "timeout_seconds", "worker_memory_megabytes")
_OF_RESULTS = ("format", "shard_size", "rules", "limits", "scorer_version")
"""What must be the same for results to belong together; the rows of the manifest are compared shard by shard."""


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
class ShardTask:
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


def describe_terms(manifest: ManifestRequest, shard_size: int, terms: Terms) -> dict[str, Any]:
    """Say of which list and on which terms results are made, in a form for files."""
    scoring = terms.scoring
    return {
        "format": FORMAT,
        "manifest": asdict(manifest),
        "shard_size": shard_size,
        "rules": {**asdict(terms.rules), "thresholds": dict(terms.rules.thresholds)},
        "limits": {name: getattr(scoring, name) for name in _LIMITS},
        "scorer_version": terms.scorer_version,
        "package_version": terms.package_version,
    }


def mark_of(description: Mapping[str, Any]) -> str:
    """Give what every result bears: equal for equal terms, in this version and in later ones."""
    terms = {name: description[name] for name in _OF_RESULTS}
    return hashlib.sha256(json.dumps(terms, sort_keys=True).encode()).hexdigest()[:16]


def require_same(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Compare what earlier results were made by with what new ones would be.

    Raises:
        DataError: they would not belong together; it says in what they differ.
    """
    if before.get("format", FORMAT) > FORMAT:
        raise DataError(
            "the results were begun by a newer version of imageguard-daemon; use that one, or another --out"
        )
    differing = [
        f"{name} was {_shown(before.get(name))}, and is {_shown(now[name])}"
        for name in _OF_RESULTS
        if before.get(name) != now[name]
    ]
    if differing:
        raise DataError(
            f"the results there were made on other terms: {'; '.join(differing)}. Nothing was changed; give the same "
            "terms or another --out, or --refresh to make all of them again"
        )


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_shown(part)}" for name, part in value.items())
    return str(value)
