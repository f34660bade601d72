"""Finish at start what a crash left: every intent gets its outcome before anything new is looked at."""

import errno
import hashlib
import os
import stat
from collections.abc import Sequence
from contextlib import suppress

import structlog

from imageguard_daemon.audit.writer import AuditWriter
from imageguard_daemon.errors import DataError, retryable
from imageguard_daemon.filing.folders import Folders
from imageguard_daemon.filing.mover import aside_name, put_back, temporary_name
from imageguard_daemon.filing.recovery_plan import Presence, Repair, repair_for
from imageguard_daemon.filing.syncing import sync
from imageguard_daemon.leases import READ_ONLY_NO_TRAPS, Writers, read_lease
from imageguard_daemon.model import FileIdentity, Intent, Outcome, RecordedIntent
from imageguard_daemon.names import printable

log = structlog.get_logger(__name__)


def recover(
    audit: AuditWriter, roots: Sequence[str], unfinished: Sequence[RecordedIntent] | None = None
) -> list[Outcome]:
    """Give every unfinished intent, or those given, its outcome; may be interrupted and run again at any point.

    A move is completed where it had happened. A deletion is never completed: what is still there is kept.

    Raises:
        DataError: something else lies where a judged file should be. It is recorded; the next start goes on.
        RetryableError: a folder or file cannot be reached, or the database cannot be written.
    """
    if unfinished is None:
        unfinished = audit.unfinished()
    with Folders(roots) as folders:
        outcomes = [_repair(recorded, folders) for recorded in unfinished]
        folders.sync()  # before the records say that it is so
    audit.record_outcomes(outcomes)
    disputed = [outcome for outcome in outcomes if outcome.outcome == "disputed"]
    if disputed:
        raise DataError(
            "after an interruption, another file lies where a judged one was to go; look at it, then start again:\n"
            + "\n".join(f"  {printable(outcome.detail)}" for outcome in disputed)
        )
    return outcomes


def _repair(recorded: RecordedIntent, folders: Folders) -> Outcome:
    intent = recorded.intent
    if intent.deletes:
        return _keep_undeleted(recorded, folders)
    try:
        _remove_temporary(recorded, folders)
        _settle_aside(recorded, folders)
        source_before = _identity(intent.source_path, folders)
        source = _at_source(intent.source_path, intent, folders)
        repair = repair_for(source, _presence(intent.destination_path, intent, folders))
        if repair.remove_source:
            _complete_move(intent, source_before, folders)
    except OSError as error:
        raise retryable(error, f"cannot finish moving {printable(intent.source_path)}") from error
    return _told(recorded, repair)


def _keep_undeleted(recorded: RecordedIntent, folders: Folders) -> Outcome:
    path = recorded.intent.source_path
    folder_path, name = os.path.split(path)
    try:
        folder = folders.descriptor(folder_path)
        with suppress(FileNotFoundError):
            put_back((folder, aside_name(recorded.intent_id)), (folder, name), recorded.intent.sha256)
        gone = _presence(path, recorded.intent, folders) is Presence.absent
    except (FileNotFoundError, NotADirectoryError):
        gone = True
    except OSError as error:
        raise retryable(error, f"cannot look at {printable(path)}") from error
    detail = "recorded after an interruption" if gone else "interrupted before it was deleted"
    log.info("recovered", path=printable(path), outcome="purged" if gone else "abandoned", detail=detail)
    return Outcome(recorded.intent_id, "purged" if gone else "abandoned", detail)


def _complete_move(intent: Intent, source_before: FileIdentity | None, folders: Folders) -> None:
    """Drop the old name once the new one is durable, unless another file has come to bear it meanwhile."""
    sync(folders.descriptor(os.path.dirname(intent.destination_path)), intent.destination_path)
    if _identity(intent.source_path, folders) == source_before:
        folder, name = os.path.split(intent.source_path)
        os.unlink(name, dir_fd=folders.descriptor(folder))


def _identity(path: str, folders: Folders) -> FileIdentity | None:
    folder, name = os.path.split(path)
    try:
        status = os.stat(name, dir_fd=folders.descriptor(folder), follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return FileIdentity.from_stat(status)


def _told(recorded: RecordedIntent, repair: Repair) -> Outcome:
    destination = printable(recorded.intent.destination_path)
    tell = log.error if repair.outcome in {"lost", "disputed"} else log.info
    tell("recovered", path=destination, outcome=repair.outcome, detail=repair.detail)
    return Outcome(recorded.intent_id, repair.outcome, f"{repair.detail}: {recorded.intent.destination_path}")


def _remove_temporary(recorded: RecordedIntent, folders: Folders) -> None:
    with suppress(FileNotFoundError, NotADirectoryError):
        folder = folders.descriptor(os.path.dirname(recorded.intent.destination_path))
        os.unlink(temporary_name(recorded.intent_id), dir_fd=folder)


def _settle_aside(recorded: RecordedIntent, folders: Folders) -> None:
    """Drop the hidden source of a copy that is complete; give any other its name back, and with it another look."""
    intent = recorded.intent
    folder, name = os.path.split(intent.source_path)
    path = os.path.join(folder, aside_name(recorded.intent_id))
    found, status = _at_source(path, intent, folders), _identity(path, folders)
    if found is Presence.absent or status is None:
        return
    aside = (folders.descriptor(folder), os.path.basename(path))
    published = _presence(intent.destination_path, intent, folders) is Presence.same
    if published and found is Presence.same:
        sync(folders.descriptor(os.path.dirname(intent.destination_path)), intent.destination_path)
        os.unlink(aside[1], dir_fd=aside[0])
    elif found is Presence.other and status.size_bytes == 0:  # what only kept the name
        os.unlink(aside[1], dir_fd=aside[0])
    else:
        put_back(aside, (aside[0], name), intent.sha256)


def _at_source(path: str, intent: Intent, folders: Folders) -> Presence:
    """Look at a file of the inbox: one that is being written is a new upload, whatever it still contains."""
    found = _presence(path, intent, folders)
    if found is not Presence.same:
        return found
    descriptor = os.open(os.path.basename(path), READ_ONLY_NO_TRAPS, dir_fd=folders.descriptor(os.path.dirname(path)))
    try:
        with read_lease(descriptor) as writers:
            return Presence.other if writers is Writers.some else found
    finally:
        os.close(descriptor)


def _presence(path: str, intent: Intent, folders: Folders) -> Presence:
    try:
        folder = folders.descriptor(os.path.dirname(path))
        descriptor = os.open(os.path.basename(path), READ_ONLY_NO_TRAPS, dir_fd=folder)
    except (FileNotFoundError, NotADirectoryError):
        return Presence.absent
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENXIO}:  # a link, a socket: not what was judged
            return Presence.other
        raise
    try:
        return Presence.same if _is_judged_file(descriptor, intent) else Presence.other
    finally:
        os.close(descriptor)


def _is_judged_file(descriptor: int, intent: Intent) -> bool:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_size != intent.identity.size_bytes:
        return False
    with open(descriptor, "rb", buffering=0, closefd=False) as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == intent.sha256
