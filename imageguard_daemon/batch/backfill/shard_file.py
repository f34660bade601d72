"""The result of one shard as a Parquet file. Its footer says what it is made of, and repeats the counts.

So that which shards are done, and what all of them come to, is known without reading a single row.
"""

import io
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, BinaryIO

from imageguard_daemon.batch.backfill.scoring import score_shard
from imageguard_daemon.batch.backfill.shards import FORMAT, RESULT_COLUMNS, Row, Task
from imageguard_daemon.batch.outputs import arrow_schema, pyarrow_for
from imageguard_daemon.batch.summary import Totals
from imageguard_daemon.errors import DataError

_KEY = b"imageguard_backfill"
_EXAMPLES = 5


class DamagedShardError(DataError):
    """A result is there and cannot be read as one."""


@dataclass(frozen=True, slots=True)
class Facts:
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

    @property
    def unread_rows(self) -> int:
        """How many rows have an error in place of a verdict."""
        return sum(self.unread.values())


@dataclass(frozen=True, slots=True)
class Made:
    """What comes back: the finished file, and what its footer says."""

    content: bytes
    facts: Facts


def make_result(task: Task) -> Made:
    """Score a shard and put its rows into the form they are kept in. This is what runs on an executor."""
    started = time.perf_counter()
    rows = sorted((*task.kept, *score_shard(task.shard)), key=_row_number)
    unread = Counter(str(row["error"]) for row in rows if row["error"] is not None)
    examples = [(str(row["path"]), str(row["error"])) for row in rows if row["error"] is not None][:_EXAMPLES]
    totals = Totals()
    for row in rows:
        if row["error"] is None:
            totals.add(row)
    seconds = round(time.perf_counter() - started, 3)
    made = (task.digest, task.terms, totals.as_plain(), dict(unread), examples, seconds)
    facts = Facts(task.shard.number, len(rows), *made)
    return Made(encoded(rows, facts), facts)


def _row_number(row: Row) -> int:
    return int(str(row["row"]))


def encoded(rows: Sequence[Row], facts: Facts) -> bytes:
    """Give a result as a file."""
    arrow, parquet = pyarrow_for("back-fill")
    schema = arrow_schema(RESULT_COLUMNS).with_metadata({_KEY: json.dumps(asdict(facts)).encode()})
    file = io.BytesIO()
    parquet.write_table(
        arrow.Table.from_pylist(list(rows), schema=schema), file, compression="zstd", write_page_checksum=True
    )
    return file.getvalue()


def read_facts(file: BinaryIO) -> Facts:
    """Read the footer of a result.

    Raises:
        DamagedShardError: it is no result, was cut off, or has other columns or fewer rows than it says.
    """
    _, parquet = pyarrow_for("back-fill")
    try:
        schema = parquet.ParquetFile(file).schema_arrow
        file.seek(0)
        rows = parquet.read_metadata(file).num_rows
        facts = Facts(**json.loads(schema.metadata[_KEY]))
    except Exception as error:
        raise DamagedShardError(f"no result of a back-fill, or a damaged one ({type(error).__name__})") from error
    if facts.format == FORMAT and (facts.rows != rows or tuple(schema.names) != RESULT_COLUMNS):
        raise DamagedShardError("a result with other columns, or fewer rows, than it should have")
    return facts


def read_rows(file: BinaryIO) -> list[Row]:
    """Read the rows of a result.

    Raises:
        DamagedShardError: they cannot be read.
    """
    _, parquet = pyarrow_for("back-fill")
    try:
        rows: list[Row] = parquet.ParquetFile(file, page_checksum_verification=True).read().to_pylist()
    except Exception as error:
        raise DamagedShardError(f"its rows cannot be read ({type(error).__name__})") from error
    return rows
