"""The hash chain over real logs: its form, its growth, its migration, and what its check finds."""

import hashlib
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from imageguard_daemon.audit import chain, quarantine_queries
from imageguard_daemon.audit.chain_check import ChainCheck
from imageguard_daemon.audit.database import open_for_writing
from imageguard_daemon.audit.opening import open_log, open_log_for_checking
from imageguard_daemon.audit.writer import AuditWriter
from imageguard_daemon.core.errors import UnavailableError
from tests.helpers.audit_logs import Judged, write_log
from tests.helpers.tampering import tamper


def faults(path: Path) -> list[str]:
    """Name the records the check finds fault with."""
    with open_log_for_checking(path) as log:
        return [fault.record for fault in ChainCheck(log).faults()]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Three images: nine records, nine links."""
    return write_log(tmp_path / "audit.db", [Judged(images=2), Judged(reason="blurry")])


def test_the_form_of_a_link_is_the_documented_one() -> None:
    """Whoever follows the description, in any language, gets this hash; a change would break every log there is."""
    row = {"b": "\u00e9\udcff", "a": -5, "d": b"\x00", "c": 0.5, "e": None}
    written = (
        bytes(32)
        + b"1:7,7:intents,"
        + b"1:a,3:i-5,"
        + b"1:b,4:t\xc3\xa9\xff,"
        + b"1:c,9:f\x3f\xe0\0\0\0\0\0\0,"
        + b"1:d,2:b\0,"
    )
    assert chain.link_hash(chain.ORIGIN, 7, "intents", row) == hashlib.sha256(written).digest()


def test_a_log_as_the_daemon_wrote_it_has_no_faults(log: Path) -> None:
    """Every record has its link, over several transactions and starts."""
    write_log(log, [Judged(images=3)])
    assert faults(log) == []
    rows = sqlite3.connect(log).execute("SELECT record_table, count(*) FROM chain GROUP BY 1").fetchall()
    assert dict(rows) == {"decision_records": 6, "intents": 6, "outcomes": 6}


def test_the_order_of_the_log_is_a_sequence_whatever_the_clock_says(log: Path) -> None:
    """A clock set back ten years changes neither the order nor the verdict on the log."""
    write_log(log, [Judged("late", decided_at=datetime(2015, 1, 1, tzinfo=UTC))])
    connection = sqlite3.connect(log)
    query = """SELECT r.class FROM chain c JOIN decision_records r ON r.id = c.record_id
               WHERE c.record_table = 'decision_records' ORDER BY c.sequence"""
    assert connection.execute(query).fetchall()[-1] == ("late",)
    assert faults(log) == []


def test_an_empty_log_has_nothing_to_find(tmp_path: Path) -> None:
    """A daemon that has judged nothing yet is right."""
    open_for_writing(tmp_path / "audit.db").dispose()
    assert faults(tmp_path / "audit.db") == []


@pytest.mark.parametrize(
    ("statements", "named"),
    [
        (["UPDATE decision_records SET verdict = 'accepted' WHERE id = 3"], {"decision_records 3"}),
        (["UPDATE intents SET sha256 = 'x' WHERE id = 2"], {"intents 2"}),
        (["UPDATE outcomes SET detail = CAST(x'ff' AS TEXT) WHERE id = 1"], {"outcomes 1"}),
        (["UPDATE outcomes SET detail = x'41' WHERE id = 1"], {"outcomes 1"}),
        (["DELETE FROM outcomes WHERE id = 3"], {"outcomes 3"}),
        (["UPDATE chain SET hash = zeroblob(32) WHERE sequence = 4"], {"intents 2"}),
        (["UPDATE chain SET hash = 'text' WHERE sequence = 9"], {"outcomes 3"}),
        (["UPDATE chain SET record_table = 'passwords' WHERE sequence = 9"], {"chain 9", "outcomes 3"}),
        (["UPDATE chain SET record_id = 1000000000000 WHERE sequence = 9"], {"outcomes 1000000000000", "outcomes 3"}),
        (["DELETE FROM chain WHERE sequence = 8"], {"chain 8"}),
        (
            [
                "UPDATE intents SET id = -2 WHERE id = 1",
                "UPDATE intents SET id = 1 WHERE id = 2",
                "UPDATE intents SET id = 2 WHERE id = -2",
            ],
            {"intents 1", "intents 2"},
        ),
        (
            [
                "UPDATE chain SET sequence = -1 WHERE sequence = 8",
                "UPDATE chain SET sequence = 8 WHERE sequence = 9",
                "UPDATE chain SET sequence = 9 WHERE sequence = -1",
            ],
            {"intents 3", "outcomes 3"},
        ),
        (["INSERT INTO outcomes VALUES (9, 99, 'moved', '', '')"], {"outcomes 9"}),
        (["INSERT INTO outcomes VALUES (-9, 99, 'moved', '', '')"], {"outcomes -9"}),
        (["DELETE FROM outcomes WHERE id = 3", "DELETE FROM chain WHERE sequence = 9"], {"chain 9", "outcomes 3"}),
    ],
)
def test_what_was_done_to_the_log_is_named(log: Path, statements: list[str], named: set[str]) -> None:
    """Changed, removed, inserted, reordered and cut-off records are each found under their names."""
    tamper(log, *statements)
    assert named <= set(faults(log))
    assert len(faults(log)) <= 3


def test_a_record_inserted_before_the_next_start_is_not_made_legitimate(log: Path) -> None:
    """The writer links only what it adds itself."""
    tamper(log, "INSERT INTO outcomes VALUES (50, 99, 'moved', '', '')")
    write_log(log, [Judged()])
    assert faults(log) == ["outcomes 50"]


def test_a_transaction_that_fails_leaves_no_link(tmp_path: Path, log: Path) -> None:
    """Records and links are added together or not at all."""
    writer = AuditWriter(log, tmp_path)
    with pytest.raises(UnavailableError):
        writer.record_relocations([(1, "/a", "x", 1), (1, "/b", None, 1)])  # type: ignore[list-item]
    writer.record_relocations([(1, "/a", "x", 1)])
    writer.close()
    assert faults(log) == []
    assert sqlite3.connect(log).execute("SELECT max(sequence) FROM chain").fetchone() == (10,)


@pytest.mark.parametrize(
    "statement", ["UPDATE {0} SET {1} = {1} + 1", "DELETE FROM {0}", "INSERT OR REPLACE INTO {0} SELECT * FROM {0}"]
)
def test_links_are_never_changed_by_accident(log: Path, statement: str) -> None:
    """The chain's own rows are as append-only as the records."""
    connection = sqlite3.connect(log)
    with pytest.raises(sqlite3.IntegrityError, match="chain is append-only"):
        connection.execute(statement.format("chain", "sequence"))


def old_log(path: Path, images: int) -> None:
    """Make a log as version 0.1.0 left it."""
    engine = sa.create_engine(f"sqlite:///{path}", poolclass=sa.StaticPool)
    config = Config()
    config.set_main_option("script_location", "imageguard_daemon.audit:migrations")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        fill = "INSERT INTO outcomes SELECT value, value, 'moved', '', '' FROM generate_series(1, ?)"
        fill = fill.replace(
            "generate_series(1, ?)",
            "(WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < ?) SELECT * FROM n)",
        )
        connection.exec_driver_sql(fill, (images,))
    engine.dispose()


@pytest.mark.parametrize("images", [0, 1, 2_500])
def test_the_records_of_an_older_log_are_chained(tmp_path: Path, images: int) -> None:
    """A log from before there was a chain gets one over all its rows, however many batches that takes."""
    path = tmp_path / "audit.db"
    old_log(path, images)
    with pytest.raises(UnavailableError, match="older version"):
        open_log_for_checking(path)
    open_for_writing(path).dispose()
    assert faults(path) == []
    if images:
        tamper(path, "UPDATE outcomes SET outcome = 'lost' WHERE id = ?", parameters=(images,))
        assert faults(path) == [f"outcomes {images}"]


_BEFORE_BORDERLINE = """
INSERT INTO decision_records (id, decided_at, host, source, class, relative_path, sha256, size_bytes, verdict, reason,
    issues, detail, score, exposure_score, measures, preset, profile, scorer_version, image_format, camera, duration_ms)
VALUES (1, '2025-03-01T11:00:00.000Z', 'h', 's', 'cat', 'cat/1.jpg', 'ab', 9, 'quarantined', 'blurry', '["blurry"]', '',
    0.4, 50.0, '{}', 'general', '{"blur_score": 40.0}', '2', 'JPEG', '', 1.0);
INSERT INTO intents VALUES (1, 1, 'image', x'61', x'62', 'b', 'ab', 1, 1, 9, 1, 1,
    '2025-03-01T11:00:00.000Z', NULL, NULL);
INSERT INTO outcomes VALUES (1, 1, 'moved', '', '2025-03-01T11:00:00.000Z')
"""


def test_a_log_of_before_borderline_is_brought_up_to_date_with_its_chain(tmp_path: Path) -> None:
    """Older rows do not know whether they are borderline, and their links stay right beside those of newer rows."""
    path = tmp_path / "audit.db"
    engine = sa.create_engine(f"sqlite:///{path}", poolclass=sa.StaticPool)
    config = Config()
    config.set_main_option("script_location", "imageguard_daemon.audit:migrations")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0008")
        for statement in _BEFORE_BORDERLINE.split(";\n"):
            connection.exec_driver_sql(statement)
        chain.extend(connection, dict.fromkeys(("decision_records", "intents", "outcomes"), 0))
    engine.dispose()
    with open_log(path) as log, pytest.raises(UnavailableError, match="start the daemon once"):
        quarantine_queries.page(log, quarantine_queries.Selection())
    write_log(path, [Judged(reason="blurry", borderline=True), Judged()])
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT borderline, code FROM decisions ORDER BY id").fetchall()
        assert rows == [(None, None), (1, None), (0, None)]
        assert connection.execute("SELECT flags FROM rollup_recent").fetchall() == [(8,), (0,)]
    assert faults(path) == []
    tamper(path, "UPDATE decision_records SET borderline = 1 WHERE id = 1")
    assert faults(path) == ["decision_records 1"]


def test_a_long_upgrade_shows_that_it_goes_on(tmp_path: Path) -> None:
    """Whoever waits for an upgrade of many records hears of it again and again."""
    path, heard = tmp_path / "audit.db", []
    old_log(path, 50_000)
    open_for_writing(path, lambda: heard.append(1)).dispose()
    assert len(heard) > 20
    before = len(heard)
    open_for_writing(path, lambda: heard.append(1)).dispose()
    assert len(heard) < before + 20


def test_checking_sees_one_moment(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a daemon records during the walk is neither missing nor unlinked."""
    engine = open_log_for_checking(log)
    check = ChainCheck(engine)
    write_log(log, [Judged(images=4)])
    assert list(check.faults()) == []
    assert check.sequence == 9
    engine.close()


def test_a_head_noted_earlier_is_met(log: Path) -> None:
    """A head stays part of a chain that only grew."""
    engine = open_log_for_checking(log)
    first = ChainCheck(engine)
    list(first.faults())
    write_log(log, [Judged()])
    second = ChainCheck(engine, [first.head, b"x" * 32])
    list(second.faults())
    assert second.met == {first.head}
    assert second.head != first.head
    engine.close()


def test_what_is_no_log_is_said_to_be_none(tmp_path: Path) -> None:
    """Another program's database is refused in our own words."""
    connection = sqlite3.connect(tmp_path / "audit.db")
    connection.execute("CREATE TABLE mine (id INTEGER)")
    connection.close()
    with pytest.raises(UnavailableError, match="holds no decisions"):
        open_log_for_checking(tmp_path / "audit.db")
