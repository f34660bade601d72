"""Opening the audit database: pragmas, migrations, and what its errors mean."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.exc import OperationalError

from imageguard_daemon.audit import database
from imageguard_daemon.audit.database import open_for_writing, translated_errors
from imageguard_daemon.audit.opening import open_log
from imageguard_daemon.audit.schema import NEWEST_REVISION, VIEW_COLUMNS, metadata
from imageguard_daemon.core.errors import ImageguardError, NoInputError, StalledError, StorageError, UnavailableError


def pragma(engine: sa.Engine, name: str) -> object:
    """Ask a connection for one of its settings."""
    with engine.connect() as connection:
        return connection.exec_driver_sql(f"PRAGMA {name}").scalar()


def open_and_ask(path: Path) -> None:
    """Open a log as a command does, which notices what is wrong with it at the first question."""
    with open_log(path) as log, log.reading() as connection:
        connection.exec_driver_sql("PRAGMA user_version")


def execute(path: Path, statement: str) -> None:
    """Change a database as another program would."""
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(statement)
    connection.close()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A new audit log."""
    path = tmp_path / "audit.db"
    open_for_writing(path).dispose()
    return path


def test_commits_survive_a_power_cut(log: Path) -> None:
    """The journal is a WAL that is synced at each commit; anything less loses records, unseen by any other test."""
    engine = open_for_writing(log)
    assert pragma(engine, "journal_mode") == "wal"
    assert pragma(engine, "synchronous") == 2
    assert pragma(engine, "foreign_keys") == 1
    assert pragma(engine, "busy_timeout") == database.BUSY_TIMEOUT_MS
    engine.dispose()


def test_migrations_lead_to_the_schema_in_the_code(log: Path) -> None:
    """The tables made by the migrations are those the code works with, and the view has the documented columns."""
    engine = open_for_writing(log)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        assert tuple(connection.exec_driver_sql("SELECT * FROM decisions").keys()) == VIEW_COLUMNS
    engine.dispose()


def test_there_is_one_line_of_migrations() -> None:
    """Every revision follows exactly one other, so that an upgrade is never ambiguous."""
    scripts = ScriptDirectory(str(Path(database.__file__).parent / "migrations"))
    assert len(scripts.get_heads()) == 1


def test_opening_again_changes_nothing(log: Path) -> None:
    """A log that is up to date is left as it is, with its rows."""
    engine = open_for_writing(log)
    with engine.connect() as connection:
        before = connection.exec_driver_sql("SELECT sql FROM sqlite_master").all()
    engine.dispose()
    engine = open_for_writing(log)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT sql FROM sqlite_master").all() == before
    engine.dispose()


def test_a_migration_is_done_whole_or_not_at_all(tmp_path: Path) -> None:
    """When a migration fails half-way nothing of it is left, and the next start can do it."""
    path = tmp_path / "audit.db"
    execute(path, "CREATE TABLE outcomes (id INTEGER)")
    with pytest.raises(ImageguardError, match="outcomes already exists"):
        open_for_writing(path)
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall() == [("outcomes",)]
    connection.close()
    execute(path, "DROP TABLE outcomes")
    open_for_writing(path).dispose()


def test_a_log_that_is_up_to_date_is_opened_without_the_tool_that_upgrades(log: Path) -> None:
    """It takes longer to load than the log; which revision is the newest stands in the schema."""
    scripts = ScriptDirectory(str(Path(database.__file__).parent / "migrations"))
    assert scripts.get_current_head() == NEWEST_REVISION
    program = (
        "import sys\nfrom pathlib import Path\nfrom imageguard_daemon.audit.database import open_for_writing\n"
        "for upgrade in (True, False):\n    open_for_writing(Path(sys.argv[1]), upgrade=upgrade).dispose()\n"
        "print('alembic' in sys.modules)"
    )
    words = [sys.executable, "-c", program, str(log)]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "False\n"


def test_a_log_from_the_future_is_refused(log: Path) -> None:
    """An older program does not write into what a newer one has made, and says why."""
    execute(log, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(UnavailableError, match="made by a newer version"):
        open_for_writing(log)


def test_a_locked_log_is_tried_again(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backup or another program that holds the log only delays the start."""
    monkeypatch.setattr(database, "BUSY_TIMEOUT_MS", 10)
    holder = sqlite3.connect(log, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StalledError, match="locked"):
        open_for_writing(log)
    holder.close()
    open_for_writing(log).dispose()


@pytest.mark.parametrize("opener", [open_for_writing, open_and_ask])
@pytest.mark.parametrize("content", [b"this is a photo" * 100, b"SQLite format 3\0" + b"\xff" * 8000])
def test_garbage_in_place_of_the_log_is_not_touched(
    tmp_path: Path, opener: Callable[[Path], object], content: bytes
) -> None:
    """A file that is no database is refused for good, and left for the person who put it there."""
    path = tmp_path / "audit.db"
    path.write_bytes(content)
    with pytest.raises(UnavailableError):
        opener(path)
    assert path.read_bytes() == content


def test_a_missing_folder_is_reported_not_made(tmp_path: Path) -> None:
    """Opening a log in a folder that is not there is an error in our own words."""
    with pytest.raises(StalledError, match="no such file or directory"):
        open_for_writing(tmp_path / "gone/audit.db")


def test_reading_needs_a_log_and_never_makes_one(tmp_path: Path) -> None:
    """A mistyped path does not leave an empty database behind."""
    with pytest.raises(NoInputError, match=r"no audit database at .*audit\.db"):
        open_log(tmp_path / "audit.db")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["audit.db", "100 % odd?mode=rw#.db"])
def test_readers_cannot_write(tmp_path: Path, name: str) -> None:
    """A connection for reports refuses every change, whatever is in the file's name, while a writer may be at work."""
    writing = open_for_writing(tmp_path / name)
    with (
        open_log(tmp_path / name) as log,
        pytest.raises(ImageguardError, match="readonly"),
        log.reading() as connection,
    ):
        connection.exec_driver_sql("CREATE TABLE mine (id INTEGER)")
    writing.dispose()


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (sqlite3.SQLITE_IOERR_FSYNC, StorageError),
        (sqlite3.SQLITE_IOERR_WRITE, StorageError),
        (sqlite3.SQLITE_FULL, StalledError),
        (sqlite3.SQLITE_BUSY, StalledError),
        (sqlite3.SQLITE_IOERR_SHMSIZE, StalledError),
    ],
)
def test_a_disk_that_did_not_keep_the_log_is_not_trusted_again(code: int, kind: type[Exception]) -> None:
    """A failed fsync of the log ends the daemon; a lock or a full disk only pauses it."""
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = code
    with pytest.raises(kind), translated_errors():
        raise OperationalError("INSERT", {}, error)


def test_an_upgrade_that_the_surroundings_refuse_is_told_in_our_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the migrations themselves cannot be read the start ends with a message and an exit code, not a traceback."""
    from alembic import command

    def refuse(*_arguments: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(command, "upgrade", refuse)
    with pytest.raises(StalledError, match="up to date: Too many open files"):
        open_for_writing(tmp_path / "audit.db")
