"""Who may work on a root: one account, one daemon, as on each inbox, and one at a time of those who act on images."""

import fcntl
import os
import pwd
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog

from imageguard_daemon.core.errors import (
    AlreadyRunningError,
    ImageguardError,
    PermissionDeniedError,
    StalledError,
    hindrance,
)
from imageguard_daemon.core.file_systems import Reach, file_system_of
from imageguard_daemon.core.files import FileLock, lock_if_free, lock_within, unlock

ROOT_USER = 0
ACTING_TIMEOUT_SECONDS = 20.0
START_TIMEOUT_SECONDS = 1.0
"""Commands that ask who is running hold a lock for a moment."""
_TRY_AGAIN_SECONDS = 5.0
_PROGRAM = b"imageguard"
"""In the command line of every daemon."""
log = structlog.get_logger(__name__)


def require_own(*folders: os.PathLike[str]) -> None:
    """Refuse to let root write into the folder of another account.

    The first folder that is there decides: a root's state folder, which a daemon made, else the root folder. Other
    accounts meet the permissions that there are.

    Raises:
        PermissionDeniedError: naming the account, and the two ways out.
    """
    if os.geteuid() != ROOT_USER:
        return
    for folder in folders:
        with suppress(OSError):
            owner = os.stat(folder).st_uid
            if owner == ROOT_USER:
                return
            account = account_name(owner)
            raise PermissionDeniedError(
                f"{folder} belongs to the account {account}, which could not use what root writes there: give the "
                f"same command with `sudo -u {account}` before it. If root is meant to work here, chown it to root"
            )


def account_name(user_id: int) -> str:
    """Give the name of an account, as sudo takes it."""
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:
        return f"#{user_id}"


class FolderLock:
    """Held on a folder itself, whatever becomes of the names in it; the kernel lets go of it with the process.

    `hold` may be called again and again: it follows the path to a folder that was recreated.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1
        self._folder: tuple[int, int] | None = None
        self._try_again_at = 0.0

    def hold(self, timeout_seconds: float = 0.0) -> bool:
        """Lock the folder that is at the path now; False when another daemon has it.

        Whoever may read a folder can lock it: one that is held by no daemon is worked in all the same, and told. Where
        there is no folder, or its file system knows no locks, nothing is refused. On a network file system only daemons
        of this machine are: told in the log.
        """
        try:
            status = os.stat(self._path)
            if (status.st_dev, status.st_ino) == self._folder or time.monotonic() < self._try_again_at:
                return True
            descriptor = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:  # gone, or closed to us: whoever works in it finds out and says so
            return True
        try:
            if not lock_within(descriptor, timeout_seconds):
                is_strangers = _is_held_by_strangers(descriptor, self._path)
                os.close(descriptor)
                self._try_again_at = time.monotonic() + _TRY_AGAIN_SECONDS if is_strangers else 0.0
                return is_strangers
            file_system = file_system_of(descriptor)
            if (
                file_system.reach is not Reach.local
            ):  # a client's kernel locks a folder by itself, without asking the server
                log.info("only daemons of this machine are kept out", folder=str(self._path), on=file_system.name)
        except OSError as error:  # its file system knows no locks
            log.info(
                "a folder cannot be locked to keep out a second daemon", folder=str(self._path), why=error.strerror
            )
        self.release()
        status = os.fstat(descriptor)
        self._descriptor, self._folder = descriptor, (status.st_dev, status.st_ino)
        return True

    def release(self) -> None:
        """Let others have the folder."""
        if self._descriptor >= 0:
            unlock(self._descriptor)
        self._descriptor, self._folder = -1, None


class RootLock:
    """Held from start to end of a daemon, on a file that says who holds it and on the root's folder itself.

    The folder's lock counts when somebody removes the file beside a running daemon.
    """

    def __init__(self, state_folder: Path) -> None:
        self._path = state_folder / "daemon.lock"
        self._root = FolderLock(state_folder.parent)
        self._file = state_lock(self._path)
        try:
            self._take(state_folder)
        except ImageguardError:
            self._file.release()
            raise
        self._write_owner()

    def _take(self, state_folder: Path) -> None:
        descriptor = self._file.descriptor
        if not self._file.acquire(START_TIMEOUT_SECONDS) and not _is_held_by_strangers(descriptor, self._path):
            owner = _read(descriptor).decode(errors="replace").strip() or "unknown"
            raise AlreadyRunningError(
                f"{_who_is(owner)} is working on {state_folder.parent}; stop it, or use another root"
            )
        if not self._root.hold(START_TIMEOUT_SECONDS):
            raise AlreadyRunningError(
                f"another daemon is working on {state_folder.parent}, though its {state_folder.name} was removed; "
                "stop it, or use another root"
            )

    def keep(self) -> None:
        """Make the lock's file again when somebody has removed it: it tells others which process is at work."""
        try:
            if os.path.samestat(os.stat(self._path), os.fstat(self._file.descriptor)):
                return
        except OSError:
            pass
        try:
            self._path.parent.mkdir(exist_ok=True)
            file = FileLock(self._path)
        except OSError:  # no space, read-only: the root's own lock still holds
            return
        is_ours = False
        with suppress(ImageguardError):
            is_ours = file.acquire()
        if not is_ours:  # whoever is about to find that the root is taken has it
            file.release()
            return
        self._file.release()
        self._file = file
        self._write_owner()
        log.warning("the lock was removed beside a running daemon; it is made again", path=str(self._path))

    def release(self) -> None:
        """Let another daemon have the root."""
        self._root.release()
        self._file.release()

    def _write_owner(self) -> None:
        with suppress(OSError):  # a full disk costs the name of the owner, not the lock
            os.ftruncate(self._file.descriptor, 0)
            os.pwrite(self._file.descriptor, f"{os.getpid()}\n".encode(), 0)


class DaemonLocks:
    """What a daemon holds from start to end: its root and its inboxes, so that no daemon of another root takes them.

    Raises:
        AlreadyRunningError: another daemon has one of them.
    """

    def __init__(self, state_folder: Path, inboxes: Sequence[Path]) -> None:
        self._root = RootLock(state_folder)
        self._inboxes = {inbox: FolderLock(inbox) for inbox in inboxes}
        for inbox, lock in self._inboxes.items():
            if not lock.hold(START_TIMEOUT_SECONDS):
                self.release()
                raise AlreadyRunningError(f"{taken_message(inbox)}; stop it, or use another inbox")

    def keep(self) -> None:
        """Make the root's lock known again when somebody removed its file."""
        self._root.keep()

    def holds(self, inbox: Path) -> bool:
        """Follow an inbox through being recreated; False while a daemon of another root has it."""
        return self._inboxes[inbox].hold()

    def release(self) -> None:
        """Let others have them."""
        for lock in self._inboxes.values():
            lock.release()
        self._root.release()


def taken_message(inbox: Path) -> str:
    """Say that an inbox is somebody else's."""
    return f"a daemon of another root takes the images of {inbox}"


class ActingLock:
    """Held by whoever acts on rejected images, for one group of them; the kernel lets go of it with the process.

    A daemon may be at work meanwhile. It asks for the lock before it finishes what reviews left, and to put back filed
    images that have changed.
    """

    def __init__(self, state_folder: Path) -> None:
        self._path = state_folder / "acting.lock"  # not readable for others, who could lock it

    @contextmanager
    def held(self, timeout_seconds: float = ACTING_TIMEOUT_SECONDS) -> Iterator[None]:
        """Hold the lock.

        Raises:
            StalledError: another command has held it for longer than `timeout_seconds`.
        """
        with self.held_if_free(timeout_seconds) as is_ours:
            if not is_ours:
                raise StalledError("another command is acting on rejected images of this root; try again later")
            yield

    @contextmanager
    def held_if_free(self, timeout_seconds: float = 0.0) -> Iterator[bool]:
        """Hold the lock if nobody else does; tell whether it is held."""
        with state_lock(self._path, 0o600) as lock:
            yield lock.acquire(timeout_seconds)

    def is_held(self) -> bool:
        """Tell whether somebody is acting just now."""
        return _owner_of(self._path) is not None


def state_lock(path: Path, mode: int = 0o644) -> FileLock:
    """Open a lock file in a folder of state, without which there is no working there.

    Raises:
        ImageguardError: it cannot be opened or made.
    """
    try:
        return FileLock(path, mode=mode)
    except PermissionError as error:
        raise PermissionDeniedError(f"no permission to write {path}") from error
    except OSError as error:
        raise hindrance(error, f"cannot write {path}") from error


def _is_held_by_strangers(descriptor: int, path: Path) -> bool:
    """Tell whether a lock is surely held by no daemon: by processes of other accounts, none an imageguard-daemon.

    What cannot be known of any of them (they may be in another container) counts as a daemon.
    """
    holders = [(process_id, _account_of_stranger(process_id)) for process_id in _holders(descriptor)]
    if not holders or any(account is None for _, account in holders):
        return False
    for process_id, account in holders:
        log.warning("locked by a process that is not a daemon", path=str(path), process_id=process_id, account=account)
    return True


def _holders(descriptor: int) -> list[int]:
    """Give the processes that hold a flock(2) on an open file or folder, as far as the kernel shows them."""
    status = os.fstat(descriptor)
    file = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    try:
        lines = [line.split() for line in Path("/proc/locks").read_text(encoding="ascii").splitlines()]
    except OSError:
        return []
    return [int(fields[4]) for fields in lines if fields[1] == "FLOCK" and fields[5] == file]


def _account_of_stranger(process_id: int) -> int | None:
    """Give whose a process is; None when it may be a daemon."""
    process = Path("/proc", str(process_id))
    try:
        account, command = process.stat().st_uid, (process / "cmdline").read_bytes()
    except OSError:
        return None
    return None if account in {0, os.geteuid()} or _PROGRAM in command else account


def _read(descriptor: int) -> bytes:
    """Read who has locked a file; nothing where a lock keeps readers out, too, as on SMB."""
    with suppress(OSError):
        return os.read(descriptor, 32)
    return b""


def _who_is(owner: str) -> str:
    """Name the process that has the lock of a root: it need not be a daemon."""
    words: list[str] = []
    with suppress(OSError, ValueError):
        words = Path(f"/proc/{int(owner)}/cmdline").read_text(errors="replace").split("\0")
    ours = [number for number, word in enumerate(words) if Path(word).name.replace("-", "_") == "imageguard_daemon"]
    command = words[ours[0] + 1] if ours and len(words) > ours[0] + 1 else "run"
    return f"another daemon (process {owner})" if command == "run" else f"`{command}` (process {owner})"


def running_process(state_folder: Path) -> int | None:
    """Give the process id of the daemon working on a root, 0 where it is not known; None when there is none."""
    owner = _owner_of(state_folder / "daemon.lock")
    if owner is None:
        owner = _owner_of(state_folder.parent)
    return None if owner is None else int(owner or 0)


def _owner_of(path: Path) -> bytes | None:
    """Give what is written in a file that somebody has locked, nothing for a folder; None when nobody has."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if lock_if_free(descriptor, fcntl.LOCK_SH) or _is_held_by_strangers(descriptor, path):
            return None
        return b"" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else _read(descriptor)
    except OSError:  # NFS locks no folder
        return None
    finally:
        os.close(descriptor)
