"""The hash chain over the rows of the log: how a row is written as bytes, and how links are added.

Each row of a chained table has one link in `chain`: its place in the one order of the log, and

    hash = SHA-256(previous hash + sequence + table + columns)

The first link's previous hash is 32 zero bytes. Every part after it is written as its length in decimal, a colon,
its bytes and a comma (a netstring). The columns are those that are not NULL, in the order of their names' bytes; each
is its name, then its value: `i` and the decimal number for an integer, `f` and the eight bytes of an IEEE 754
double (big endian) for a real, `t` and the bytes of a text, `b` and the bytes of a blob, all as SQLite stores them.
A column that a later migration adds is NULL in older rows, so their hashes stay right.

This form is for good: docs/decisions/0006-hash-chain.md says what it proves.
"""

import hashlib
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Any

import sqlalchemy as sa

from imageguard_daemon.audit.schema import CHAINED

ORIGIN = bytes(32)
"""What the first link follows."""

Linked = tuple[dict[str, Any], dict[str, Any] | None]
"""A link, and its row; None where the row is not there."""

_LINKS = "SELECT * FROM chain WHERE sequence > ? AND sequence <= ? ORDER BY sequence LIMIT ?"
_BATCH = 1_000
_IDS_AT_A_TIME = 500
_INSERT = "INSERT INTO chain (sequence, record_table, record_id, hash) VALUES (?, ?, ?, ?)"
_ENCODERS: dict[type, Callable[[Any], bytes]] = {
    int: lambda value: b"i%d" % value,
    float: lambda value: b"f" + struct.pack(">d", value),
    str: lambda value: b"t" + value.encode("utf-8", "surrogateescape"),
    bytes: lambda value: b"b" + value,
}


@dataclass(frozen=True, slots=True)
class Head:
    """A link of the chain that is or was the last one; `at` is when, where that is known."""

    sequence: int = 0
    hash: bytes = ORIGIN
    at: str = ""


def link_hash(previous: bytes, sequence: int, table: str, row: Mapping[str, object]) -> bytes:
    """Give the hash of the link at `sequence` for a row as SQLite stores it: column name -> value."""
    # Each part with its length before it: no two links have the same bytes.
    place = _netstring(b"%d" % sequence)
    of_table = _netstring(table.encode())
    return hashlib.sha256(previous + place + of_table + encoded(row)).digest()


def encoded(row: Mapping[str, object]) -> bytes:
    """Give a row as SQLite stores it as bytes, losslessly: the columns as they are hashed."""
    parts = []
    for name, name_as_bytes in _in_order(tuple(row)):
        value = row[name]
        if value is not None:
            content = _ENCODERS[type(value)](value)
            parts.append(b"%b%d:%b," % (name_as_bytes, len(content), content))
    return b"".join(parts)


def newest_ids(connection: sa.Connection, tables: Sequence[str]) -> dict[str, int]:
    """Give the largest id of each table; 0 where it is empty."""
    questions = ", ".join(f"(SELECT coalesce(max(id), 0) FROM {table})" for table in tables)
    newest = connection.exec_driver_sql(f"SELECT {questions}").one()
    return dict(zip(tables, newest, strict=True))


def head(connection: sa.Connection) -> Head:
    """Give the last link; the origin where there is none."""
    last = connection.exec_driver_sql("SELECT sequence, hash FROM chain ORDER BY sequence DESC LIMIT 1").first()
    return Head(last.sequence, last.hash) if last else Head()


def extend(connection: sa.Connection, after: Mapping[str, int]) -> Head:
    """Add links for all rows whose ids are larger than those in `after`, table by table, and give the last link.

    Must run in the transaction that adds the rows: then no row is ever without its link. Streams: memory does not
    grow with the number of rows.
    """
    new_rows = ((table, row) for table, last_id in after.items() for row in _rows(connection, table, last_id))
    return _append(connection, new_rows)


def link_again(connection: sa.Connection, table: str, ids: Sequence[int]) -> None:
    """Add new links for rows whose old ones are about to be archived; in the transaction that archives."""
    for start in range(0, len(ids), _IDS_AT_A_TIME):
        rows = _rows_with_ids(connection, table, ids[start : start + _IDS_AT_A_TIME])
        _append(connection, ((table, row) for row in rows))


def _append(connection: sa.Connection, rows: Iterable[tuple[str, dict[str, Any]]]) -> Head:
    """Add a link for each row of a table, in this order, and give the last link there is then."""
    last = head(connection)
    links = _links(last, rows)
    while batch := list(islice(links, _BATCH)):
        connection.exec_driver_sql(_INSERT, batch)
        sequence, _, _, link = batch[-1]
        last = Head(sequence, link)
    return last


def _links(last: Head, rows: Iterable[tuple[str, dict[str, Any]]]) -> Iterator[tuple[int, str, int, bytes]]:
    previous = last.hash
    for sequence, (table, row) in enumerate(rows, last.sequence + 1):
        previous = link_hash(previous, sequence, table, row)
        yield sequence, table, int(row["id"]), previous


def _rows(connection: sa.Connection, table: str, last_id: int) -> Iterator[dict[str, Any]]:
    """Read back what was stored, since that and not what was handed over is what can be checked later."""
    while True:
        result = connection.exec_driver_sql(
            f"SELECT * FROM {table} WHERE id > ? ORDER BY id LIMIT {_BATCH}",
            (last_id,),
        )
        names = list(result.keys())
        rows = result.fetchall()
        yield from (dict(zip(names, row, strict=True)) for row in rows)
        if len(rows) < _BATCH:
            return
        last_id = rows[-1][names.index("id")]


def linked_rows(connection: sa.Connection, after: int, until: int, most: int) -> list[Linked]:
    """Give the links after one up to another, with their rows and a maximum number of them."""
    found = connection.exec_driver_sql(_LINKS, (after, until, most))
    links = [dict(link) for link in found.mappings()]
    # A query for each table, not for each link: a walk over the chain reads millions.
    rows: dict[tuple[str, int], dict[str, Any]] = {}
    for table in CHAINED:
        ids = [link["record_id"] for link in links if link["record_table"] == table]
        rows |= {(table, row["id"]): row for row in _rows_with_ids(connection, table, ids)}
    return [(link, rows.get((link["record_table"], link["record_id"]))) for link in links]


def _rows_with_ids(connection: sa.Connection, table: str, ids: Sequence[int]) -> list[dict[str, Any]]:
    if not ids:
        return []
    marks = ",".join("?" * len(ids))
    query = f"SELECT * FROM {table} WHERE id IN ({marks}) ORDER BY id"
    return [dict(row) for row in connection.exec_driver_sql(query, tuple(ids)).mappings()]


@cache
def _in_order(columns: tuple[str, ...]) -> tuple[tuple[str, bytes], ...]:
    """Give the columns of a table in the order in which they are hashed, each with its name as bytes."""
    return tuple((column, _netstring(column.encode())) for column in sorted(columns))


def _netstring(content: bytes) -> bytes:
    return b"%d:%b," % (len(content), content)
