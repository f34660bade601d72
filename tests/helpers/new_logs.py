"""New audit logs without their migrations, which take a twentieth of a second each: from what one run of them made."""

import functools
import sqlite3
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from imageguard_daemon.audit import database

if TYPE_CHECKING:
    from alembic.config import Config

_real = database._upgrade


@contextmanager
def made_at_once() -> Iterator[None]:
    """Let what opens an empty file as a log find the tables there; logs of earlier versions are migrated as ever."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "_upgrade", _upgrade)
        yield


def _upgrade(connection: sa.Connection, config: "Config", on_progress: Callable[[], None]) -> None:
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    if driver.execute("SELECT count(*) FROM sqlite_master").fetchone() != (0,):
        _real(connection, config, on_progress)
        return
    statements, of_template = _template()
    for statement in statements:
        driver.execute(statement.replace(of_template, str(uuid.uuid4())))  # each log has a name of its own


@functools.cache
def _template() -> tuple[list[str], str]:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "_upgrade", _real)
        database.open_for_writing(Path(folder) / "audit.db").dispose()
        log = sqlite3.connect(Path(folder) / "audit.db")
        try:
            statements = [one for one in log.iterdump() if one not in {"BEGIN TRANSACTION;", "COMMIT;"}]
            [[name]] = log.execute("SELECT log_uuid FROM forwarding").fetchall()
        finally:
            log.close()
    return statements, name
