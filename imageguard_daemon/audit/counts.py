"""What can be asked of the log in numbers, and the form of the answer: values only, no SQL."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal, NamedTuple


class Dimension(StrEnum):
    """What decisions can be grouped by. Hours, days and weeks are those of UTC; a week begins on Monday."""

    class_ = "class"
    reason = "reason"
    source = "source"
    camera = "camera"
    host = "host"
    preset = "preset"
    hour = "hour"
    day = "day"
    week = "week"


PERIODS = (Dimension.hour, Dimension.day, Dimension.week)
"""The dimensions that are times; their groups are shown in their order."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Which decisions are counted; None means all.

    `since` is included, `until` is not; both need a zone. `class_name` and the other names may be given as the folder
    is called or as records show it; an empty one means the images without a class, without a camera.
    """

    since: datetime | None = None
    until: datetime | None = None
    source: str | None = None
    class_name: str | None = None
    camera: str | None = None
    host: str | None = None
    preset: str | None = None


SCOPE_COLUMNS = {"source": "source", "class_name": "class", "camera": "camera", "host": "host", "preset": "preset"}
"""The names in a scope, and the columns that have them."""


class Count(NamedTuple):
    """How many images have one verdict, one reason and one key in each dimension asked for, in that order.

    `duplicates` of them were there before; counts by hour leave that at 0.
    """

    keys: tuple[str, ...]
    verdict: Literal["accepted", "quarantined"]
    reason: str
    images: int
    duplicates: int = 0


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


class RecordedImage(NamedTuple):
    """One image as a report shows it; `destination` is where it was filed, relative to the root."""

    id: int
    decided_at: str
    source: str
    class_name: str
    relative_path: str
    destination: str
    sha256: str
    verdict: str
    reason: str
    detail: str
