"""A part of the log as Parquet files, and the proof that they say what the log said. Needs the extra `parquet`.

One file for each table, with the rows in the order of the chain: a column `sequence`, the number of the row's link,
then the columns of the table as SQLite stores them. `chain.parquet` has the links themselves, `manifest.json` the
hashes of the files and between which hashes of the chain they lie. So an archive proves itself, without the log.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imageguard_daemon.audit.archive.plan import Anchor
from imageguard_daemon.audit.chain import Linked, link_hash, linked_rows
from imageguard_daemon.audit.rules import Kind
from imageguard_daemon.audit.schema import CHAINED, KINDS, LINK_KINDS
from imageguard_daemon.audit.store import Store
from imageguard_daemon.core.errors import (
    DataError,
    NoInputError,
    StorageError,
    UnavailableError,
    UsageError,
    unwritable,
)
from imageguard_daemon.core.files import fsync
from imageguard_daemon.core.regular_files import sha256_of

MANIFEST = "manifest.json"
FORMAT = 1
_PAGE = 1_000
_ROWS_A_GROUP = 5_000
_TYPES: Mapping[Kind, str] = {
    Kind.integer: "int64",
    Kind.number: "float64",
    Kind.text: "string",
    Kind.json: "string",
    Kind.blob: "binary",
}
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an archive says of itself; hashes are hexadecimal."""

    first_sequence: int
    last_sequence: int
    hash_before: str
    last_hash: str
    rows: Mapping[str, int]
    files: Mapping[str, str] = field(default_factory=dict)
    """File -> SHA-256."""

    def as_json(self) -> bytes:
        """Give the manifest's file."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return (json.dumps({"format": FORMAT} | values, indent=1, sort_keys=True) + "\n").encode()


def write_copy(log: Store, begin: Anchor, end: Anchor, folder: Path, progress: Progress) -> Manifest:
    """Write the links after `begin` up to `end`, with their rows, into an empty folder, durably.

    Reads page by page: a daemon may be writing. Every row is checked against its link.

    Raises:
        DataError: the log is not as it was written; `verify` names what is wrong.
        UsageError: pyarrow is not installed.
        StalledError, StorageError: the disk is full, or did not keep what was written.
    """
    pa, pq = _pyarrow()
    tables = {name: _Sink(pa, pq, folder, name) for name in ("chain", *CHAINED)}
    previous = begin.hash
    try:
        for link, row in _linked_rows(log, begin.sequence, end.sequence):
            previous = _checked(previous, link, row)
            tables["chain"].add(link)
            tables[link["record_table"]].add({"sequence": link["sequence"], **(row or {})})
            if link["sequence"] % _PAGE == 0:
                progress(link["sequence"] - begin.sequence)
        for table in tables.values():
            table.close()
    except OSError as error:
        raise unwritable(error, f"cannot write the archive {folder}") from error
    except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeError) as error:
        raise DataError(f"a record has a value that its column cannot have; see `verify`: {error}") from error
    # Each row was held against its link, each link against the one before; this says that none is missing at the end.
    if previous != end.hash:
        raise DataError("the log is not as it was written; see `verify`")
    return _finished(folder, begin, end, {name: table.rows for name, table in tables.items()})


def read_manifest(folder: Path) -> tuple[Manifest, str]:
    """Give an archive's manifest and its SHA-256.

    Raises:
        NoInputError: there is none that can be read.
    """
    try:
        content = (folder / MANIFEST).read_bytes()
        values = json.loads(content)
        if values.pop("format") != FORMAT:
            raise UnavailableError(f"{folder} was made by a newer version")
        return Manifest(**values), hashlib.sha256(content).hexdigest()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise NoInputError(f"{folder} is not an archive: it has no {MANIFEST} that can be read") from error


def check_copy(folder: Path, progress: Progress = lambda _done: None) -> Manifest:
    """Read an archive back and check every row against the chain.

    Raises:
        DataError: it is damaged or was changed; the message says where.
        NoInputError: a file is missing.
    """
    manifest, _ = read_manifest(folder)
    for name, sha256 in manifest.files.items():
        if _sha256_of(folder / name) != sha256:
            raise DataError(f"{folder / name} is not the file that was written")
    # Each file has its rows in the order of the chain: one pass over all of them side by side is enough.
    readers = {name: _rows_of(folder / f"{name}.parquet") for name in CHAINED}
    previous = bytes.fromhex(manifest.hash_before)
    sequence = manifest.first_sequence - 1
    for link in _rows_of(folder / "chain.parquet"):
        sequence += 1
        row = next(readers.get(link["record_table"], iter(())), None)
        if link["sequence"] != sequence or row is None or row.pop("sequence") != sequence:
            raise DataError(f"{folder}: link {sequence} has no record")
        previous = _checked(previous, link, row)
        if sequence % _PAGE == 0:
            progress(sequence - manifest.first_sequence)
    if (sequence, previous.hex()) != (manifest.last_sequence, manifest.last_hash):
        raise DataError(f"{folder}: its end is missing")
    for name, rows in readers.items():
        if next(rows, None) is not None:
            raise DataError(f"{folder}: {name} has a record that no link is of")
    return manifest


def _checked(previous: bytes, link: Mapping[str, Any], row: Mapping[str, Any] | None) -> bytes:
    name = f"{link['record_table']} {link['record_id']}"
    if row is None or link_hash(previous, link["sequence"], link["record_table"], row) != link["hash"]:
        raise DataError(f"{name} is not as it was written; nothing was archived, see `verify`")
    return bytes(link["hash"])


def _linked_rows(log: Store, after: int, until: int) -> Iterator[Linked]:
    while after < until:
        with log.reading() as connection:
            page = linked_rows(connection, after, until, _PAGE)
        if not page:
            raise DataError("links of the chain are missing; see `verify`")
        yield from page
        after = page[-1][0]["sequence"]


class _Sink:
    """One Parquet file being written."""

    def __init__(self, pa: Any, pq: Any, folder: Path, name: str) -> None:
        kinds = LINK_KINDS if name == "chain" else KINDS[name]
        types = [] if name == "chain" else [("sequence", "int64")]
        types += [(column, _TYPES[kind]) for column, kind in kinds.items()]
        self._pa = pa
        self._schema = pa.schema(types)
        self._waiting: list[dict[str, Any]] = []
        self.path = folder / f"{name}.parquet"
        self._writer = pq.ParquetWriter(self.path, self._schema, compression="zstd")
        self.rows = 0

    def add(self, row: dict[str, Any]) -> None:
        self._waiting.append(row)
        self.rows += 1
        if len(self._waiting) >= _ROWS_A_GROUP:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(self._pa.Table.from_pylist(self._waiting, schema=self._schema))
            self._waiting = []


def _finished(folder: Path, begin: Anchor, end: Anchor, rows: Mapping[str, int]) -> Manifest:
    try:
        files = {path.name: _synced(path) for path in sorted(folder.glob("*.parquet"))}
        manifest = Manifest(begin.sequence + 1, end.sequence, begin.hash.hex(), end.hash.hex(), rows, files)
        (folder / MANIFEST).write_bytes(manifest.as_json())
        _synced(folder / MANIFEST)
    except OSError as error:
        raise StorageError(f"the disk did not keep {folder}: {error.strerror}") from error
    return manifest


def _synced(path: Path) -> str:
    with path.open("rb") as file:
        fsync(file.fileno())
        return sha256_of(file.fileno())


def _sha256_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return sha256_of(file.fileno())
    except OSError as error:
        raise NoInputError(f"cannot read {path}: {error.strerror}") from error


def _rows_of(path: Path) -> Iterator[dict[str, Any]]:
    _, pq = _pyarrow()
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_ROWS_A_GROUP) if file.num_row_groups else ():  # pyarrow 18 raises
            yield from batch.to_pylist()


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError as error:
        raise UsageError("archives need pyarrow: pip install 'imageguard-daemon[parquet]'") from error
    return pa, pq
