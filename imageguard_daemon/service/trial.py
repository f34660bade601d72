"""Tries the folders before anything is judged: what the system will refuse is told at start, not at the first image."""

import errno
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import structlog

from imageguard_daemon.config import Source
from imageguard_daemon.errors import ImageguardError, hindrance

_TRIAL_NAME = f".imageguard-trial-{os.getpid()}"
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
    trial = folder / _TRIAL_NAME
    try:
        os.close(os.open(trial, os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        trial.unlink()
    except OSError as error:
        with suppress(OSError):
            trial.unlink()
        told = hindrance(error, f"cannot write to {folder}")
        if error.errno == errno.EROFS:
            told = type(told)(f"{told}{_UNIT_HINT}")
        raise told from error
