"""The one judge of all faults: after a recovery and a settled `run --once`, is every file where it must be?

`look` reads disk and log, `violations` decides (pure), `assert_nothing_lost` does both and tells everything that is
wrong, not only the first thing.
"""

import hashlib
import os
import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tests.faults.site import Site

OURS = ".imageguard"
"""Every temporary of the daemon has a name that begins like this, or lies in a folder that does."""


class Kind(StrEnum):
    """What can be wrong."""

    lost = "offered complete, and now nowhere"
    overwritten = "nowhere, and another content has its recorded place"
    doubled = "in more than one place"
    stranded = "complete and resting, but still in the inbox"
    half = "filed although nobody ever offered this content complete"
    unrecorded = "filed without a record"
    recorded_twice = "two records for one file"
    missing = "recorded, but no file there"
    changed = "the file at the destination is not the recorded one"
    unfinished = "an intent without an outcome"
    temporary = "a left-over temporary"
    damaged = "the log is damaged"


@dataclass(frozen=True)
class Offered:
    """A file that somebody uploaded.

    `complete` is False when the uploader never got to the point of knowing that it is on disk: it may have vanished or
    be torn (then what lies there is judged for what it is), but it may not be doubled or go unrecorded.
    """

    name: str
    sha256: str
    complete: bool = True


@dataclass(frozen=True)
class Record:
    """What the log says of a file that moved."""

    destination: str
    sha256: str
    name: str


@dataclass(frozen=True)
class Seen:
    """Disk and log as they are; paths are absolute."""

    inbox: dict[str, str]
    filed: dict[str, str]
    temporaries: tuple[str, ...] = ()
    records: tuple[Record, ...] = ()
    unfinished: tuple[str, ...] = ()
    log_check: str = "ok"


@dataclass(frozen=True)
class Violation:
    """One thing that is wrong."""

    kind: Kind
    what: str

    def __str__(self) -> str:
        return f"{self.kind.name} ({self.kind}): {self.what}"


def assert_nothing_lost(site: Site, offered: Iterable[Offered], *, settled: bool = True) -> None:
    """Fail with every violation; `settled` is False where files may still wait in the inbox."""
    found = violations(list(offered), look(site), settled=settled)
    assert not found, f"{len(found)} violations in {site.root}:\n" + "\n".join(f"  {one}" for one in found)


def violations(offered: Sequence[Offered], seen: Seen, *, settled: bool = True) -> list[Violation]:
    """Decide what is wrong; nothing to do with disks."""
    return [
        *_contents_not_once(offered, seen, settled=settled),
        *_log_against_files(offered, seen),
        *(Violation(Kind.temporary, path) for path in seen.temporaries),
        *(Violation(Kind.unfinished, path) for path in seen.unfinished),
        *([] if seen.log_check == "ok" else [Violation(Kind.damaged, seen.log_check)]),
    ]


def _contents_not_once(offered: Sequence[Offered], seen: Seen, *, settled: bool) -> Iterable[Violation]:
    places = _places([*seen.inbox.items(), *seen.filed.items()])
    held = {record.sha256: record.destination for record in seen.records}
    for one in offered:
        paths = places.get(one.sha256, [])
        if len(paths) > 1:
            yield Violation(Kind.doubled, f"{one.name}: {paths}")
        elif not paths and one.complete:
            taken = held.get(one.sha256) in seen.filed
            yield Violation(Kind.overwritten if taken else Kind.lost, one.name)
        elif settled and paths and paths[0] in seen.inbox:
            yield Violation(Kind.stranded, paths[0])


def _log_against_files(offered: Sequence[Offered], seen: Seen) -> Iterable[Violation]:
    known = {one.sha256 for one in offered}
    uncertain = {one.name for one in offered if not one.complete}
    for path in sorted(set(seen.filed) - {record.destination for record in seen.records}):
        yield Violation(Kind.unrecorded, path)
    for path, count in Counter(record.destination for record in seen.records).items():
        if count > 1:
            yield Violation(Kind.recorded_twice, path)
    for record in seen.records:
        actual = seen.filed.get(record.destination)
        if actual is None:
            yield Violation(Kind.missing, record.destination)
        elif actual != record.sha256:
            yield Violation(Kind.changed, record.destination)
        elif actual not in known and record.name not in uncertain:
            yield Violation(Kind.half, record.destination)


def _places(files: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    places: dict[str, list[str]] = {}
    for path, sha256 in files:
        places.setdefault(sha256, []).append(path)
    return places


def look(site: Site) -> Seen:
    """Read all files of a site and its log."""
    inbox, filed, temporaries = {}, {}, []
    for folder in site.inboxes:
        for path in files_below(folder):
            if OURS in path[len(folder) :]:
                temporaries.append(path)
            elif not os.path.basename(path).startswith("."):  # an uploader's own temporary is not offered yet
                inbox[path] = sha256_of(path)
    for folder in (str(site.accepted), str(site.quarantine)):
        for path in files_below(folder):
            if OURS in path[len(folder) :]:
                temporaries.append(path)
            else:
                filed[path] = sha256_of(path)
    return Seen(inbox, filed, tuple(temporaries), *_read_log(site))


def _read_log(site: Site) -> tuple[tuple[Record, ...], tuple[str, ...], str]:
    if not site.database.exists():
        return (), (), "ok"
    connection = sqlite3.connect(site.database, timeout=20)
    try:
        (check,) = connection.execute("PRAGMA integrity_check").fetchone()
        moved = connection.execute(
            "SELECT i.destination_path, i.sha256, i.source_path FROM intents i "
            "JOIN outcomes o ON o.intent_id = i.id WHERE o.outcome = 'moved' ORDER BY i.id"
        ).fetchall()
        records = tuple(Record(os.fsdecode(d), s, site.name_of(os.fsdecode(p))) for d, s, p in moved)
        open_intents = connection.execute(
            "SELECT i.destination_path FROM intents i LEFT JOIN outcomes o ON o.intent_id = i.id WHERE o.id IS NULL"
        ).fetchall()
        shown = connection.execute("SELECT count(*), count(DISTINCT destination) FROM decisions").fetchone()
    except sqlite3.DatabaseError as error:
        return (), (), str(error)
    finally:
        connection.close()
    if shown[0] != shown[1]:
        check = f"the view shows {shown[0]} decisions for {shown[1]} files"
    return records, tuple(os.fsdecode(path) for (path,) in open_intents), check


def files_below(folder: str) -> list[str]:
    """Give the regular files of a tree; follows no links."""
    found = []
    for base, _folders, names in os.walk(folder):
        paths = (os.path.join(base, name) for name in names)
        found += [path for path in paths if os.path.isfile(path) and not os.path.islink(path)]
    return sorted(found)


def sha256_of(path: str) -> str:
    """Hash a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
