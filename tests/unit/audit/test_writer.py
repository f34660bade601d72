"""The audit log's only writer, on real SQLite."""

import dataclasses
import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from imageguard_daemon.audit import database
from imageguard_daemon.audit.schema import VIEW_COLUMNS
from imageguard_daemon.audit.writer import AuditWriter
from imageguard_daemon.core.errors import StalledError, UnavailableError
from imageguard_daemon.core.model import FileIdentity, Intent, JudgedFile, Outcome
from tests.helpers.records import UNDECODABLE, judged

NOON_IN_TOKYO = datetime(2025, 3, 1, 12, tzinfo=timezone(timedelta(hours=9)))
TABLES = ("decision_records", "intents", "outcomes")
SHA256 = "ab" * 32


@pytest.fixture
def writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AuditWriter]:
    """A writer that is not patient with a locked database."""
    monkeypatch.setattr(database, "BUSY_TIMEOUT_MS", 10)
    writer = AuditWriter(tmp_path / "audit.db", tmp_path, now=lambda: NOON_IN_TOKYO)
    yield writer
    writer.close()


@pytest.fixture
def other(tmp_path: Path, writer: AuditWriter) -> Iterator[sqlite3.Connection]:
    """Another program's connection to the same log."""
    connection = sqlite3.connect(tmp_path / "audit.db", isolation_level=None)
    connection.row_factory = sqlite3.Row
    yield connection
    connection.close()


def about(root: Path, name: str = "cat/1.jpg", sha256: str = SHA256, **identity: int) -> Intent:
    """Give an intent; the writer does not look at the files themselves."""
    state = FileIdentity(**dict.fromkeys(("device", "inode", "size_bytes", "mtime_ns", "ctime_ns"), 7) | identity)
    return Intent("image", f"{root}/inbox/{name}", f"{root}/accepted/{name}", sha256, state)


def sidecar(image: Intent) -> Intent:
    """Give the intent of a label file beside an image."""
    paths = {key: getattr(image, key) + ".txt" for key in ("source_path", "destination_path")}
    return dataclasses.replace(image, role="sidecar", **paths)


def record(writer: AuditWriter, *files: JudgedFile, outcome: str | None = "moved") -> list[int]:
    """Record files and what became of their images; give the image intents' ids."""
    ids = [intents[0].intent_id for intents in writer.record_intents(files)]
    if outcome:
        writer.record_outcomes([Outcome(number, outcome) for number in ids])  # type: ignore[arg-type]
    return ids


def view(other: sqlite3.Connection) -> list[dict[str, Any]]:
    """Give the rows of the public view."""
    return [dict(row) for row in other.execute("SELECT * FROM decisions ORDER BY id")]


def count(other: sqlite3.Connection) -> dict[str, int]:
    """Give the number of rows in each table."""
    return {table: other.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES}


def test_the_view_shows_a_filed_image_as_documented(
    writer: AuditWriter, other: sqlite3.Connection, tmp_path: Path
) -> None:
    """Anybody with sqlite3 finds times in UTC, paths below the root, lists as JSON, and the documented columns."""
    image = about(tmp_path, size_bytes=1234)
    record(writer, judged(image, sidecar(image), ok=False, camera="Acme\x1b Snap"))
    [row] = view(other)
    assert tuple(row) == VIEW_COLUMNS
    assert row["decided_at"] == "2025-03-01T03:00:00.000Z"
    assert (row["relative_path"], row["destination"], row["class"]) == ("cat/1.jpg", "accepted/cat/1.jpg", "cat")
    assert (row["verdict"], row["reason"], json.loads(row["issues"])) == ("quarantined", "blurry", ["blurry"])
    assert (row["size_bytes"], row["camera"], row["duplicate_of"]) == (1234, r"Acme\u001b Snap", None)
    assert row["blur_score"] is None  # nothing could be measured


def test_a_record_says_which_code_measured(writer: AuditWriter, other: sqlite3.Connection, tmp_path: Path) -> None:
    """It is NULL of an image that is filed by what an earlier run had measured: nobody wrote it down."""
    known, unknown = judged(about(tmp_path)), judged(about(tmp_path, "cat/2.jpg", inode=8), relative_path="cat/2.jpg")
    known = dataclasses.replace(known, measurement=dataclasses.replace(known.measurement, code="NumPy"))
    record(writer, known, unknown)
    assert [row["code"] for row in view(other)] == ["NumPy", None]


@pytest.mark.parametrize("outcome", [None, "abandoned", "lost", "disputed"])
def test_only_files_that_moved_are_in_the_view(
    writer: AuditWriter, other: sqlite3.Connection, tmp_path: Path, outcome: str | None
) -> None:
    """A judgement whose file has not moved, or not yet, is no row of the public record."""
    record(writer, judged(about(tmp_path)), outcome=outcome)
    assert view(other) == []
    assert count(other)["decision_records"] == 1


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize(
    "statement", ["UPDATE {0} SET id = id + 1", "DELETE FROM {0}", "INSERT OR REPLACE INTO {0} SELECT * FROM {0}"]
)
def test_the_log_only_grows(
    writer: AuditWriter, other: sqlite3.Connection, tmp_path: Path, table: str, statement: str
) -> None:
    """Not even another program's connection changes or removes a row."""
    record(writer, judged(about(tmp_path)))
    with pytest.raises(sqlite3.IntegrityError, match=f"{table} is append-only"):
        other.execute(statement.format(table))
    assert set(count(other).values()) == {1}


@pytest.mark.parametrize(
    "identity",
    [
        {"inode": 2**64 - 1, "device": 2**63},
        {"mtime_ns": -1},
        {"mtime_ns": 2**63 + 5 * 10**18},  # a date in the year 2420, which ext4 can hold
        {"mtime_ns": 10**27, "ctime_ns": 10**27},  # a date that only btrfs and tmpfs can hold
    ],
    ids=["unsigned numbers", "before 1970", "after 2262", "absurdly late"],
)
def test_whatever_a_stat_can_hold_can_be_recorded(
    writer: AuditWriter, tmp_path: Path, identity: dict[str, int]
) -> None:
    """No inode number and no time a sender sets on a file keeps it from being recorded."""
    [(recorded,)] = writer.record_intents([judged(about(tmp_path, **identity))])
    [unfinished] = writer.unfinished()
    assert unfinished.intent_id == recorded.intent_id
    assert unfinished.intent.identity.inode == identity.get("inode", 7)
    assert unfinished.intent.identity.device == identity.get("device", 7)


def test_names_that_are_no_utf8_come_back_byte_for_byte(
    writer: AuditWriter, other: sqlite3.Connection, tmp_path: Path
) -> None:
    """Recovery finds a file again whatever bytes are in its name, while readers of the view see it escaped."""
    [(recorded,)] = writer.record_intents([judged(about(tmp_path, UNDECODABLE), relative_path=UNDECODABLE)])
    assert writer.unfinished() == [recorded]
    writer.record_outcomes([Outcome(recorded.intent_id, "moved", UNDECODABLE)])
    [row] = view(other)
    assert row["relative_path"] == r"caf\xe9\u000a\u001b[31m.jpg"
    assert row["destination"] == r"accepted/caf\xe9\u000a\u001b[31m.jpg"
    assert writer.image_lacking_sidecar("default", [UNDECODABLE], ".txt") == (1, recorded.intent.destination_path)


def test_a_batch_is_recorded_whole_or_not_at_all(
    writer: AuditWriter, other: sqlite3.Connection, tmp_path: Path
) -> None:
    """An error at the last file of a batch leaves no row of the first."""
    broken = dataclasses.replace(about(tmp_path), sha256=None)  # type: ignore[arg-type]
    good = about(tmp_path)
    with pytest.raises(UnavailableError):
        writer.record_intents([judged(good), judged(good, broken)])
    assert set(count(other).values()) == {0}
    [number] = record(writer, judged(good), outcome=None)
    with pytest.raises(UnavailableError):
        writer.record_outcomes([Outcome(number, "moved"), Outcome(999, "moved")])
    assert [unfinished.intent_id for unfinished in writer.unfinished()] == [number]


def test_an_intent_has_one_outcome(writer: AuditWriter, tmp_path: Path) -> None:
    """What became of a file is said once."""
    [number] = record(writer, judged(about(tmp_path)))
    with pytest.raises(UnavailableError):
        writer.record_outcomes([Outcome(number, "lost")])


def test_duplicates_point_at_the_first_that_was_filed(
    writer: AuditWriter, other: sqlite3.Connection, tmp_path: Path
) -> None:
    """Equal content is noted across batches and within one, and a file that never moved is nobody's original."""
    record(writer, judged(about(tmp_path, "abandoned.jpg")), outcome="abandoned")
    record(writer, judged(about(tmp_path, "a.jpg")), judged(about(tmp_path, "b.jpg")))
    record(writer, judged(about(tmp_path, "c.jpg")), judged(about(tmp_path, "d.jpg", sha256="cd" * 32)))
    assert [(row["id"], row["duplicate_of"]) for row in view(other)] == [(2, None), (3, 2), (4, 2), (5, None)]


def test_only_content_that_moved_was_filed_before(writer: AuditWriter, tmp_path: Path) -> None:
    """The first place of each content is known; what was abandoned, or is under way, was not filed."""
    first, abandoned, under_way = (about(tmp_path, name) for name in ("1.jpg", "2.jpg", "3.jpg"))
    record(writer, judged(first))
    record(writer, judged(abandoned, relative_path="cat/2.jpg"), outcome="abandoned")
    hashes = [one.sha256 for one in (first, abandoned, under_way)]
    found = writer.filed_before([*hashes, "0" * 64])
    assert set(found) == {first.sha256}
    assert found[first.sha256].endswith("1.jpg")
    assert writer.filed_before([]) == {}


def test_a_late_sidecar_finds_its_image(writer: AuditWriter, other: sqlite3.Connection, tmp_path: Path) -> None:
    """The latest place an image of that name and source was filed at is known, and its sidecar's move is an intent."""
    old, new, abandoned = (about(tmp_path, name) for name in ("1.jpg", "1.3fa2c1d0.jpg", "2.jpg"))
    record(writer, judged(old), judged(new))
    record(writer, judged(abandoned, relative_path="cat/2.jpg"), outcome="abandoned")
    assert writer.image_lacking_sidecar("default", ["cat/1.png", "cat/1.jpg"], ".txt") == (2, new.destination_path)
    assert writer.image_lacking_sidecar("elsewhere", ["cat/1.jpg"], ".txt") is None
    assert writer.image_lacking_sidecar("default", ["cat/2.jpg"], ".txt") is None
    recorded = writer.record_late_sidecar(2, sidecar(new))
    assert writer.unfinished() == [recorded]
    assert len(view(other)) == 2


def test_a_locked_log_stalls_and_then_goes_on(writer: AuditWriter, other: sqlite3.Connection, tmp_path: Path) -> None:
    """While another program holds the log nothing is recorded and nothing breaks; afterwards it works again."""
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StalledError, match="locked"):
        writer.record_intents([judged(about(tmp_path))])
    other.execute("ROLLBACK")
    assert record(writer, judged(about(tmp_path))) == [1]


def test_nothing_to_record_is_no_transaction(writer: AuditWriter, other: sqlite3.Connection) -> None:
    """An idle daemon does not ask for the log, whoever holds it."""
    other.execute("BEGIN EXCLUSIVE")
    assert writer.record_intents([]) == []
    writer.record_outcomes([])
    other.execute("ROLLBACK")


def test_what_was_recorded_is_there_for_the_next_start(writer: AuditWriter, tmp_path: Path) -> None:
    """Intents without an outcome are found by another writer, oldest first."""
    first, second, third = record(writer, *[judged(about(tmp_path, f"{n}.jpg")) for n in range(3)], outcome=None)
    writer.record_outcomes([Outcome(second, "moved")])
    next_start = AuditWriter(tmp_path / "audit.db", tmp_path, now=lambda: datetime.now(UTC))
    assert [unfinished.intent_id for unfinished in next_start.unfinished()] == [first, third]
    next_start.close()


def test_what_is_unfinished_is_found_among_much_that_is_not(writer: AuditWriter, tmp_path: Path) -> None:
    """Intents without an outcome are given oldest first, wherever they lie, and nothing else."""
    ids = [number for k in range(6) for number in record(writer, judged(about(tmp_path, f"{k}.jpg")), outcome=None)]
    writer.record_outcomes([Outcome(ids[k], "moved") for k in (0, 2, 4)])
    assert [found.intent_id for found in writer.unfinished()] == [ids[1], ids[3], ids[5]]
    writer.record_outcomes([Outcome(ids[k], "abandoned") for k in (1, 3, 5)])
    assert writer.unfinished() == []
