"""The log in the order of its chain: each link with its row, as SQLite stores it."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from imageguard_daemon.audit.schema import CHAINED

Linked = tuple[dict[str, Any], dict[str, Any] | None]
"""A link, and its row; None where the row is not there."""

_LINKS = "SELECT * FROM chain WHERE sequence > ? AND sequence <= ? ORDER BY sequence LIMIT ?"


def linked_rows(connection: sa.Connection, after: int, until: int, most: int) -> list[Linked]:
    """Give the links after one up to another, with their rows and a maximum number of them."""
    links = [dict(row) for row in connection.exec_driver_sql(_LINKS, (after, until, most)).mappings()]
    rows = {table: _rows_by_id(connection, table, links) for table in CHAINED}
    return [(link, rows.get(link["record_table"], {}).get(link["record_id"])) for link in links]


def _rows_by_id(connection: sa.Connection, table: str, links: Sequence[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    ids = [link["record_id"] for link in links if link["record_table"] == table]
    if not ids:
        return {}
    marks = ",".join("?" * len(ids))
    rows = connection.exec_driver_sql(f"SELECT * FROM {table} WHERE id IN ({marks})", tuple(ids)).mappings()
    return {row["id"]: dict(row) for row in rows}
