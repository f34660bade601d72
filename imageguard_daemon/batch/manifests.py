"""Judged images in the forms that other tools read. Pure: whether a file is there is asked of the caller."""

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from imageguard_daemon.core.errors import NoInputError, UsageError
from imageguard_daemon.core.model import SCORE_NAMES
from imageguard_daemon.core.names import is_text, printable

_TAKEN_FOR_ELSE = re.compile(r"::|\$(\w|\{)")
"""What fsspec, by which `datasets` opens files, makes other names of."""


class ManifestForm(StrEnum):
    """For whom a manifest is."""

    huggingface = "huggingface"
    fiftyone = "fiftyone"
    coco = "coco"
    list = "list"


@dataclass(frozen=True, slots=True)
class Entry:
    """One judged image: `path` is absolute, names are as the file system has them."""

    path: str
    relative_path: str
    class_name: str
    verdict: str
    reason: str
    issues: tuple[str, ...]
    score: float
    scores: Mapping[str, float | None]
    borderline: bool = False
    size_bytes: int | None = None
    mtime_ns: int | None = None
    sha256: str = ""
    is_archived: bool = False
    """Whether its record is no longer in the log, so that of all this only path, verdict, size and hash are known."""

    @property
    def is_text(self) -> bool:
        """Whether its path can be written in JSON, which has Unicode only."""
        return is_text(self.path)


def huggingface_line(entry: Entry, folder: str) -> str:
    """Give a line of `metadata.jsonl`, which lies in `folder`, above all images.

    Raises:
        UsageError: the image lies elsewhere, where the loader would not find it.
    """
    file_name = os.path.relpath(entry.path, folder)
    if file_name.startswith(os.pardir):
        told = f"{printable(entry.path)} is not below {printable(folder)}"
        raise UsageError(f"{told}: metadata.jsonl must lie in a folder above all images")
    label = {"label": entry.class_name or None}
    return json.dumps({"file_name": file_name, **label, **_facts(entry)}, allow_nan=False)


def fiftyone_line(entry: Entry) -> str:
    """Give the arguments of a `fiftyone.Sample` as JSON: its path, its tags, and fields of its own."""
    fields = {"filepath": entry.path, "tags": [_tag(entry), *entry.issues], "label": entry.class_name or None}
    return json.dumps({**fields, **_facts(entry)}, allow_nan=False)


def _tag(entry: Entry) -> str:
    return "accepted" if entry.verdict == "accepted" else "rejected"


def _facts(entry: Entry) -> dict[str, Any]:
    return {
        "quality_score": entry.score,
        "quality_reason": entry.reason,
        "quality_issues": list(entry.issues),
        "quality_borderline": entry.borderline,
        **{name: entry.scores.get(name) for name in SCORE_NAMES},
    }


class CocoFilter:
    """Keeps the images of a COCO file that have the right verdict, and their annotations.

    An image is found by its `file_name` as the path below the folder judged, or else by its last part, if only one
    judged image has that. What was not judged is left out and counted.
    """

    def __init__(self, coco: Any) -> None:
        if not isinstance(coco, dict) or not isinstance(coco.get("images"), list):
            raise NoInputError("the COCO file has no list of `images`")
        self._coco = coco
        self._verdicts: dict[str, bool] = {}
        self._names: Counter[str] = Counter()
        self._by_name: dict[str, bool] = {}
        self.unjudged = 0

    def note(self, entry: Entry, *, kept: bool) -> None:
        """Note an image's verdict."""
        name = os.path.basename(entry.relative_path)
        self._verdicts[entry.relative_path] = kept
        self._names[name] += 1
        self._by_name[name] = kept

    def filtered(self) -> dict[str, Any]:
        """Give the COCO file with what is kept; all its other parts are as they were."""
        images = [image for image in self._coco["images"] if self._keeps(image)]
        ids = {image.get("id") for image in images}
        kept = {**self._coco, "images": images}
        if isinstance(annotations := self._coco.get("annotations"), list):
            kept["annotations"] = [one for one in annotations if isinstance(one, dict) and one.get("image_id") in ids]
        return kept

    def _keeps(self, image: Any) -> bool:
        path = str(image.get("file_name", "")) if isinstance(image, dict) else ""
        name = os.path.basename(path)
        verdict = self._verdicts.get(os.path.normpath(path))
        if verdict is None and self._names[name] == 1:
            verdict = self._by_name[name]
        self.unjudged += verdict is None
        return bool(verdict)


@dataclass(slots=True)
class LeftOut:
    """What could not be written, by reason."""

    reasons: Counter[str]

    @property
    def total(self) -> int:
        """How many there are."""
        return self.reasons.total()


def writable(entries: Iterable[Entry], form: ManifestForm, left: LeftOut, *, null: bool = False) -> Iterator[Entry]:
    """Leave out what the form has no way to say."""
    for entry in entries:
        if form is ManifestForm.list:
            if "\n" in entry.path and not null:
                left.reasons["a line break in the name; --null can write it"] += 1
                continue
        elif not entry.is_text:
            left.reasons["a name that is not UTF-8"] += 1
            continue
        elif form is ManifestForm.huggingface and _TAKEN_FOR_ELSE.search(entry.path):
            left.reasons[
                "a name with :: or a $VARIABLE, which keeps `datasets` from loading its folder: rename it"
            ] += 1
            continue
        yield entry
