"""The folder of results: a Parquet file a shard, each put there whole, and a description of the run.

A file that is there is complete: it bears its name only when it is whole and durable. In an object store an object
appears as a whole by itself. Its footer says what it is made of, and repeats the counts, so that which shards are done,
and what all of them come to, is known without reading a row. It has a digest of the whole file, too: one that is
damaged anywhere is not taken for done.
"""

import hashlib
import io
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, BinaryIO

from imageguard_daemon.batch.backfill.scoring import score_in_worker
from imageguard_daemon.batch.backfill.shards import FORMAT, RESULT_COLUMNS, Row, ShardTask
from imageguard_daemon.batch.backfill.store import filesystem_of, is_url, local_path, patiently, sorted_error
from imageguard_daemon.batch.judging import real_name
from imageguard_daemon.batch.measuring import Unread
from imageguard_daemon.batch.outputs import arrow_schema, pyarrow_for
from imageguard_daemon.batch.scan_summary import Totals
from imageguard_daemon.core.errors import (
    DataError,
    FatalError,
    NoInputError,
    StorageError,
    unwritable,
)
from imageguard_daemon.core.files import alone, is_hidden, sync_folder, written_whole
from imageguard_daemon.core.names import printable
from imageguard_daemon.quality.version import loops_here

_KEY, _DIGEST_KEY = b"imageguard_backfill", b"imageguard_sha256"
_NO_DIGEST = b"0" * 64
"""What stands in place of the digest while it is taken: a file cannot have a digest of itself."""
_EXAMPLES = 5


class DamagedShardError(DataError):
    """A result is there and cannot be read as one."""


@dataclass(frozen=True, slots=True)
class Footer:
    """What the footer of a result says.

    `digest` is that of the shard's rows in the manifest, `terms` the mark of the settings, `totals` the counts,
    `unread` how many images could not be read for which reason, with `examples` by name.
    """

    number: int
    rows: int
    digest: str
    terms: str
    totals: dict[str, Any]
    unread: dict[str, int] = field(default_factory=dict)
    examples: list[tuple[str, str]] = field(default_factory=list)
    seconds: float = 0.0
    format: int = FORMAT
    code: str = ""
    """What took the features: `compiled` code or `NumPy`."""

    @property
    def unread_rows(self) -> int:
        """How many rows have an error in place of a verdict."""
        return sum(self.unread.values())


@dataclass(frozen=True, slots=True)
class ShardResult:
    """What comes back: the finished file, and what its footer says."""

    content: bytes
    footer: Footer


def make_result(task: ShardTask) -> ShardResult:
    """Score a shard and put its rows into the form they are kept in. This is what runs on an executor."""
    started = time.perf_counter()
    rows = sorted((*task.kept, *score_in_worker(task.shard)), key=lambda row: int(str(row["row"])))
    totals, unread = Totals(), Unread()
    for row in rows:
        if row["error"] is None:
            totals.add(row)
        else:
            unread.add(real_name(row, "path"), str(row["error"]))
    footer = Footer(
        number=task.shard.number,
        rows=len(rows),
        digest=task.digest,
        terms=task.terms,
        totals=totals.as_plain(),
        unread=dict(unread.reasons),
        examples=unread.examples[:_EXAMPLES],
        seconds=round(time.perf_counter() - started, 3),
        code=loops_here(),
    )
    return ShardResult(encoded(rows, footer), footer)


def encoded(rows: Sequence[Row], footer: Footer) -> bytes:
    """Give a result as a file."""
    arrow, parquet = pyarrow_for("back-fill")
    schema, file = arrow_schema(RESULT_COLUMNS), io.BytesIO()
    with parquet.ParquetWriter(file, schema, compression="zstd", write_page_checksum=True) as writer:
        writer.write_table(arrow.Table.from_pylist(list(rows), schema=schema))
        writer.add_key_value_metadata({_KEY: json.dumps(asdict(footer)).encode(), _DIGEST_KEY: _NO_DIGEST})
    content = bytearray(file.getvalue())
    at = _digest_at(content)
    content[at : at + len(_NO_DIGEST)] = hashlib.sha256(content).hexdigest().encode()
    return bytes(content)


def _digest_at(content: bytes | bytearray) -> int:
    """Say where the digest stands: in the footer, behind its key and two bytes with its length."""
    return content.rindex(_DIGEST_KEY) + len(_DIGEST_KEY) + 2


def _require_whole(content: bytes) -> None:
    at = content.rfind(_DIGEST_KEY)
    if at < 0:
        return  # of an earlier version, or no result at all
    at, end = _digest_at(content), _digest_at(content) + len(_NO_DIGEST)
    as_hashed = content[:at] + _NO_DIGEST + content[end:]
    if hashlib.sha256(as_hashed).hexdigest().encode() != content[at:end]:
        raise DamagedShardError("a damaged result: its bytes are not those that were written")


def read_footer(content: bytes) -> Footer:
    """Read the footer of a result, and prove that all of the file is as it was written.

    Raises:
        DamagedShardError: it is not a result, was cut off, is damaged, or has other columns or fewer rows than it says.
    """
    _, parquet = pyarrow_for("back-fill")
    _require_whole(content)
    try:
        read = parquet.ParquetFile(io.BytesIO(content))
        schema, rows, metadata = read.schema_arrow, read.metadata.num_rows, read.metadata.metadata
        footer = Footer(**json.loads(metadata[_KEY]))
    except Exception as error:
        raise DamagedShardError(f"no result of a back-fill, or a damaged one ({type(error).__name__})") from error
    if footer.format == FORMAT and (
        footer.rows != rows or tuple(schema.names) != RESULT_COLUMNS or _DIGEST_KEY not in metadata
    ):
        raise DamagedShardError(
            "a result with other columns, or fewer rows, than it should have, or without its digest"
        )
    return footer


def read_rows(content: bytes) -> list[Row]:
    """Read the rows of a result.

    Raises:
        DamagedShardError: they cannot be read.
    """
    _, parquet = pyarrow_for("back-fill")
    try:
        file = parquet.ParquetFile(io.BytesIO(content), page_checksum_verification=True)
        rows: list[Row] = file.read().to_pylist()
    except Exception as error:
        raise DamagedShardError(f"its rows cannot be read ({type(error).__name__})") from error
    return rows


DESCRIPTION = "_backfill.json"
_LOCK = "_backfill.lock"
SHARDS_IN_A_FOLDER = 1_000
_ATTEMPTS = 4


def name_of(number: int) -> str:
    """Give the name of a shard's result: so many share a folder that listing one stays quick."""
    return f"{number // SHARDS_IN_A_FOLDER:06d}/shard-{number:09d}.parquet"


class LocalStorage:
    """A folder of this machine, or of a file system mounted here; names are relative to it, with `/`."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def names(self, folder: str) -> set[str]:
        """Give the names in a folder, none if it is not there."""
        try:
            return set(os.listdir(os.path.join(self._folder, folder)))
        except FileNotFoundError:
            return set()

    def open(self, name: str) -> BinaryIO:
        """Open a file for reading; FileNotFoundError if it is not there."""
        return open(os.path.join(self._folder, name), "rb")

    def write(self, name: str, content: bytes) -> None:
        """Write it whole; a folder made for it is durable, too."""
        path = os.path.join(self._folder, name)
        folder = os.path.dirname(path)
        if not os.path.isdir(folder):
            os.makedirs(folder, exist_ok=True)
            # Else a power cut could take the folder with all results in it, though each of them was synced.
            sync_folder(os.path.dirname(folder))
        with written_whole(path) as file:
            file.write(content)

    def remove(self, name: str) -> None:
        """Remove a file."""
        os.unlink(os.path.join(self._folder, name))


class ObjectStorage:
    """A prefix in an object store, through fsspec; it has the methods of `LocalStorage`."""

    def __init__(self, url: str) -> None:
        self._system, self._prefix = filesystem_of(url)

    def names(self, folder: str) -> set[str]:
        """Give the names in a folder, none if it is not there."""
        try:
            self._system.invalidate_cache()  # fsspec remembers listings, and would not see what came since
            paths = self._system.ls(f"{self._prefix}/{folder}".rstrip("/"), detail=False)
        except FileNotFoundError:
            return set()
        return {str(name).rstrip("/").rpartition("/")[2] for name in paths}

    def open(self, name: str) -> BinaryIO:
        """Open a file for reading; FileNotFoundError if it is not there."""
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
        self._storage = LocalStorage(self._folder) if self._folder else ObjectStorage(out)
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
