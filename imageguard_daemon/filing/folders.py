"""Folders held by descriptor, and made durable: below trusted roots no symbolic link put there by others is followed.

Files and folders are made durable several at a time: disks keep much at once as quickly as little. One after another,
sixty small files take as long as sixty turns of the disk, each behind whatever else it has to do; asked for at once,
they share them. The threads do nothing but wait in fsync(2).
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Self

from imageguard_daemon.core.errors import ElsewhereError, StalledError, StorageError
from imageguard_daemon.core.files import fsync
from imageguard_daemon.core.names import printable
from imageguard_daemon.filing.mounts import Mounts
from imageguard_daemon.filing.renaming import Name

_AT_A_TIME = 8
_FEW = 8
"""So many are done before threads would be awake."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def sync(descriptor: int, what: str) -> None:
    """Fsync, and treat a refusal as final: a second fsync may succeed without having written anything.

    Raises:
        StorageError: the disk refused; what it holds is uncertain from now on.
    """
    try:
        fsync(descriptor)
    except OSError as error:
        raise StorageError(
            f"the disk did not keep {printable(what)}: {error.strerror}; nothing more is moved"
        ) from error


def sync_all(files: Sequence[tuple[int, str]]) -> None:
    """Fsync open files and folders, each with what it is called; when this returns, all of them are durable.

    Raises:
        StorageError: the disk refused one of them.
    """
    if len(files) <= _FEW:
        for descriptor, what in files:
            sync(descriptor, what)
        return
    waits = [_threads().submit(sync, descriptor, what) for descriptor, what in files]
    errors = [error for wait in waits if (error := wait.exception()) is not None]  # none is still at it afterwards
    if errors:
        raise errors[0]


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_AT_A_TIME, thread_name_prefix="sync")


class Folders:
    """The folders one batch of moves works in; opened once, synced together, then let go.

    `roots` are the inboxes and destinations of the configuration. They may be reached through links; nothing below
    them may.
    """

    def __init__(self, roots: Sequence[str], mounts: Mounts | None = None) -> None:
        self._mounts = mounts
        self._roots = sorted(roots, key=len, reverse=True)
        self._open: dict[str, int] = {}
        self._gone: list[int] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def descriptor(self, path: str, *, make: bool = False) -> int:
        """Give a descriptor of the folder at `path`, which must lie in one of the roots.

        With `make`, missing folders below the root are created durably. Raises OSError: ENOENT when it is missing,
        ENOTDIR or ELOOP when a file or a link is in its place; StalledError when the root itself is missing,
        ElsewhereError when the path is in none.
        """
        if path not in self._open:
            self._open[path] = self._reach(path, make=make)
        return self._open[path]

    def name_of(self, path: str, *, make: bool = False) -> Name:
        """Give the path of a file as a name in its folder; for `make` and errors see `descriptor`."""
        folder, name = os.path.split(path)
        return Name(self.descriptor(folder, make=make), name)

    def made_anew(self, path: str) -> int:
        """Give a descriptor of a folder that went while it was in use, made again; for errors see `descriptor`.

        Whoever holds the old descriptor may go on using it.
        """
        if path in self._open:
            self._gone.append(self._open.pop(path))
        return self.descriptor(path, make=True)

    def root_of(self, path: str) -> str:
        """Say in which of the roots a folder lies.

        Raises:
            ElsewhereError: it lies in none.
        """
        root = next((r for r in self._roots if path == r or path.startswith(f"{r}/")), None)
        if root is None:
            raise ElsewhereError(f"{printable(path)} is in no folder that the configuration names")
        return root

    def sync(self) -> None:
        """Make all that changed in these folders durable.

        Raises:
            StorageError: the disk refused; what it holds is uncertain from now on.
        """
        sync_all([(descriptor, path) for path, descriptor in self._open.items()])

    def close(self) -> None:
        """Let go of all folders."""
        while self._gone:
            os.close(self._gone.pop())
        while self._open:
            os.close(self._open.popitem()[1])

    def _reach(self, path: str, *, make: bool) -> int:
        root = self.root_of(path)
        descriptor = self._open_root(root)
        for part in path[len(root) :].split("/"):
            if not part:
                continue
            try:
                below = _enter(descriptor, part, make=make)
            finally:
                os.close(descriptor)
            descriptor = below
        return descriptor

    def _open_root(self, root: str) -> int:
        try:
            descriptor = os.open(root, _FOLDER)
        except FileNotFoundError as error:  # not the file's fault: most likely a mount is missing
            raise StalledError(f"{printable(root)} is not there") from error
        try:
            if self._mounts is not None:
                self._mounts.check(root, os.fstat(descriptor).st_dev)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor


def _enter(parent: int, name: str, *, make: bool) -> int:
    try:
        return os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=parent)
    except FileNotFoundError:
        if not make:
            raise
    try:
        os.mkdir(name, dir_fd=parent)
    except FileExistsError:
        pass  # somebody was faster
    else:
        sync(parent, name)
    # No link is followed here either: others may have put one in its place since.
    return os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=parent)
