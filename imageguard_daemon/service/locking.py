"""One daemon per root."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from imageguard_daemon.errors import AlreadyRunningError, PermissionDeniedError, UnavailableError


class RootLock:
    """Held from start to end of a daemon; the kernel lets go of it however the process ends."""

    def __init__(self, state_folder: Path) -> None:
        self._path = state_folder / "daemon.lock"
        try:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        except PermissionError as error:
            raise PermissionDeniedError(f"no permission to write {self._path}") from error
        except OSError as error:
            raise UnavailableError(f"cannot write {self._path}: {error.strerror}") from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(self._descriptor, 32).decode(errors="replace").strip() or "unknown"
            os.close(self._descriptor)
            raise AlreadyRunningError(
                f"another daemon (process {owner}) is working on {state_folder.parent}; stop it, or use another root"
            ) from None
        with suppress(OSError):  # a full disk costs the name of the owner, not the lock
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let another daemon have the root."""
        os.close(self._descriptor)


def running_process(state_folder: Path) -> int | None:
    """Give the process id of the daemon working on a root, or None when there is none."""
    try:
        descriptor = os.open(state_folder / "daemon.lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return int(os.read(descriptor, 32) or 0)
    else:
        return None
    finally:
        os.close(descriptor)
