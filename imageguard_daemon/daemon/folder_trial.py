"""Tries the folders before anything is judged: what the system will refuse is told at start, not at the first image."""

import errno
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import structlog

from imageguard_daemon.config import Source
from imageguard_daemon.core.errors import ImageguardError, hindrance
from imageguard_daemon.filing.name_probe import require_names
from imageguard_daemon.filing.renaming import UnsafeNamesError

_UNIT_HINT = " (in a systemd unit ReadWritePaths= says where it may write)"

log = structlog.get_logger(__name__)


def try_folders(sources: Sequence[Source]) -> None:
    """Look into each inbox and write to each destination once.

    Where one source of several cannot work, the others do; that one is told.

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
        told = hindrance(error, f"cannot write to {folder}")
        if error.errno == errno.EROFS:
            told = type(told)(f"{told}{_UNIT_HINT}")
        raise told from error
