"""What is remembered of a log outside of it: that it was longer, and which one it was."""

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imageguard_daemon.audit.alerts import recorded_alerts
from imageguard_daemon.audit.chain import Head
from imageguard_daemon.audit.log_writer import AcceptingWriter, HeadMemory
from imageguard_daemon.audit.opening import open_log
from imageguard_daemon.audit.writer import AuditWriter
from imageguard_daemon.config import STATE_FOLDER
from imageguard_daemon.core.errors import DataError, UnavailableError
from imageguard_daemon.core.model import Outcome
from tests.helpers.records import Tree, intent, judged


class Log:
    """A root whose log is written to as a daemon does."""

    def __init__(self, root: Path) -> None:
        (root / STATE_FOLDER).mkdir(parents=True)
        self.tree = Tree(root)
        self.database = root / "audit.db"
        self.journal = root / "audit.db-wal"
        self.number = 0
        self.writers: list[AuditWriter] = []

    def open(self, kind: type[AuditWriter] = AuditWriter) -> AuditWriter:
        """Open it."""
        self.writers.append(kind(self.database, self.tree.root))
        return self.writers[-1]

    def write(self, writer: AuditWriter, files: int = 1) -> None:
        """Record that files are filed."""
        for _ in range(files):
            self.number += 1
            source = self.tree.arrive(f"cat/{self.number}.jpg", b"%d" % self.number)
            [(recorded,)] = writer.record_intents([judged(intent(source, self.tree.accepted / source.name))])
            writer.record_outcomes([Outcome(recorded.intent_id, "moved")])

    def copy(self, to: Path) -> None:
        """Copy what is on disk just now, as a crash would leave it."""
        to.mkdir()
        for path in self.tree.root.glob("audit.db*"):
            shutil.copy(path, to / path.name)

    def put(self, found: Path) -> None:
        """Put such a copy in place of the log."""
        for path in self.tree.root.glob("audit.db*"):
            path.unlink()
        for path in found.iterdir():
            shutil.copy(path, self.tree.root / path.name)

    def records(self) -> int:
        """Count decisions, as a reader would."""
        connection = sqlite3.connect(self.database)
        try:
            return int(connection.execute("SELECT count(*) FROM decisions").fetchone()[0])
        finally:
            connection.close()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    """A root."""
    made = Log(tmp_path / "root")
    yield made
    for writer in made.writers:
        writer.close()


def filed(log: Log, files: int = 3) -> None:
    """Write a log and close it."""
    writer = log.open()
    log.write(writer, files)
    writer.close()


def an_older_copy(log: Log, kept: Path) -> None:
    log.copy(kept)
    filed(log, 1)
    log.put(kept)


def no_bytes(log: Log, _kept: Path) -> None:
    log.database.write_bytes(b"")


def no_file(log: Log, _kept: Path) -> None:
    log.database.unlink()


def another_log(log: Log, kept: Path) -> None:
    other = Log(kept / "other")
    filed(other, 5)
    log.database.write_bytes(other.database.read_bytes())


def the_journal_gone(log: Log, kept: Path) -> None:
    _crash(log, kept)
    log.journal.unlink()


def the_journal_cut(log: Log, kept: Path) -> None:
    _crash(log, kept)
    os.truncate(log.journal, log.journal.stat().st_size // 2)


def _crash(log: Log, kept: Path) -> None:
    writer = log.open()
    log.write(writer)
    log.copy(kept)
    writer.close()
    log.put(kept)


LOSSES = {
    an_older_copy: "an older copy was put back",
    no_bytes: "is empty; it had 9 records",
    no_file: "is gone; it had 9 records",
    another_log: "is not the one of the last run",
    the_journal_gone: "audit.db-wal was removed or cut",
    the_journal_cut: "audit.db-wal was removed or cut",
}


@pytest.mark.parametrize("lose", LOSSES, ids=lambda lose: lose.__name__)
def test_a_log_that_lost_records_is_refused_until_a_person_accepts_it(
    log: Log, tmp_path: Path, lose: Callable[[Log, Path], None]
) -> None:
    """Each start says what is missing and changes nothing; accepted, that is a record of the log, which goes on."""
    filed(log)
    lose(log, tmp_path / "kept")
    before = {path.name: path.read_bytes() for path in log.tree.root.glob("audit.db")}
    for _start in range(2):
        with pytest.raises(DataError, match=LOSSES[lose]):
            log.open()
        assert {path.name: path.read_bytes() for path in log.tree.root.glob("audit.db")} == before
    accepting = AcceptingWriter(log.database, log.tree.root)
    accepting.accept("ana", "the disk was replaced")
    accepting.close()
    filed(log, 1)
    with open_log(log.database) as opened:
        [told] = recorded_alerts(opened)
    assert told.kind == "log_loss_accepted"
    assert "ana accepted that: the disk was replaced" in told.message
    assert told.succeeded


def test_an_acceptance_that_was_not_finished_accepts_nothing(log: Log) -> None:
    """Killed before it is recorded who accepted, the log is refused as before."""
    filed(log)
    log.database.write_bytes(b"")
    AcceptingWriter(log.database, log.tree.root).close()
    with pytest.raises(DataError):
        log.open()


def test_a_log_that_lacks_nothing_is_left_as_it_is(log: Log) -> None:
    """There is nothing to accept, and nothing is recorded."""
    filed(log)
    accepting = AcceptingWriter(log.database, log.tree.root)
    assert not accepting.lack
    accepting.accept("ana", "")
    accepting.close()
    with open_log(log.database) as opened:
        assert recorded_alerts(opened) == []


@pytest.mark.parametrize("lose", [no_bytes, no_file])
def test_a_log_that_had_no_records_has_lost_none(log: Log, tmp_path: Path, lose: Callable[[Log, Path], None]) -> None:
    """Who removes the log of a daemon that has judged nothing yet needs to accept nothing."""
    log.open().close()
    assert HeadMemory(log.tree.root, log.database).head() is not None
    lose(log, tmp_path)
    log.write(log.open())
    assert log.records() == 1


def test_the_memory_never_leads_the_log(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is written once for each transaction, after its commit: whatever is remembered is in the log."""
    seen: list[bool] = []
    real = HeadMemory.remember

    def remember(self: HeadMemory, head: Head) -> None:
        reader = sqlite3.connect(log.database)
        [(last,)] = reader.execute("SELECT coalesce(max(sequence), 0) FROM chain").fetchall()
        reader.close()
        seen.append(last >= head.sequence)
        real(self, head)

    monkeypatch.setattr(HeadMemory, "remember", remember)
    filed(log, 2)
    assert seen == [True] * 5  # on opening, and two transactions for each file


@pytest.mark.parametrize("content", [b"", b"{", b"\0" * 1024, b"[]", b'{"log": 1}', b'{"log": "zz"}'])
def test_a_memory_that_cannot_be_read_is_none(log: Log, content: bytes) -> None:
    """Half a memory, or another's, says nothing about the log."""
    filed(log)
    (log.tree.root / STATE_FOLDER / "log-head.json").write_bytes(content)
    filed(log)
    assert log.records() == 6


def test_the_memory_goes_with_a_root_that_is_moved(log: Log, tmp_path: Path) -> None:
    """At its new place, the log is still held against it."""
    filed(log)
    shutil.copytree(log.tree.root, tmp_path / "moved")
    AuditWriter(tmp_path / "moved/audit.db", tmp_path / "moved").close()
    (tmp_path / "moved/audit.db").write_bytes(b"")
    with pytest.raises(DataError, match="is empty"):
        AuditWriter(tmp_path / "moved/audit.db", tmp_path / "moved")


@pytest.mark.parametrize("name", ["audit.db-wal", "audit.db-shm"])
def test_a_journal_removed_while_running_ends_it_with_all_records_kept(log: Log, name: str) -> None:
    """What was in the journal alone is put into the database, and nothing more is recorded or moved."""
    writer = log.open()
    log.write(writer, 3)
    (log.tree.root / name).unlink()
    with pytest.raises(UnavailableError, match=f"{name} was removed or replaced"):
        log.write(writer)
    with pytest.raises(UnavailableError):
        log.write(writer)
    writer.close()
    for path in log.tree.root.glob("audit.db-*"):
        path.unlink()
    assert log.records() == 3
    filed(log, 1)


def test_a_journal_cut_while_running_ends_it(log: Log, tmp_path: Path) -> None:
    """It is noticed before anything more is recorded, the database is left as it is, and the next start says so."""
    writer = log.open()
    log.write(writer, 3)
    os.truncate(log.journal, 32 + 24 + 4096)
    with pytest.raises(UnavailableError, match=r"audit\.db-wal was cut"):
        log.write(writer)
    writer.close()
    shutil.copytree(log.tree.root, tmp_path / "later", ignore=shutil.ignore_patterns("*-shm"))  # as after its end
    with pytest.raises(DataError, match=r"audit\.db-wal was removed or cut"):
        AuditWriter(tmp_path / "later/audit.db", tmp_path / "later")


def test_a_journal_folded_in_by_another_program_is_no_loss(log: Log) -> None:
    """`sqlite3` may empty the journal into the database at any time; work goes on."""
    writer = log.open()
    log.write(writer, 3)
    other = sqlite3.connect(log.database)
    other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    other.close()
    assert log.journal.stat().st_size == 0
    log.write(writer)
    assert log.records() == 4


def test_a_database_replaced_while_running_ends_it_and_is_left_alone(log: Log, tmp_path: Path) -> None:
    """The one that was put in its place, and its journal, stay as they were put there."""
    writer = log.open()
    log.write(writer, 2)
    log.copy(tmp_path / "kept")
    log.write(writer)
    log.put(tmp_path / "kept")
    before = log.journal.read_bytes()
    with pytest.raises(UnavailableError, match="removed or replaced"):
        log.write(writer)
    writer.close()
    assert log.journal.read_bytes() == before
