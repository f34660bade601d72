"""Remembers who may write into each inbox: one that went and is recreated lets the same uploaders in."""

import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import structlog

from imageguard_daemon.config import Settings
from imageguard_daemon.core.state_file import StateFile, as_key

MEMORY_FILE = "inboxes.json"
_STATE: StateFile[dict[str, tuple[int, int]]] = StateFile(MEMORY_FILE, dict[str, tuple[int, int]])
"""Mode and group of each inbox."""

log = structlog.get_logger(__name__)


def make_missing(settings: Settings) -> None:
    """Make the inboxes below the root that are not there, with group and mode as at the last start; say so.

    What the system refuses is left to whoever needs the inbox. One thread only: the umask is that of the process.
    """
    known = _read(settings.state_folder)
    for source in settings.sources:
        with suppress(OSError):
            if source.inbox.is_relative_to(settings.root) and not source.inbox.exists():
                _make(source.inbox, known.get(as_key(source.inbox)))


def remember(settings: Settings) -> None:
    """Note group and mode of each inbox as they are now; a full disk costs the note, not the start."""
    noted = {}
    with suppress(OSError):
        for source in settings.sources:
            status = os.stat(source.inbox)
            noted[as_key(source.inbox)] = stat.S_IMODE(status.st_mode), status.st_gid
        if noted != _STATE.read(settings.state_folder):
            _STATE.write(settings.state_folder, noted)


def _make(inbox: Path, known: tuple[int, int] | None) -> None:
    inbox.parent.mkdir(parents=True, exist_ok=True)
    if known is None:
        inbox.mkdir()
        _tell(inbox, None)
        return
    mode, group = known
    before = os.umask(0)
    try:
        inbox.mkdir(mode & 0o777)  # not by chmod: a unit may be forbidden to set what a folder inherits
    finally:
        os.umask(before)
    with suppress(OSError):
        if inbox.stat().st_gid != group:
            os.chown(inbox, -1, group)
        if stat.S_IMODE(inbox.stat().st_mode) != mode:
            inbox.chmod(mode)
    status = inbox.stat()
    _tell(inbox, (stat.S_IMODE(status.st_mode), status.st_gid) == (mode, group))


def _tell(inbox: Path, is_as_it_was: bool | None) -> None:
    mode = f"{stat.S_IMODE(inbox.stat().st_mode):04o}"
    if is_as_it_was is None:
        log.info("inbox made: put images into it, each class in a folder of its own", inbox=str(inbox), mode=mode)
    elif is_as_it_was:
        log.warning("the inbox was gone and has been recreated, with group and mode as before", inbox=str(inbox))
    else:
        hint = "uploaders may be locked out; systemd-tmpfiles --create makes it as it was installed"
        log.error("the inbox was gone and has been recreated, but not as it was", inbox=str(inbox), mode=mode, why=hint)


def _read(state_folder: Path) -> Mapping[str, tuple[int, int]]:
    return _STATE.read(state_folder, lambda why: log.warning("not known who may write into the inboxes", why=why)) or {}
