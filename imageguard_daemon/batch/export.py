"""Judged images from results of a scan or from an audit log, in the forms that other tools read."""

import json
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imageguard_daemon.audit.archive.archived_files import files_of_archived
from imageguard_daemon.audit.opening import open_log
from imageguard_daemon.audit.queries import filed_images
from imageguard_daemon.batch.judging import real_name
from imageguard_daemon.config import Settings
from imageguard_daemon.core.errors import NoInputError, UsageError, unreadable
from imageguard_daemon.core.files import is_partial
from imageguard_daemon.core.model import SCORE_NAMES, Verdict
from imageguard_daemon.core.names import is_text, original, printable
from imageguard_daemon.core.regular_files import regular_file

_TAKEN_FOR_ELSE = re.compile(r"::|\$(\w|\{)")
"""What fsspec, by which `datasets` opens files, makes other names of."""


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


def huggingface_line(entry: Entry, folder: str) -> str:
    """Give a line of `metadata.jsonl`, which lies in `folder`, above all images.

    Raises:
        UsageError: the image lies elsewhere, where the loader would not find it.
    """
    file_name = os.path.relpath(entry.path, folder)
    if file_name.startswith(os.pardir):
        mistake = f"{printable(entry.path)} is not below {printable(folder)}"
        raise UsageError(f"{mistake}: metadata.jsonl must lie in a folder above all images")
    label = {"label": entry.class_name or None}
    return json.dumps({"file_name": file_name, **label, **_facts(entry)}, allow_nan=False)


def fiftyone_line(entry: Entry) -> str:
    """Give the arguments of a `fiftyone.Sample` as JSON: its path, its tags, and fields of its own."""
    verdict = "accepted" if entry.verdict == "accepted" else "rejected"
    fields = {"filepath": entry.path, "tags": [verdict, *entry.issues], "label": entry.class_name or None}
    return json.dumps({**fields, **_facts(entry)}, allow_nan=False)


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
        filtered = {**self._coco, "images": images}
        if isinstance(annotations := self._coco.get("annotations"), list):
            objects = (note for note in annotations if isinstance(note, dict))
            filtered["annotations"] = [note for note in objects if note.get("image_id") in ids]
        return filtered

    def _keeps(self, image: Any) -> bool:
        path = str(image.get("file_name", "")) if isinstance(image, dict) else ""
        name = os.path.basename(path)
        verdict = self._verdicts.get(os.path.normpath(path))
        if verdict is None and self._names[name] == 1:
            verdict = self._by_name[name]
        self.unjudged += verdict is None
        return bool(verdict)


def writable(entries: Iterable[Entry], form: str, left: Counter[str], *, null: bool = False) -> Iterator[Entry]:
    """Leave out what the form has no way to say; `left` counts it by reason."""
    for entry in entries:
        if form == "list":
            if "\n" in entry.path and not null:
                left["a line break in the name; --null can write it"] += 1
                continue
        elif not is_text(entry.path):  # JSON has Unicode only
            left["a name that is not UTF-8"] += 1
            continue
        elif form == "huggingface" and _TAKEN_FOR_ELSE.search(entry.path):
            left["a name with :: or a $VARIABLE, which keeps `datasets` from loading its folder: rename it"] += 1
            continue
        yield entry


_VERDICTS: Mapping[tuple[bool, str], Verdict] = {(True, "accepted"): "accepted", (False, "quarantined"): "quarantined"}
"""What a verdict is, by whether there is no reason and by what it says: anything else no scan has written."""
GONE = "a file that is not there any more"
CHANGED = "a file that changed since it was judged"
UNREADABLE = "a file that cannot be read to see whether it changed"
REJECTED_BY_REVIEW = "rejected_by_review"
"""The reason of an image that the daemon had accepted; it is not an issue, since nothing was found wrong with it."""


def entries_of_results(path: Path) -> Iterator[Entry]:
    """Read the JSON lines of a scan; a file that was moved or linked is where that has put it.

    Raises:
        NoInputError: there is no such file, it is not whole, or a line in it is none of a scan.
    """
    if is_partial(path):
        raise NoInputError(f"{printable(str(path))} is of a scan that did not come to its end; the same scan goes on")
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                yield _entry_of_line(line, f"{printable(str(path))}, line {number}")
    except OSError as error:
        raise unreadable(error, printable(str(path))) from error
    except UnicodeDecodeError as error:
        raise NoInputError(f"{printable(str(path))} is not text in UTF-8") from error


def _entry_of_line(line: str, where: str) -> Entry:
    try:
        row: Mapping[str, Any] = json.loads(line)
        return Entry(
            path=os.path.abspath(real_name(row, "destination" if row.get("destination") else "path")),
            relative_path=real_name(row, "relative_path"),
            class_name=real_name(row, "class"),
            verdict=_VERDICTS[row["reason"] == "", row["verdict"]],
            reason=row["reason"],
            issues=tuple(row["issues"]),
            score=float(row["score"]),
            scores={name: row[name] for name in SCORE_NAMES},
            borderline=bool(row.get("borderline")),
            size_bytes=row.get("size_bytes"),
            mtime_ns=row.get("mtime_ns"),
            sha256=str(row.get("sha256") or ""),
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise NoInputError(f"{where}: this was not written by scan --jsonl") from error


def entries_of_log(database: Path, settings: Settings) -> Iterator[Entry]:
    """Read an audit log: each image where it is now. In which folder it lies counts, as a person may have released it.

    Of images whose records were archived the log knows the file, no more; they come first.

    Raises:
        NoInputError, UnavailableError: there is no such log, or it cannot be read.
    """
    accepted = tuple(os.path.join(str(source.accepted), "") for source in settings.sources)
    quarantine = tuple(os.path.join(str(source.quarantine), "") for source in settings.sources)
    with open_log(database) as log:
        for path, sha256, size_bytes in files_of_archived(log):
            suffix = os.path.splitext(path)[1].lower()
            if suffix in settings.intake.image_suffixes and path.startswith((*accepted, *quarantine)):  # labels, too
                yield _archived_entry(path, sha256, size_bytes, is_accepted=path.startswith(accepted))
        for row in filed_images(log):
            yield _entry_of_row(row, accepted, quarantine)


def _archived_entry(path: str, sha256: str, size_bytes: int, *, is_accepted: bool) -> Entry:
    verdict = "accepted" if is_accepted else "quarantined"
    return Entry(path, "", "", verdict, "", (), 0.0, {}, size_bytes=size_bytes, sha256=sha256, is_archived=True)


def _entry_of_row(row: Mapping[str, Any], accepted: tuple[str, ...], quarantine: tuple[str, ...]) -> Entry:
    place, verdict, reason = row["place"], row["verdict"], row["reason"]
    if place.startswith(accepted):
        verdict = "accepted"
    elif place.startswith(quarantine):
        verdict, reason = "quarantined", reason or REJECTED_BY_REVIEW
    return Entry(
        path=place,
        relative_path=original(row["relative_path"]),
        class_name=original(row["class"]),
        verdict=verdict,
        reason=reason,
        issues=tuple(row["issues"]),
        score=row["score"],
        scores={name: row[name] for name in SCORE_NAMES},
        borderline=row["borderline"] == 1,
        size_bytes=row["size_bytes"],
        mtime_ns=row["mtime_ns"],
        sha256=row["sha256"],
    )


def vouched(entries: Iterable[Entry], left: Counter[str], *, by_content: bool = False) -> Iterator[Entry]:
    """Pass on the entries whose files are as they were judged; the others are counted by reason.

    Size and time decide; where only the time differs, as after a copy, the content does. `by_content` asks it always.
    """
    for entry in entries:
        if why := _why_not(entry, by_content=by_content):
            left[why] += 1
        else:
            yield entry


def _why_not(entry: Entry, *, by_content: bool) -> str:
    try:
        status = os.stat(entry.path)
    except (OSError, ValueError):
        return GONE
    if not stat.S_ISREG(status.st_mode):
        return GONE
    if entry.size_bytes not in {None, status.st_size}:
        return CHANGED
    if entry.sha256 and (by_content or entry.mtime_ns not in {None, status.st_mtime_ns}):
        return _why_not_its_content(entry)
    return ""


def _why_not_its_content(entry: Entry) -> str:
    try:
        with regular_file(os.path.realpath(entry.path)) as file:
            digest = file.sha256()
    except OSError:
        return UNREADABLE
    return "" if digest == entry.sha256 else CHANGED
