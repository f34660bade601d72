"""Whether a file is still the one that was judged: asked of each file that a manifest is to name."""

import os
import stat
from collections.abc import Iterable, Iterator

from imageguard_daemon.batch.manifests import Entry, LeftOut
from imageguard_daemon.core.regular_files import regular_file

GONE = "a file that is not there any more"
CHANGED = "a file that changed since it was judged"
UNREADABLE = "a file that cannot be read to see whether it changed"


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
