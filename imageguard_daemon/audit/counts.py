"""What can be asked of the log in numbers, and the form of the answer: values only, no SQL."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal, NamedTuple


class Dimension(StrEnum):
    """What decisions can be grouped by."""

    class_ = "class"
    reason = "reason"
    source = "source"
    day = "day"
    camera = "camera"
    host = "host"


@dataclass(frozen=True, slots=True)
class Scope:
    """Which decisions are counted; None means all.

    `since` is included, `until` is not; both need a zone. `class_name` may be given as the folder is called
    or as records show it; an empty one means the images without a class.
    """

    since: datetime | None = None
    until: datetime | None = None
    source: str | None = None
    class_name: str | None = None


@dataclass(frozen=True, slots=True)
class Count:
    """How many images have one verdict, one reason and one key in each dimension asked for, in that order."""

    keys: tuple[str, ...]
    verdict: Literal["accepted", "quarantined"]
    reason: str
    images: int


class RecordedScores(NamedTuple):
    """What a decision rested on, to be judged again; a tuple, as a log has millions of them.

    The six scores are None where nothing could be measured. `profile`, the thresholds that were in force, and
    `measures` are JSON as recorded: few of them need reading.
    """

    id: int
    source: str
    class_name: str
    relative_path: str
    verdict: str
    reason: str
    preset: str
    profile: str
    scorer_version: str
    measures: str
    scores: tuple[float | None, ...]
