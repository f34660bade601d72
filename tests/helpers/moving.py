"""Carrying out moves, on file systems that can and that can't, and what a start does about them."""

import errno
import os
from collections.abc import Callable, Sequence

from imageguard_daemon.audit.writer import AuditWriter
from imageguard_daemon.core.model import Outcome, RecordedIntent
from imageguard_daemon.daemon.recovery import Recovery
from imageguard_daemon.filing.folders import Folders, sync_all
from imageguard_daemon.filing.mover import Move

Rename = Callable[..., None]


def carry_out(one: RecordedIntent) -> None:
    """Move within folders that are let go afterwards."""
    intent = one.intent
    roots = [os.path.dirname(path).removesuffix("/cat") for path in (intent.source_path, intent.destination_path)]
    with Folders(roots) as folders, Move(one, folders) as move:
        move.hold()
        sync_all([move.held])
        move.publish()
        folders.sync()
        move.confirm()
        folders.sync()


def recover(
    audit: AuditWriter, roots: Sequence[str], unfinished: Sequence[RecordedIntent] | None = None
) -> list[Outcome]:
    """Start again after an interruption: every unfinished intent, or those given, gets its outcome."""
    return Recovery(audit, roots).begin(audit.unfinished() if unfinished is None else unfinished)


def within_a_folder(rename: Rename) -> Rename:
    """Give a way to name a file that is refused between folders, as between the disks of a union."""

    def named(source_folder: int, source: str, target_folder: int, target: str) -> None:
        if os.readlink(f"/proc/self/fd/{source_folder}") != os.readlink(f"/proc/self/fd/{target_folder}"):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        rename(source_folder, source, target_folder, target)

    return named


def refusing(number: int) -> Rename:
    """Give a rename that the file system can't do."""

    def rename(*_arguments: object, **_options: object) -> None:
        raise OSError(number, os.strerror(number))

    return rename
