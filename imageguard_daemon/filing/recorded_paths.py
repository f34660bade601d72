"""Where a recorded path is today: roots are moved and configurations change, while records stay as they were."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePath

from imageguard_daemon.config import Source
from imageguard_daemon.core.model import Intent, Origin, ReviewAction

_INBOX, _ACCEPTED, _QUARANTINE = range(3)
_FILED_IN = {"accepted": _ACCEPTED, "quarantined": _QUARANTINE}
_ENDS: dict[ReviewAction, tuple[int, int]] = {
    "release": (_QUARANTINE, _ACCEPTED),
    "rejudge": (_QUARANTINE, _ACCEPTED),
    "reject": (_ACCEPTED, _QUARANTINE),
    "purge": (_QUARANTINE, _QUARANTINE),
}
"""Between which folders of its source a review moves a file; an undo brings it back to where the daemon filed it."""


def spelled_as_configured(path: str, folders: Sequence[str]) -> str:
    """Give a path below one of the folders with the folder's configured name, through whatever link it was recorded."""
    if _lies_in(path, folders):
        return path
    parent = os.path.dirname(path)
    while parent != os.path.dirname(parent):
        for folder in folders:
            if _same(parent, folder):
                return os.path.join(folder, os.path.relpath(path, parent))
        parent = os.path.dirname(parent)
    return path


class Places:
    """The folders in force, and what recorded paths have become in them."""

    def __init__(self, sources: Mapping[str, Source]) -> None:
        self._folders = {name: [str(folder) for folder in source.folders] for name, source in sources.items()}
        self._roots = [folder for folders in self._folders.values() for folder in folders]

    def has(self, path: str) -> bool:
        """Tell whether a path lies in a folder in force."""
        return _lies_in(path, self._roots)

    def today(self, intent: Intent, origin: Origin) -> Intent:
        """Give an intent with the paths its file would have in the folders in force; as it is where they do not say."""
        filed_in = _FILED_IN[origin.verdict]
        ends = (_INBOX, filed_in)
        if origin.action == "return":  # taken from where it was filed; the inbox has it by then
            ends = (filed_in, filed_in)
        elif origin.action == "undo":
            ends = (_QUARANTINE if filed_in == _ACCEPTED else _ACCEPTED, filed_in)
        elif origin.action is not None:
            ends = _ENDS.get(origin.action, ends)
        source, destination = (
            path and self._moved(path, origin.source, origin.depth, stage)
            for path, stage in zip((intent.source_path, intent.destination_path), ends, strict=True)
        )
        return replace(intent, source_path=source, destination_path=destination)

    def of_filed(self, path: str, source: str, depth: int) -> list[str]:
        """Give the paths that a filed image may have in the folders in force; its verdict is not known."""
        return [self._moved(path, source, depth, stage) for stage in (_ACCEPTED, _QUARANTINE)]

    def _moved(self, path: str, source: str, depth: int, stage: int) -> str:
        if self.has(path) or source not in self._folders:
            return path
        folders = self._folders[source]
        spelled = spelled_as_configured(path, folders)
        if spelled != path:
            return spelled
        # The path below the old folder is as deep as below the inbox; folders are made alike in all three.
        return os.path.join(folders[stage], *PurePath(path).parts[-depth:])


def _lies_in(path: str, folders: Sequence[str]) -> bool:
    return any(path.startswith(os.path.join(folder, "")) for folder in folders)


def _same(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False
