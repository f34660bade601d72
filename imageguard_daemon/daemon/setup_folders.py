"""The folders and files a daemon needs before it can start."""

from contextlib import suppress
from pathlib import Path

import structlog

from imageguard_daemon.config import Settings
from imageguard_daemon.core.errors import (
    ConfigError,
    NoInputError,
    PermissionDeniedError,
    StalledError,
    UnavailableError,
    hindrance,
)
from imageguard_daemon.core.file_systems import Reach, file_system_at
from imageguard_daemon.core.names import printable
from imageguard_daemon.daemon import inbox_memory
from imageguard_daemon.intake.rules.selection import unprotected

log = structlog.get_logger(__name__)


def prepare(settings: Settings) -> None:
    """Make the folders below the root; those elsewhere must exist already.

    A folder outside the root that is missing is most likely a disk that is not mounted, and making it would send
    images to the wrong disk.

    Raises:
        NoInputError: a folder does not exist, which a disk that is mounted later may mend.
        ConfigError: something else is in a folder's place, which only a person mends.
        PermissionDeniedError, StalledError, UnavailableError: with the folder and what to do about it.
    """
    _make(settings.root)
    _make(settings.state_folder)
    inbox_memory.make_missing(settings)
    for folder in _folders(settings):
        if folder.is_relative_to(settings.root):
            _make(folder)
        elif not _is_folder(folder):
            _refuse_what_is_no_folder(folder)
            raise NoInputError(
                f"{folder} is not there; folders outside the root ({settings.root}) are not made by themselves. "
                "Mount or create it, then start again."
            )
    inbox_memory.remember(settings)


def refuse_files_in_place_of_folders(settings: Settings) -> None:
    """Say before a start what it would say; nothing is made, and what cannot be looked at is left to the start.

    Raises:
        ConfigError: something else is in a folder's place.
    """
    for folder in (settings.root, settings.state_folder, *_folders(settings)):
        with suppress(PermissionDeniedError, StalledError, UnavailableError):
            _refuse_what_is_no_folder(folder)


def _folders(settings: Settings) -> list[Path]:
    return [settings.audit.database.parent, *(folder for source in settings.sources for folder in source.folders)]


def warn_of_missing_log(settings: Settings) -> None:
    """Say so when files were filed before and there is no log of it: it may be in another place."""
    database = settings.audit.database
    filed = (folder for source in settings.sources for folder in (source.accepted, source.quarantine))
    if not database.exists() and any(any(folder.iterdir()) for folder in filed):
        log.warning("a new audit log is begun beside folders that have files already", database=str(database))


def warn_of_names_let_through(settings: Settings) -> None:
    """Say so when `intake.ignore` was replaced and names of unfinished uploads are judged now."""
    if names := unprotected(settings.intake):
        log.warning(
            "intake.ignore leaves out defaults: hidden or unfinished files of these names are judged",
            names=" ".join(names),
            remedy="use intake.ignore_also, which adds to the defaults",
        )


def why_log_is_unsafe(settings: Settings) -> str:
    """Say why the log should not be where it is, and what to do; empty when it is on a disk of this machine."""
    folder = settings.audit.database.parent
    try:
        file_system = file_system_at(folder)
    except OSError:
        return ""  # who opens the log meets it, too
    if file_system.reach not in {Reach.network, Reach.relayed}:
        return ""
    database = printable(str(settings.audit.database))
    is_surely = "is" if file_system.reach is Reach.network else "may be"
    return (
        f"the audit log {database} is on {file_system.name}, which {is_surely} a network "
        "file system: SQLite's locks and what it has synced cannot be relied on there; stop the daemon, move audit.db "
        "to a local disk, and name that place as audit.database"
    )


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except PermissionError as error:
        raise PermissionDeniedError(f"no permission to make {folder}; make it, or run as a user who may") from error
    except (FileExistsError, NotADirectoryError) as error:
        _refuse_what_is_no_folder(folder)
        raise NoInputError(f"{folder} is a link, or lies below one, that leads nowhere; mount its disk") from error
    except OSError as error:
        raise hindrance(error, f"cannot make {folder}") from error


def _is_folder(folder: Path) -> bool:
    """Tell whether a folder is there; a disk that does not say is not taken for one that is not mounted.

    Raises:
        PermissionDeniedError, StalledError, UnavailableError: it cannot be looked at.
    """
    try:
        return folder.is_dir()
    except OSError as error:
        raise hindrance(error, f"cannot look at {folder}") from error


def _refuse_what_is_no_folder(folder: Path) -> None:
    for place in (folder, *folder.parents):
        if not _is_folder(place) and place.exists():
            what = "a file is in its place" if place == folder else f"{place} is a file"
            raise ConfigError([f"{folder} cannot be a folder: {what}"], "folders")
