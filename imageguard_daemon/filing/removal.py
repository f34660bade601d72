"""Deletes one file of which the log says that it is to go: that file, and no other that came to bear its name."""

import os
import stat

from imageguard_daemon.core.errors import ChangedError, StorageError, retryable
from imageguard_daemon.core.model import Intent, RecordedIntent
from imageguard_daemon.core.names import aside_name, printable
from imageguard_daemon.core.regular_files import Writers, opened, read_lease
from imageguard_daemon.filing import renaming
from imageguard_daemon.filing.folders import Folders
from imageguard_daemon.filing.judged_file import bears_judged
from imageguard_daemon.filing.renaming import Name, put_back


def remove(recorded: RecordedIntent, folders: Folders) -> None:
    """Take the file's name away, look at what bore it, and only then delete it; sync the folders afterwards.

    Raises:
        ChangedError: the file is gone, is open for writing, or another one bears its name; it is left as it is.
        RetryableError: the file system refused for a reason that may pass.
        StorageError: another file cannot get its name back; it is in the same folder, hidden.
    """
    intent = recorded.intent
    folder_path, name = os.path.split(intent.source_path)
    aside = aside_name(recorded.intent_id)
    try:
        folder = folders.descriptor(folder_path)
        renaming.set_aside(folder, name, aside)
    except FileNotFoundError as error:
        raise ChangedError("vanished before it could be deleted") from error
    except OSError as error:
        raise retryable(error, f"cannot delete {printable(intent.source_path)}") from error
    try:
        _delete_if_meant((folder, aside), intent)
    except (OSError, ChangedError) as error:
        _give_back(folder, aside, recorded)
        if isinstance(error, OSError):
            raise retryable(error, f"cannot delete {printable(intent.source_path)}") from error
        raise


def _delete_if_meant(aside: Name, intent: Intent) -> None:
    folder, name = aside
    status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if not stat.S_ISREG(status.st_mode) or not bears_judged(aside, status, intent):
        raise ChangedError("changed after it was looked at")
    if _is_open_for_writing(aside):
        raise ChangedError("is open for writing")
    os.unlink(name, dir_fd=folder)


def _is_open_for_writing(name: Name) -> bool:
    """Tell whether somebody surely writes to a file; one that may not be read can be deleted all the same."""
    try:
        with opened(name[1], name[0]) as descriptor, read_lease(descriptor) as writers:
            return writers is Writers.some
    except PermissionError:
        return False


def _give_back(folder: int, aside: str, recorded: RecordedIntent) -> None:
    intent = recorded.intent
    try:
        put_back((folder, aside), (folder, os.path.basename(intent.source_path)), intent.sha256)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StorageError(
            f"{printable(intent.source_path)} cannot get its name back, it is called {aside} now: {error.strerror}"
        ) from error
