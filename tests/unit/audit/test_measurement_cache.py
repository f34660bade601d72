"""Measurements kept between runs."""

import os
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from imageguard_daemon.audit.measurement_cache import MeasuredFiles
from imageguard_daemon.core.errors import NoInputError, UnavailableError, UsageError
from imageguard_daemon.core.model import FileIdentity, Measurement
from tests.helpers.pipeline_bench import GOOD

IDENTITY = FileIdentity(2**63 + 5, 2**64 - 1, 1000, -1, 2**63 + 9)
MEASURED = Measurement("ab" * 32, GOOD, camera="Acme", image_format="JPEG", duration_ms=3.5, identity=IDENTITY)
BROKEN = Measurement("cd" * 32, issue="corrupt", detail="cut off", duration_ms=1.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A place for a store, in a folder that is still to be made."""
    return tmp_path / "deep" / "scan.state"


def _reopened(path: Path, version: str = "1") -> MeasuredFiles:
    return MeasuredFiles(path, version)


def test_a_measurement_comes_back_exactly_as_it_was(path: Path) -> None:
    """Numbers are not rounded on the way, and times before 1970 or beyond 2262 are times."""
    store = MeasuredFiles(path, "1")
    broken = replace(BROKEN, identity=replace(IDENTITY, inode=7))
    for one in (MEASURED, broken):
        store.add(one)
    store.close()
    store = _reopened(path)
    assert [store.find(one.identity) for one in (MEASURED, broken)] == [MEASURED, broken]
    store.close()


@pytest.mark.parametrize("field", ["device", "inode", "size_bytes", "mtime_ns", "ctime_ns"])
def test_a_changed_file_is_not_known(path: Path, field: str) -> None:
    """Whatever changes of a file's identity, it is measured anew."""
    store = MeasuredFiles(path, "1")
    store.add(MEASURED)
    assert store.find(replace(IDENTITY, **{field: 4711})) is None
    store.close()


def test_measurements_of_another_version_are_forgotten(path: Path) -> None:
    """A new scorer or other limits begin anew."""
    store = MeasuredFiles(path, "1")
    store.add(MEASURED)
    store.close()
    store = _reopened(path, "2")
    assert (store.find(IDENTITY), len(store)) == (None, 0)
    store.close()


def test_two_runs_by_different_scorers_never_mix_their_measurements(path: Path) -> None:
    """Who opened the file first finds nothing of the other scorer there, adds nothing among it, and is told."""
    first = MeasuredFiles(path, "1")
    first.add(MEASURED)
    first.commit()
    second = _reopened(path, "2")
    for inode in range(2):
        second.add(replace(BROKEN, identity=replace(IDENTITY, inode=inode)))
    second.commit()
    assert first.find(replace(IDENTITY, inode=1)) is None
    for _ in range(2):
        with pytest.raises(UnavailableError, match=r"has taken .*scan\.state meanwhile; give each a file of its own"):
            first.add(MEASURED)
    first.close()
    assert (second.find(IDENTITY), len(second)) == (None, 2)
    second.add(MEASURED)  # the refused one left nothing locked
    second.close()


def test_two_runs_by_the_same_scorer_share_what_they_measure(path: Path) -> None:
    """What one has kept the other need not measure."""
    stores = [MeasuredFiles(path, "1"), MeasuredFiles(path, "1")]
    for inode, store in enumerate(stores):
        store.add(replace(MEASURED, identity=replace(IDENTITY, inode=inode)))
        store.commit()
    assert all(store.find(replace(IDENTITY, inode=inode)) for store in stores for inode in range(2))
    for store in stores:
        store.close()


def test_a_run_that_begins_anew_ends_no_other(path: Path) -> None:
    """Who has all forgotten has it forgotten for all; a run by the same scorer goes on adding."""
    other, store = MeasuredFiles(path, "1"), MeasuredFiles(path, "1")
    other.add(MEASURED)
    other.commit()
    store.forget()
    assert (other.find(IDENTITY), len(store)) == (None, 0)
    other.add(MEASURED)
    other.close()
    assert store.find(IDENTITY) == MEASURED
    store.close()


def test_what_was_added_is_durable_within_a_second(path: Path) -> None:
    """A process that is killed has lost no more than its last second."""
    moments = iter([0.0, 0.4, 1.2, 1.2, 1.3])
    store = MeasuredFiles(path, "1", now=lambda: next(moments))
    for inode in range(3):
        store.add(replace(MEASURED, identity=replace(IDENTITY, inode=inode)))
    with sqlite3.connect(path) as other:
        assert other.execute("SELECT count(*) FROM measured").fetchone() == (2,)
    other.close()
    store._now = lambda: 9.9
    store.close()


def test_another_database_is_never_emptied(tmp_path: Path) -> None:
    """Who names the audit log or any other database by mistake loses nothing."""
    path = tmp_path / "audit.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE measured (precious TEXT)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(UsageError, match="another database"):
        MeasuredFiles(path, "1")
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"\xff\xd8\xff not a database at all" * 100, b"short"])
def test_a_file_that_is_no_database_stays_as_it_is(tmp_path: Path, content: bytes) -> None:
    """An image that was named by mistake is left alone."""
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    with pytest.raises((UnavailableError, UsageError)):
        MeasuredFiles(path, "1")
    assert path.read_bytes() == content
    assert os.listdir(tmp_path) == ["photo.jpg"]


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """A file in the place of a folder is an error in words."""
    (tmp_path / "file").write_text("")
    with pytest.raises(NoInputError, match=r"file/scan\.state"):
        MeasuredFiles(tmp_path / "file" / "scan.state", "1")


def test_trouble_that_comes_later_is_told_in_words(path: Path) -> None:
    """A look-up in a damaged file and a last write that fails end with a sentence and no traceback."""
    store = MeasuredFiles(path, "1")
    store.add(MEASURED)
    store._connection.set_authorizer(lambda *_: sqlite3.SQLITE_DENY)
    for use in (lambda: store.find(IDENTITY), store.commit):
        with pytest.raises(UnavailableError, match=r"cannot keep measurements in .*scan\.state: not authorized"):
            use()
    store._connection.set_authorizer(None)
    store.close()
