"""From a measurement to all that is told of one image. Pure: whoever measures, wherever it runs."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from imageguard_daemon.core.model import SCORE_NAMES, Decision, FileIdentity, Measurement, Measures
from imageguard_daemon.core.names import inert, inert_path, is_text, original, printable
from imageguard_daemon.filing.rules.destinations import class_of
from imageguard_daemon.quality.policy import decide_on_file
from imageguard_daemon.quality.scoring import ACCEPTED_FROM, rounded

Value = str | float | int | bool | list[str] | None
MEASURES: tuple[str, ...] = tuple(field.name for field in fields(Measures))
COLUMNS: tuple[str, ...] = (
    *("path", "score", "issues", "reason"),
    *("verdict", *SCORE_NAMES, *MEASURES),
    *("class", "relative_path", "size_bytes", "sha256", "image_format", "camera", "preset", "scorer_version", "detail"),
    "destination",
    "borderline",
    *("names_escaped", "mtime_ns"),
)
"""What every output has of an image, in this order; new ones are only ever added at the end."""
YES_OR_NO = frozenset({"borderline", "names_escaped"})
WHOLE_NUMBERS = frozenset({"width", "height", "size_bytes", "row", "mtime_ns"})
NUMBERS = frozenset({"score", *SCORE_NAMES, *MEASURES}) | WHOLE_NUMBERS

PATHS = ("path", "relative_path", "destination")
NAMES = (*PATHS, "class")
"""The columns that have names of files and folders, as the file system has them."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What turns measurements into verdicts: a preset's name, its thresholds, and how classes are read."""

    preset: str
    thresholds: Mapping[str, float]
    class_from: str = "first_folder"


@dataclass(frozen=True, slots=True)
class JudgedImage:
    """One image where it lies: `path` as the user would write it, `relative_path` below the folder judged."""

    path: str
    relative_path: str
    class_name: str
    measurement: Measurement
    decision: Decision
    destination: str = ""


def judge(path: str, relative_path: str, measurement: Measurement, rules: Rules) -> JudgedImage:
    """Judge one measured image by the rules."""
    decision = decide_on_file(relative_path, measurement, rules.preset, rules.thresholds)
    return JudgedImage(path, relative_path, class_of(relative_path, rules.class_from), measurement, decision)


def row_of(image: JudgedImage) -> dict[str, Value]:
    """Give the columns of an image; what could not be measured is None."""
    decision, measurement = image.decision, image.measurement
    measured, identity = measurement.measures is not None, measurement.identity
    values: tuple[Value, ...] = (
        *(image.path, decision.score, list(decision.issues), decision.reason, decision.verdict),
        *(decision.scores[name] if measured else None for name in SCORE_NAMES),
        *(decision.measures[name] if measured else None for name in MEASURES),
        image.class_name,
        image.relative_path,
        identity.size_bytes if identity else None,
        measurement.sha256,
        *map(printable, (measurement.image_format, measurement.camera)),
        decision.preset,
        decision.scorer_version,
        printable(decision.detail),
        image.destination or None,
        *(decision.borderline, False, _time_of(identity)),
    )
    return with_names(dict(zip(COLUMNS, values, strict=True)))


def _time_of(identity: FileIdentity | None) -> int | None:
    """Give the time of a file, which may be 0 (1970); bytes from a store have none."""
    return identity.mtime_ns if identity and (identity.inode or identity.mtime_ns) else None


def with_names(row: dict[str, Value]) -> dict[str, Value]:
    """Have names that are not Unicode in the escaped form, in which everything can have them, and say so.

    Then all names of the row are escaped, and `real_name` gives each back; in all other rows they are as they are.
    """
    names = {column: str(row[column]) for column in NAMES if row.get(column) is not None}
    if all(map(is_text, names.values())):
        return row | {"names_escaped": False}
    # All of them, although one would do: whoever reads the row asks once, and not for each name.
    return row | {"names_escaped": True} | {column: printable(name) for column, name in names.items()}


def real_name(row: Mapping[str, Any], column: str) -> str:
    """Give a name of a row as the file system has it; rows of earlier versions had all of them escaped."""
    name = str(row[column])
    return original(name) if row.get("names_escaped", True) else name


def shown_name(row: Mapping[str, Any], column: str) -> str:
    """Give a name of a row as people may read it."""
    return str(row[column]) if row.get("names_escaped") else printable(str(row[column]))


def why_unread(error: BaseException | None) -> str:
    """Say why an image could not be read: what the system says, or what we do."""
    return printable((isinstance(error, OSError) and error.strerror) or str(error))


def row_of_record(record: Mapping[str, object], folder: str, root: str) -> dict[str, Value]:
    """Give the columns of a row of the view `decisions`, for an image of `folder` that was filed below `root`."""
    measures = record["measures"]
    values: dict[str, Any] = {**(measures if isinstance(measures, Mapping) else {}), **record}
    values["borderline"] = record["borderline"] == 1
    values |= {name: original(str(record[name])) for name in ("class", "relative_path", "destination")}
    values["path"] = os.path.join(folder, values["relative_path"])
    values["destination"] = os.path.join(root, values["destination"])
    return with_names({name: values.get(name) for name in COLUMNS})


def cells_of(row: Mapping[str, Value]) -> Iterator[str | float | int]:
    """Give the cells of a row for CSV: a list as words, rounded numbers, nothing for None, no formula.

    A score that is just too low stays below the threshold it missed.
    """
    for name in COLUMNS:
        value = row.get(name)
        if isinstance(value, list):
            yield " ".join(value)
        elif isinstance(value, bool):
            yield str(value).lower()
        elif isinstance(value, float):
            yield rounded(value, ACCEPTED_FROM, 4) if name == "score" else round(value, 4)
        elif isinstance(value, str):
            yield inert_path(value) if name in PATHS else inert(value)
        else:
            yield "" if value is None else value
