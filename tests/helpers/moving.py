"""Carrying out moves, on file systems that can and that can't."""

import os
from collections.abc import Callable

from imageguard_daemon.core.model import RecordedIntent
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


def refusing(number: int) -> Rename:
    """Give a rename that the file system can't do."""

    def rename(*_arguments: object, **_options: object) -> None:
        raise OSError(number, os.strerror(number))

    return rename
