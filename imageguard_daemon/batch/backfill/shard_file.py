"""The result of one shard as a Parquet file. Its footer says what it is made of, and repeats the counts.

So that which shards are done, and what all of them come to, is known without reading a single row. It has a digest of
the whole file, too: one that is damaged anywhere is not taken for done.
"""

import hashlib
import io
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from imageguard_daemon.batch.backfill.scoring import score_in_worker
from imageguard_daemon.batch.backfill.shards import FORMAT, RESULT_COLUMNS, Row, ShardTask
from imageguard_daemon.batch.judging import real_name
from imageguard_daemon.batch.outputs import arrow_schema, pyarrow_for
from imageguard_daemon.batch.scan_summary import Totals
from imageguard_daemon.core.errors import DataError
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
    rows = sorted((*task.kept, *score_in_worker(task.shard)), key=_row_number)
    unread = Counter(str(row["error"]) for row in rows if row["error"] is not None)
    examples = [(real_name(row, "path"), str(row["error"])) for row in rows if row["error"] is not None][:_EXAMPLES]
    totals = Totals()
    for row in rows:
        if row["error"] is None:
            totals.add(row)
    seconds = round(time.perf_counter() - started, 3)
    footer = Footer(
        number=task.shard.number,
        rows=len(rows),
        digest=task.digest,
        terms=task.terms,
        totals=totals.as_plain(),
        unread=dict(unread),
        examples=examples,
        seconds=seconds,
        code=loops_here(),
    )
    return ShardResult(encoded(rows, footer), footer)


def _row_number(row: Row) -> int:
    return int(str(row["row"]))


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
    if hashlib.sha256(content[:at] + _NO_DIGEST + content[end:]).hexdigest().encode() != content[at:end]:
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
        rows: list[Row] = parquet.ParquetFile(io.BytesIO(content), page_checksum_verification=True).read().to_pylist()
    except Exception as error:
        raise DamagedShardError(f"its rows cannot be read ({type(error).__name__})") from error
    return rows
