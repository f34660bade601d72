"""Archives the old part of a log: copy, verify the copy, and only then take it out. Beside a daemon or without one."""

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from pathlib import Path

from imageguard_daemon.audit.archive.parquet_copy import Manifest, check_copy, read_manifest, write_copy
from imageguard_daemon.audit.archive.plan import ArchivePlan, make_plan
from imageguard_daemon.audit.archive.removal import Archiver, VerifiedCopy
from imageguard_daemon.audit.opening import open_log, require_log_of_own, writing_beside_daemon
from imageguard_daemon.config import Settings
from imageguard_daemon.core.errors import StorageError, UsageError, unwritable
from imageguard_daemon.core.files import sync_folder
from imageguard_daemon.core.locks import ActingLock
from imageguard_daemon.core.names import printable

Progress = Callable[[str, int, int], None]
"""Told the stage, how many links of how many."""


@dataclass(frozen=True, slots=True)
class ArchiveRequest:
    """What to archive: what was decided before `cutoff`, into a new folder below `folder`."""

    cutoff: datetime
    folder: Path
    who: str
    include_quarantined: bool = False


@dataclass(frozen=True, slots=True)
class Archived:
    """What was archived, where to, and how many decisions left the log."""

    folder: Path
    manifest: Manifest
    decisions: int


def plan_archive(settings: Settings, request: ArchiveRequest) -> ArchivePlan | None:
    """Say what an archive would take; None when there is nothing. Changes nothing."""
    _require_apart(settings, request.folder)
    with open_log(settings.audit.database, complete=True) as log, log.reading() as connection:
        return make_plan(connection, request.cutoff, **_limits(settings, request))


def archive(settings: Settings, request: ArchiveRequest, progress: Progress = lambda *_told: None) -> Archived | None:
    """Archive; None when there is nothing. A crash leaves the log whole, at worst beside a copy nobody needs.

    Raises:
        UsageError: pyarrow is not installed, or the folder is one of the daemon's.
        DataError: the log is not as it was written.
        StalledError: the log is locked, a disk is full, or another command is at work.
        StorageError: the disk did not keep the copy.
    """
    _require_apart(settings, request.folder)
    require_log_of_own(settings)
    with writing_beside_daemon(settings, Archiver) as archiver, ActingLock(settings.state_folder).held():
        plan = archiver.plan(request.cutoff, **_limits(settings, request))
        if plan is None or not plan.going:
            return None
        folder = _verified_copy(settings, plan, request.folder, progress)
        manifest, sha256 = read_manifest(folder)
        copy = VerifiedCopy(folder, sha256, request.who)
        gone = archiver.take_out(plan, copy, include_quarantined=request.include_quarantined)
        return Archived(folder, manifest, gone)


def _limits(settings: Settings, request: ArchiveRequest) -> dict[str, bool]:
    return {"include_quarantined": request.include_quarantined, "forwarded_only": bool(settings.forward.url)}


def _verified_copy(settings: Settings, plan: ArchivePlan, into: Path, progress: Progress) -> Path:
    total = plan.end.sequence - plan.begin.sequence
    name = f"{plan.begin.sequence + 1:012d}-{plan.end.sequence:012d}"
    begun = into / f".{name}.{os.getpid()}.part"
    try:
        begun.mkdir(parents=True)
        with open_log(settings.audit.database, complete=True) as log:
            write_copy(log, plan.begin, plan.end, begun, lambda done: progress("copying", done, total))
        check_copy(begun, lambda done: progress("verifying", done, total))
        return _published(begun, into, name)
    except OSError as error:
        raise unwritable(error, f"cannot write the archive below {printable(str(into))}") from error
    finally:
        with suppress(OSError):
            shutil.rmtree(begun)


def _published(begun: Path, into: Path, name: str) -> Path:
    """Give the finished copy its name durably; one that is there from an interrupted run is left as it is."""
    for number in count(1):
        folder = into / (name if number == 1 else f"{name}-{number}")
        if folder.exists():
            continue
        _sync_names(begun)  # before the new name: what has it is whole after a power cut, too
        begun.rename(folder)
        _sync_names(into)
        return folder
    raise AssertionError("numbers never end")


def _sync_names(folder: Path) -> None:
    try:
        sync_folder(str(folder))
    except OSError as error:
        raise StorageError(f"the disk did not keep {folder}: {error.strerror}") from error


def _require_apart(settings: Settings, folder: Path) -> None:
    wanted = Path(os.path.realpath(folder))
    for source in settings.sources:
        for place in source.folders:
            if wanted.is_relative_to(os.path.realpath(place)):
                raise UsageError(f"{printable(str(folder))} lies in {place}; name a folder outside of it with --to")
