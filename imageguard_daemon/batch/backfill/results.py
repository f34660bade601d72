"""The folder of results: a file a shard, each put there whole, and a description of the run.

A file that is there is complete: it bears its name only when it is whole and durable. In an object store an object
appears as a whole by itself.
"""

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, BinaryIO, Protocol

from imageguard_daemon.batch.backfill.store import filesystem_of, is_url, local_path, patiently, sorted_error
from imageguard_daemon.core.errors import (
    DataError,
    FatalError,
    NoInputError,
    StorageError,
    unwritable,
)
from imageguard_daemon.core.file_lock import alone
from imageguard_daemon.core.files import is_hidden, sync_folder, written_whole
from imageguard_daemon.core.names import printable

DESCRIPTION = "_backfill.json"
_LOCK = "_backfill.lock"
SHARDS_IN_A_FOLDER = 1_000
_ATTEMPTS = 4


def name_of(number: int) -> str:
    """Give the name of a shard's result: so many share a folder that listing one stays quick."""
    return f"{number // SHARDS_IN_A_FOLDER:06d}/shard-{number:09d}.parquet"


class Storage(Protocol):
    """Where results are kept: names relative to it, with `/`."""

    def names(self, folder: str) -> set[str]:
        """Give the names in a folder of it, none if it is not there."""

    def open(self, name: str) -> BinaryIO:
        """Open a file for reading; FileNotFoundError if it is not there."""

    def write(self, name: str, content: bytes) -> None:
        """Put a file in place, whole and durable."""

    def remove(self, name: str) -> None:
        """Remove a file."""


class LocalStorage:
    """A folder of this machine, or of a file system mounted here."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def names(self, folder: str) -> set[str]:
        """Give the names in a folder."""
        try:
            return set(os.listdir(os.path.join(self._folder, folder)))
        except FileNotFoundError:
            return set()

    def open(self, name: str) -> BinaryIO:
        """Open a file for reading."""
        return open(os.path.join(self._folder, name), "rb")

    def write(self, name: str, content: bytes) -> None:
        """Write it whole; a folder made for it is durable, too."""
        path = os.path.join(self._folder, name)
        folder = os.path.dirname(path)
        if not os.path.isdir(folder):
            os.makedirs(folder, exist_ok=True)
            sync_folder(os.path.dirname(folder))
        with written_whole(path) as file:
            file.write(content)

    def remove(self, name: str) -> None:
        """Remove a file."""
        os.unlink(os.path.join(self._folder, name))


class ObjectStorage:
    """A prefix in an object store, through fsspec."""

    def __init__(self, url: str) -> None:
        self._system, self._prefix = filesystem_of(url)

    def names(self, folder: str) -> set[str]:
        """Give the names in a folder."""
        try:
            self._system.invalidate_cache()
            paths = self._system.ls(f"{self._prefix}/{folder}".rstrip("/"), detail=False)
        except FileNotFoundError:
            return set()
        return {str(name).rstrip("/").rpartition("/")[2] for name in paths}

    def open(self, name: str) -> BinaryIO:
        """Open a file for reading."""
        file: BinaryIO = self._system.open(f"{self._prefix}/{name}", "rb")
        return file

    def write(self, name: str, content: bytes) -> None:
        """Put an object: it appears when all of it has arrived."""

        def put() -> None:
            try:
                self._system.pipe_file(f"{self._prefix}/{name}", content)
            except NotImplementedError:
                raise
            except Exception as error:
                raise sorted_error(error) from error

        patiently(put, _ATTEMPTS)

    def remove(self, name: str) -> None:
        """Remove an object."""
        self._system.rm_file(f"{self._prefix}/{name}")


class Results:
    """The results of one back-fill. What the storage says in its own errors is said in ours."""

    def __init__(self, out: str) -> None:
        self._shown = printable(out)
        self._folder = "" if is_url(out) else local_path(out)
        self._storage: Storage = ObjectStorage(out) if is_url(out) else LocalStorage(self._folder)
        self._listed: tuple[str, set[str]] = ("", set())

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep a second run away from the folder; in an object store nothing does, and nothing is harmed by one.

        Raises:
            AlreadyRunningError: another run is writing there.
        """
        if not self._folder:
            yield
            return
        with ExitStack() as stack:
            with self._in_words("write"):
                os.makedirs(self._folder, exist_ok=True)
                lock = os.path.join(self._folder, _LOCK)
                stack.enter_context(alone(lock, f"another back-fill is writing to {self._shown}"))
            yield

    def has(self, number: int) -> bool:
        """Tell whether there is a result of a shard; asked in order, it lists each folder once."""
        folder, _, name = name_of(number).partition("/")
        if self._listed[0] != folder:
            with self._in_words("read"):
                self._listed = (folder, self._storage.names(folder))
        return name in self._listed[1]

    def numbers(self) -> Iterator[int]:
        """Yield the numbers of all shards that have a result, in order."""
        with self._in_words("read"):
            for folder in sorted(name for name in self._storage.names("") if name.isdigit()):
                for name in sorted(self._storage.names(folder)):
                    if name.startswith("shard-") and name.endswith(".parquet"):
                        yield int(name[len("shard-") : -len(".parquet")])

    def read(self, number: int) -> bytes:
        """Give the result of a shard."""
        with self._in_words("read"), self._storage.open(name_of(number)) as file:
            return file.read()

    def write(self, number: int, content: bytes) -> None:
        """Put the result of a shard in place."""
        with self._in_words("write"):
            self._storage.write(name_of(number), content)

    def remove(self, number: int) -> None:
        """Remove the result of a shard."""
        with self._in_words("write"):
            self._storage.remove(name_of(number))

    def description(self) -> dict[str, Any] | None:
        """Read what describes the run, None if there is nothing yet.

        Raises:
            DataError: it cannot be understood.
        """
        with self._in_words("read"):
            try:
                with self._storage.open(DESCRIPTION) as file:
                    description = json.loads(file.read())
            except FileNotFoundError:
                return None
            except ValueError:
                description = None
        if not isinstance(description, dict):
            raise DataError(f"{self._shown}/{DESCRIPTION} is not a description of a back-fill; name another --out")
        return description

    def describe(self, description: dict[str, Any]) -> None:
        """Put the description in place."""
        with self._in_words("write"):
            self._storage.write(DESCRIPTION, f"{json.dumps(description, indent=2)}\n".encode())

    def is_empty(self) -> bool:
        """Tell whether there is nothing there that is not ours."""
        with self._in_words("read"):
            return all(name in {_LOCK, DESCRIPTION} or is_hidden(name) for name in self._storage.names(""))

    @contextmanager
    def _in_words(self, doing: str) -> Iterator[None]:
        """Say in words what the storage refuses."""
        try:
            yield
        except FatalError:
            raise
        except NotADirectoryError as error:
            raise NoInputError(f"{self._shown} is not a folder") from error
        except FileNotFoundError:
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.strerror:
                raise unwritable(error, f"cannot {doing} {self._shown}") from error
            reason = printable(str(error) or type(error).__name__)
            raise StorageError(f"cannot {doing} {self._shown}: {reason}") from error
