"""One daemon per root, and one at a time of those who act on rejected images."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from imageguard_daemon.errors import AlreadyRunningError, PermissionDeniedError, StalledError, UnavailableError

ACTING_PATIENCE_SECONDS = 20.0
_LOOK_AGAIN_SECONDS = 0.05


class RootLock:
    """Held from start to end of a daemon; the kernel lets go of it however the process ends."""

    def __init__(self, state_folder: Path) -> None:
        self._descriptor = _opened(state_folder / "daemon.lock")
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


class ActingLock:
    """Held by whoever acts on rejected images, for one group of them; the kernel lets go of it with the process.

    A daemon may be at work meanwhile. It asks for the lock only at its start, before it finishes what reviews left.
    """

    def __init__(self, state_folder: Path) -> None:
        self._path = state_folder / "acting.lock"

    @contextmanager
    def held(self, patience_seconds: float = ACTING_PATIENCE_SECONDS) -> Iterator[None]:
        """Hold the lock.

        Raises:
            StalledError: another command has held it for longer than `patience_seconds`.
        """
        with self.held_if_free(patience_seconds) as is_ours:
            if not is_ours:
                raise StalledError("another command is acting on rejected images of this root; try again later")
            yield

    @contextmanager
    def held_if_free(self, patience_seconds: float = 0.0) -> Iterator[bool]:
        """Hold the lock if nobody else does; tell whether it is held."""
        descriptor = _opened(self._path)
        try:
            yield _flock_within(descriptor, patience_seconds)
        finally:
            os.close(descriptor)

    def is_held(self) -> bool:
        """Tell whether somebody is acting just now."""
        return _owner_of(self._path) is not None


def _flock_within(descriptor: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_LOOK_AGAIN_SECONDS)
        else:
            return True


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    except PermissionError as error:
        raise PermissionDeniedError(f"no permission to write {path}") from error
    except OSError as error:
        raise UnavailableError(f"cannot write {path}: {error.strerror}") from error


def running_process(state_folder: Path) -> int | None:
    """Give the process id of the daemon working on a root, or None when there is none."""
    owner = _owner_of(state_folder / "daemon.lock")
    return None if owner is None else int(owner or 0)


def _owner_of(path: Path) -> bytes | None:
    """Give what is written in a file that somebody has locked; None when nobody has."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.read(descriptor, 32)
    else:
        return None
    finally:
        os.close(descriptor)
