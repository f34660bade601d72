"""Judged images from where they were recorded: the results of a scan, or an audit log."""

import json
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from imageguard_daemon.audit.archive.archived_files import files_of_archived
from imageguard_daemon.audit.listing import filed_images
from imageguard_daemon.audit.opening import open_log
from imageguard_daemon.batch.judging import real_name
from imageguard_daemon.batch.manifests import Entry, LeftOut
from imageguard_daemon.config import Settings
from imageguard_daemon.core.errors import NoInputError, unreadable
from imageguard_daemon.core.files import is_partial
from imageguard_daemon.core.model import SCORE_NAMES, Verdict
from imageguard_daemon.core.names import original, printable
from imageguard_daemon.core.regular_files import regular_file

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


def vouched(entries: Iterable[Entry], left: LeftOut, *, by_content: bool = False) -> Iterator[Entry]:
    """Pass on the entries whose files are as they were judged; the others are counted by reason.

    Size and time decide; where only the time differs, as after a copy, the content does. `by_content` asks it always.
    """
    for entry in entries:
        if why := _why_not(entry, by_content=by_content):
            left.reasons[why] += 1
        else:
            yield entry


def _why_not(entry: Entry, *, by_content: bool) -> str:
    try:
        found = os.stat(entry.path)
    except (OSError, ValueError):
        return GONE
    if not stat.S_ISREG(found.st_mode):
        return GONE
    if entry.size_bytes not in {None, found.st_size}:
        return CHANGED
    if entry.sha256 and (by_content or entry.mtime_ns not in {None, found.st_mtime_ns}):
        return _why_not_its_content(entry)
    return ""


def _why_not_its_content(entry: Entry) -> str:
    try:
        with regular_file(os.path.realpath(entry.path)) as file:
            digest = file.sha256()
    except OSError:
        return UNREADABLE
    return "" if digest == entry.sha256 else CHANGED
