"""Changing a log as somebody would who can write to its file."""

import sqlite3
from pathlib import Path


def tamper(path: Path, *statements: str, parameters: tuple[object, ...] = ()) -> None:
    """Drop what keeps the log append-only, then change it."""
    connection = sqlite3.connect(path, isolation_level=None)
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    for statement in statements:
        connection.execute(statement, parameters)
    connection.close()
