"""When roll-ups are written, and what becomes of them."""

import sqlite3
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from unittest.mock import patch

import pytest
import sqlalchemy as sa

from imageguard_daemon.audit import chain, rollups
from imageguard_daemon.audit.counts import Dimension, Scope
from imageguard_daemon.audit.opening import open_log
from imageguard_daemon.audit.queries import images_by_id
from imageguard_daemon.audit.writer import AuditWriter
from imageguard_daemon.core.errors import StalledError, UnavailableError
from imageguard_daemon.core.model import Outcome
from tests.helpers.audit_logs import NOON, ROOT, Judged, _judged_file, count_decisions, write_log

HOUR = timedelta(hours=1)


def rows(database: Path, table: str) -> int:
    """Count the rows of a table."""
    with sqlite3.connect(database) as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def counted(database: Path, **scope: object) -> int:
    """Count images as reports do."""
    with open_log(database) as log:
        [counts] = count_decisions(log, [(Dimension.class_,)], Scope(**scope))
    return sum(count.images for count in counts)


def test_an_hour_is_packed_when_it_is_over(tmp_path: Path) -> None:
    """The current hour waits in a table of its own; the next hour's first image packs it, with its totals."""
    database = write_log(tmp_path / "audit.db", [Judged(images=3), Judged("dog", "blurry", 2)])
    assert (rows(database, "rollup_recent"), rows(database, "rollup_hours")) == (5, 0)
    write_log(database, [Judged(decided_at=NOON + HOUR)])
    assert (rows(database, "rollup_recent"), rows(database, "rollup_hours")) == (1, 1)
    with sqlite3.connect(database) as connection:
        found = connection.execute("SELECT hour * 3600, images, rejected FROM rollup_hours").fetchone()
    assert found == (NOON.timestamp(), 5, 2)
    assert counted(database) == 6


def test_a_busy_hour_is_packed_in_parts(tmp_path: Path) -> None:
    """However many images an hour has, no more than a few thousand of them wait unpacked."""
    with patch.object(rollups, "MAX_RECENT", 4):
        database = write_log(tmp_path / "audit.db", [Judged(images=3) for _ in range(9)])
    assert rows(database, "rollup_recent") <= 4 + 3
    assert rows(database, "rollup_hours") > 1
    assert counted(database) == 27


def test_an_image_counts_when_its_move_is_recorded(tmp_path: Path) -> None:
    """A move that a crash interrupted counts once recovery has recorded it, in the hour it was judged in."""
    database = tmp_path / "audit.db"
    moments = [NOON]
    writer = AuditWriter(database, ROOT, now=lambda: moments[0])
    [[intent]] = writer.record_intents([_judged_file(Judged(), 1)])
    assert counted(database) == 0
    moments[0] = NOON + 30 * HOUR
    writer.record_outcomes([Outcome(intent.intent_id, "moved")])
    writer.close()
    assert counted(database, until=NOON + HOUR) == 1


def test_an_outcome_that_is_not_kept_leaves_no_rollup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Record and roll-up are one transaction: when it fails, neither is there, and the next try counts once."""
    database = tmp_path / "audit.db"
    writer = AuditWriter(database, ROOT, now=lambda: NOON)
    [[intent]] = writer.record_intents([_judged_file(Judged(), 1)])

    def fail(*_: object) -> None:
        raise sa.exc.OperationalError("", {}, sqlite3.OperationalError("disk is full"))

    with monkeypatch.context() as patched:
        patched.setattr(chain, "extend", fail)
        with pytest.raises(StalledError):
            writer.record_outcomes([Outcome(intent.intent_id, "moved")])
    assert (rows(database, "rollup_recent"), rows(database, "rollup_keys")) == (0, 0)
    writer.record_outcomes([Outcome(intent.intent_id, "moved")])
    writer.close()
    assert counted(database) == 1


def test_rollups_stay_when_records_are_archived(tmp_path: Path) -> None:
    """Rows that went to an archive are still counted; their names are not known any more."""
    database = write_log(tmp_path / "audit.db", [Judged(images=3), Judged("dog", "blurry", 2, decided_at=NOON + HOUR)])
    with sqlite3.connect(database) as connection:
        for table in ("outcomes", "intents", "decision_records"):
            connection.execute(f"DROP TRIGGER {table}_no_delete")
            connection.execute(f"DELETE FROM {table} WHERE id <= 3")
    assert counted(database) == 5
    with open_log(database) as log:
        assert set(images_by_id(log, [1, 2, 3, 4, 5])) == {4, 5}


def test_a_text_in_place_of_a_score_is_marked(tmp_path: Path) -> None:
    """A row that was not written by us counts, and is known to be unreadable."""
    database = write_log(tmp_path / "audit.db", [Judged(exposure=(0.0, 0.0))])
    with sqlite3.connect(database) as connection:
        connection.execute("DROP TRIGGER decision_records_no_update")
        connection.execute("UPDATE decision_records SET blur_score = 'sharp', measures = '{', decided_at = 'once'")
        connection.execute("DELETE FROM rollup_recent")
    engine = sa.create_engine(f"sqlite:///{database}")
    with engine.begin() as connection:
        rollups.rebuild(connection)
        flags, blur = connection.execute(sa.text("SELECT flags, blur_score FROM rollup_recent")).one()
    engine.dispose()
    assert (flags, blur) == (rollups.FLAG_UNREADABLE, None)
    assert counted(database) == 1


def test_a_log_from_before_there_were_rollups_says_what_to_do(tmp_path: Path) -> None:
    """Who reads an old log is told to start the daemon, and who reads something else that it is no log."""
    database = write_log(tmp_path / "audit.db", [])
    with sqlite3.connect(database) as connection:
        connection.execute("DROP TABLE rollup_hours")
    with pytest.raises(UnavailableError, match="older version; start the daemon once"):
        counted(database)
    with sqlite3.connect(tmp_path / "other.db") as connection:
        connection.execute("CREATE TABLE t (a)")
    with pytest.raises(UnavailableError, match="holds no decisions"):
        counted(tmp_path / "other.db")


def test_a_log_of_a_newer_version_is_not_read(tmp_path: Path) -> None:
    """What this version does not know may mean something else: the sentence says what to do."""
    database = write_log(tmp_path / "audit.db", [Judged()])
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(UnavailableError, match=r"newer version .*9999.*; update this one"):
        counted(database)


def plans(statements: Callable[[sa.Connection], None], database: Path) -> list[str]:
    """Give the query plan of every statement that is run on a writing connection."""
    found: list[str] = []

    def explain(connection: sa.Connection, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        plan = connection.connection.cursor().execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
        found.extend(row[-1] for row in plan)

    engine = sa.create_engine(f"sqlite:///{database}")
    sa.event.listen(engine, "before_cursor_execute", explain)
    with engine.begin() as connection:
        statements(connection)
    engine.dispose()
    return found


def test_the_writer_touches_only_what_is_new(tmp_path: Path) -> None:
    """Adding a group of outcomes scans no table of the log."""
    database = write_log(tmp_path / "audit.db", [Judged(images=3)])
    found = plans(lambda connection: rollups.add_moved(connection, 2), database)
    assert any("SEARCH o USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)" in line for line in found), found
    assert any("SEARCH k USING COVERING INDEX ix_rollup_keys_all" in line for line in found), found
    assert not [line for line in found if "SCAN" in line and "CONSTANT" not in line], found
