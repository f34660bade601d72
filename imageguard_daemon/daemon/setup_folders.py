"""The folders a daemon needs before it can start: made where it may, tried, and inboxes made again as they were.

Who may write into each inbox is remembered: one that went and is recreated lets the same uploaders in. And what the
system will refuse is said at the start, not at the first image.
"""

import errno
import os
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import structlog

from imageguard_daemon.config import Settings, Source
from imageguard_daemon.core.errors import (
    ConfigError,
    ImageguardError,
    NoInputError,
    PermissionDeniedError,
    StalledError,
    UnavailableError,
    hindrance,
)
from imageguard_daemon.core.file_systems import Reach, file_system_at
from imageguard_daemon.core.names import printable
from imageguard_daemon.core.state_file import StateFile, as_key
from imageguard_daemon.filing.renaming import UnsafeNamesError, require_names
from imageguard_daemon.intake.rules.selection import unprotected

INBOX_MEMORY_FILE = "inboxes.json"
_INBOXES: StateFile[dict[str, tuple[int, int]]] = StateFile(INBOX_MEMORY_FILE, dict[str, tuple[int, int]])
"""Mode and group of each inbox."""

_UNIT_HINT = " (in a systemd unit ReadWritePaths= says where it may write)"

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
    _make_missing_inboxes(settings)
    for folder in _folders(settings):
        if folder.is_relative_to(settings.root):
            _make(folder)
        elif not _is_folder(folder):
            _refuse_what_is_no_folder(folder)
            raise NoInputError(
                f"{folder} is not there; folders outside the root ({settings.root}) are not made by themselves. "
                "Mount or create it, then start again."
            )
    _remember_inboxes(settings)


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


def try_folders(sources: Sequence[Source]) -> None:
    """Look into each inbox and write to each destination once.

    Where one source of several cannot work, the others do; that one is named in the log.

    Raises:
        PermissionDeniedError, StalledError, UnavailableError: no source can work; for the first, why.
    """
    refused = {source.name: error for source in sources if (error := _hindrance_of(source)) is not None}
    if len(refused) == len(sources):
        raise next(iter(refused.values()))
    for name, error in refused.items():
        log.error("a source cannot work", source=name, why=str(error))


def _hindrance_of(source: Source) -> ImageguardError | None:
    try:
        _look_into(source.inbox)
        for folder in (source.accepted, source.quarantine):
            _write_to(folder)
    except ImageguardError as error:
        return error
    return None


def _look_into(folder: Path) -> None:
    try:
        with os.scandir(folder) as entries:
            next(entries, None)
        os.stat(folder / ".")  # to enter it is another right than to list it
    except OSError as error:
        raise hindrance(error, f"cannot look into {folder}") from error


def _write_to(folder: Path) -> None:
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with suppress(UnsafeNamesError):  # that pauses the one source, once it runs
                require_names(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        refusal = hindrance(error, f"cannot write to {folder}")
        if error.errno == errno.EROFS:
            refusal = type(refusal)(f"{refusal}{_UNIT_HINT}")
        raise refusal from error


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


def _make_missing_inboxes(settings: Settings) -> None:
    """Make the inboxes below the root that are not there, with group and mode as at the last start; say so.

    What the system refuses is left to whoever needs the inbox. One thread only: the umask is that of the process.
    """
    known = _known_inboxes(settings.state_folder)
    for source in settings.sources:
        with suppress(OSError):
            if source.inbox.is_relative_to(settings.root) and not source.inbox.exists():
                _make_inbox(source.inbox, known.get(as_key(source.inbox)))


def _remember_inboxes(settings: Settings) -> None:
    """Note group and mode of each inbox as they are now; a full disk costs the note, not the start."""
    noted = {}
    with suppress(OSError):
        for source in settings.sources:
            status = os.stat(source.inbox)
            noted[as_key(source.inbox)] = stat.S_IMODE(status.st_mode), status.st_gid
        if noted != _INBOXES.read(settings.state_folder):
            _INBOXES.write(settings.state_folder, noted)


def _make_inbox(inbox: Path, known: tuple[int, int] | None) -> None:
    inbox.parent.mkdir(parents=True, exist_ok=True)
    if known is None:
        inbox.mkdir()
        _report_made(inbox, None)
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
    _report_made(inbox, (stat.S_IMODE(status.st_mode), status.st_gid) == (mode, group))


def _report_made(inbox: Path, is_as_it_was: bool | None) -> None:
    mode = f"{stat.S_IMODE(inbox.stat().st_mode):04o}"
    if is_as_it_was is None:
        log.info("inbox made: put images into it, each class in a folder of its own", inbox=str(inbox), mode=mode)
    elif is_as_it_was:
        log.warning("the inbox was gone and has been recreated, with group and mode as before", inbox=str(inbox))
    else:
        hint = "uploaders may be locked out; systemd-tmpfiles --create makes it as it was installed"
        log.error("the inbox was gone and has been recreated, but not as it was", inbox=str(inbox), mode=mode, why=hint)


def _known_inboxes(state_folder: Path) -> Mapping[str, tuple[int, int]]:
    def warn(why: str) -> None:
        log.warning("not known who may write into the inboxes", why=why)

    return _INBOXES.read(state_folder, warn) or {}
