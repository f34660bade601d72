"""Old records to Parquet and out of the log, with real files, a real log and real archives."""

import errno
import hashlib
import json
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

pytest.importorskip("pyarrow", reason="needs the extra parquet")

from imageguard_daemon.audit import chain, database
from imageguard_daemon.audit.archive import archiving, parquet_copy
from imageguard_daemon.audit.archive.archived_files import where_archived
from imageguard_daemon.audit.archive.archiving import Archived, ArchiveRequest, archive, plan_archive
from imageguard_daemon.audit.archive.parquet_copy import check_copy
from imageguard_daemon.audit.chain_check import ChainCheck
from imageguard_daemon.audit.opening import open_log_for_checking
from imageguard_daemon.audit.schema import CHAINED
from imageguard_daemon.batch.export import entries_of_log
from imageguard_daemon.cli.app import app
from imageguard_daemon.core.errors import DataError, NoInputError, StalledError, StorageError, UsageError
from imageguard_daemon.core.model import Outcome
from imageguard_daemon.review.acting import approve, confirm, purge, reject, release, undo
from tests.helpers.records import UNDECODABLE, intent, judged
from tests.helpers.rejections import Rejections
from tests.helpers.tampering import tamper

LATER = timedelta(minutes=1)


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Rejections]:
    """Two accepted images, one with a hostile name, and one rejected with a label."""
    one = Rejections(tmp_path / "root")
    one.file("cat/1.jpg", ok=True)
    one.file(f"cat/{UNDECODABLE}", ok=True)
    one.file("cat/3.jpg", labels=[".txt"])
    yield one
    one.close()


def request(made: Rejections, **changes: object) -> ArchiveRequest:
    """Ask for all that is there."""
    values = {"cutoff": datetime.now(UTC) + LATER, "folder": made.root / "archive", "who": "anna"} | changes
    return ArchiveRequest(**values)  # type: ignore[arg-type]


def archived(made: Rejections, **changes: object) -> Archived:
    """Archive, and give what was archived."""
    done = archive(made.settings, request(made, **changes))
    assert done is not None
    return done


def counts(made: Rejections) -> dict[str, int]:
    """Give the number of rows in each table."""
    connection = sqlite3.connect(made.root / "audit.db")
    found = {t: connection.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in ("chain", *CHAINED)}
    connection.close()
    return found


def tampered(made: Rejections) -> list[str]:
    """Give what the chain's check says."""
    with open_log_for_checking(made.root / "audit.db") as log:
        return [fault.record for fault in ChainCheck(log).faults()]


def test_what_is_settled_leaves_the_log_and_the_chain_holds(made: Rejections) -> None:
    """Accepted images leave the log, their files stay known to `verify`; what is in quarantine stays in the log."""
    done = archived(made)
    assert done.decisions == 2
    assert counts(made)["decision_records"] == 1
    assert made.wrong() == []
    (made.accepted / "cat" / UNDECODABLE).unlink()
    assert [one.split()[0] for one in made.wrong()] == ["missing"]
    (made.accepted / "cat/foreign.jpg").write_bytes(b"x")
    assert sorted(one.split()[0] for one in made.wrong()) == ["foreign", "missing"]


def test_archived_images_are_exported_by_name_or_told(made: Rejections) -> None:
    """They are where they were filed, and a log that has archives says so where it is asked for them."""
    with open_log_for_checking(made.root / "audit.db") as log:
        assert where_archived(log) == ""
        before = {(one.path, one.verdict) for one in entries_of_log(made.root / "audit.db", made.settings)}
        folder = archived(made, include_quarantined=True).folder
        after = list(entries_of_log(made.root / "audit.db", made.settings))
        assert {(one.path, one.verdict) for one in after} == before
        assert [one.is_archived for one in after] == [True] * 3
        assert str(folder) in where_archived(log)
    root = str(made.root)
    listed = CliRunner().invoke(app, ["export", root, "--to", "list", "--only", "rejected"])
    assert listed.stdout.splitlines() == [str(made.quarantine / "cat/3.jpg")]
    told = CliRunner().invoke(app, ["export", root, "--to", "fiftyone"])
    assert (told.exit_code, "2 left out: an image whose record was archived" in told.stderr) == (os.EX_NOINPUT, True)
    told = CliRunner().invoke(app, ["quarantine", "show", root, "cat/3.jpg"])
    assert f"older records were archived, the last ones to {folder}" in str(told.exception)


def test_the_archive_proves_itself(made: Rejections) -> None:
    """Read back, every row fits its link; a changed byte, a missing file or another end do not."""
    folder = archived(made).folder
    manifest = check_copy(folder)
    assert (manifest.first_sequence, manifest.rows["decision_records"], manifest.rows["intents"]) == (1, 3, 4)
    target = folder / "intents.parquet"
    original = target.read_bytes()
    target.write_bytes(original[:-20] + bytes([original[-20] ^ 1]) + original[-19:])
    with pytest.raises(DataError, match=r"intents\.parquet"):
        check_copy(folder)
    target.unlink()
    with pytest.raises(NoInputError):
        check_copy(folder)
    with pytest.raises(NoInputError, match="not an archive"):
        check_copy(made.root)


@pytest.mark.parametrize(
    ("forge", "told"),
    [
        (lambda rows: rows[1].update(score=0.123), "decision_records 2"),
        (lambda rows: rows.append(rows[-1] | {"id": 77, "sequence": 99}), "decision_records has a record that no link"),
        (lambda rows: rows.pop(), "has no record"),
    ],
)
def test_an_archive_whose_rows_were_changed_with_its_manifest_is_found_out(
    made: Rejections, forge: Callable[[list[dict]], object], told: str
) -> None:
    """Whoever changes, adds or removes rows, and rewrites their hash in the manifest, still meets the hash chain."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = archived(made).folder
    path = folder / "decision_records.parquet"
    table = pq.read_table(path)
    rows = table.to_pylist()
    forge(rows)
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][path.name] = parquet_copy._sha256_of(path)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match=told):
        check_copy(folder)


def test_archives_follow_one_another(made: Rejections) -> None:
    """What stayed is archived when it is settled; archives meet end to end, and the log is sound all the time."""
    first = archived(made)
    made.do(release, 3)
    made.file("dog/4.jpg", ok=True)
    assert made.wrong() == []
    second = archived(made)
    assert second.decisions == 2
    assert second.manifest.hash_before == first.manifest.last_hash
    assert second.manifest.first_sequence == first.manifest.last_sequence + 1
    assert check_copy(second.folder) == second.manifest
    assert made.wrong() == []
    made.file("dog/5.jpg", ok=True)
    assert made.wrong() == []
    assert archive(made.settings, request(made, cutoff=datetime(2020, 1, 1, tzinfo=UTC))) is None


@pytest.mark.parametrize(
    ("act", "goes"),
    [((release,), True), ((confirm,), False), ((release, undo), False), ((confirm, purge), True), ((), False)],
)
def test_only_what_left_quarantine_leaves_the_log(made: Rejections, act: tuple, goes: bool) -> None:
    """Released and purged images are settled; waiting and confirmed ones are not, unless that is asked for."""
    for function in act:
        made.do(function, 3)
    assert archived(made).decisions == 2 + goes
    assert made.wrong() == []
    if not goes:
        assert archived(made, include_quarantined=True).decisions == 1
        assert not made.do(release, 3)[0].done
        assert made.wrong() == []


@pytest.mark.parametrize(
    ("act", "goes"),
    [
        ((reject,), False),
        ((reject, undo, reject), False),
        ((reject, undo), True),
        ((reject, undo, approve), True),
        ((reject, purge), True),
    ],
)
def test_an_accepted_image_stays_in_the_log_while_a_person_has_it_in_quarantine(
    made: Rejections, act: tuple, goes: bool
) -> None:
    """Once that rejection is undone or its image purged it is settled, as if nobody had rejected it."""
    for function in act:
        assert made.do(function, 1)[0].done
    plan = plan_archive(made.settings, request(made))
    assert plan is not None
    assert (plan.going, plan.in_quarantine, plan.unsettled) == (1 + goes, 2 - goes, 0)
    assert archived(made).decisions == 1 + goes
    assert made.wrong() == []


def test_what_was_recorded_later_keeps_its_decision(made: Rejections) -> None:
    """A release after the cutoff belongs to a decision before it: both stay."""
    cutoff = datetime.now(UTC)
    made.file("dog/4.jpg", ok=True)
    made.do(release, 3)
    plan = plan_archive(made.settings, request(made, cutoff=cutoff))
    assert plan is not None
    assert (plan.decisions, plan.going, plan.in_quarantine, plan.unsettled) == (3, 2, 0, 1)
    assert archived(made, cutoff=cutoff).decisions == 2
    assert made.wrong() == []
    assert made.do(undo, 3)[0].done
    assert made.wrong() == []


def test_a_place_that_was_recorded_later_keeps_its_decision(made: Rejections) -> None:
    """Where `verify --repair` found a file after the cutoff is a record of its own: with it the decision stays."""
    cutoff = datetime.now(UTC)
    made.file("dog/4.jpg", ok=True)
    place = made.accepted / "moved.jpg"
    (made.accepted / "cat/1.jpg").rename(place)
    made.audit.record_relocations([(1, str(place), hashlib.sha256(place.read_bytes()).hexdigest(), 7)])
    assert archived(made, cutoff=cutoff).decisions == 1
    assert made.wrong() == []
    assert archived(made).decisions == 2
    assert made.wrong() == []


def test_what_an_archive_left_goes_only_with_its_new_link(made: Rejections) -> None:
    """Its link lies behind all that was there by then: an archive that ends before that leaves the decision alone."""
    first = datetime.now(UTC)
    made.file("dog/4.jpg", ok=True)
    second = datetime.now(UTC) + timedelta(milliseconds=2)
    time.sleep(0.005)
    made.file("dog/5.jpg", ok=True)
    assert archived(made, cutoff=first).decisions == 2
    assert archived(made, cutoff=second, include_quarantined=True).decisions == 1
    assert made.wrong() == []
    assert archived(made, include_quarantined=True).decisions == 2
    assert made.wrong() == []


def test_a_log_that_was_archived_since_it_was_planned_is_left_alone(made: Rejections) -> None:
    """Somebody on another root with the same log was faster: what the plan says is no longer so."""
    mine = archiving.Archiver(made.root / "audit.db", made.root)
    plan = plan_archive(made.settings, request(made))
    assert plan is not None
    archived(made)
    before = counts(made)
    with pytest.raises(DataError, match="by somebody else"):
        mine.take_out(plan, request(made), made.root)
    mine.close()
    assert counts(made) == before
    assert made.wrong() == []


def test_a_move_without_an_outcome_stays(made: Rejections) -> None:
    """What a crash left is not archived away from its recovery."""
    source = made.inbox / "dog/9.jpg"
    source.parent.mkdir()
    source.write_bytes(b"waiting")
    made.audit.record_intents([judged(intent(source, made.accepted / "dog/9.jpg"), relative_path="dog/9.jpg")])
    assert archived(made).decisions == 2
    [unfinished] = made.audit.unfinished()
    assert unfinished.intent.source_path == str(source)
    made.audit.record_outcomes([Outcome(unfinished.intent_id, "abandoned")])
    assert made.wrong() == []


def test_a_duplicate_may_outlive_its_original(made: Rejections) -> None:
    """The later one stays in the log and still says whose duplicate it is."""
    cutoff = datetime.now(UTC)
    made.file("dog/copy.jpg", b"image 1", ok=True)
    archived(made, cutoff=cutoff)
    connection = sqlite3.connect(made.root / "audit.db")
    assert connection.execute("SELECT duplicate_of FROM decisions WHERE relative_path = 'dog/copy.jpg'").fetchone() == (
        1,
    )
    connection.close()
    made.file("dog/another.jpg", ok=True)
    assert made.wrong() == []


@pytest.mark.parametrize(
    ("statement", "record"),
    [
        ("UPDATE decision_records SET score = 0.123 WHERE id = 3", "decision_records 3"),
        ("DELETE FROM review_records", "review_records 1"),
        ("INSERT INTO outcomes VALUES (1, 99, 'moved', '', '')", "outcomes 1"),
        ("DELETE FROM archived_files WHERE intent_id = 1", "archives 1"),
        ("UPDATE archived_files SET sha256 = 'f00'", "archives 1"),
        ("INSERT INTO archived_files VALUES (77, 5, x'2f61', 'ab', 1)", "archived_files"),
        ("UPDATE archives SET who = 'nobody'", "archives 1"),
        ("UPDATE archives SET last_hash = x'00'", "archives 1"),
        ("DELETE FROM archives", "chain 1"),
    ],
)
def test_tampering_with_what_an_archive_left_is_found(made: Rejections, statement: str, record: str) -> None:
    """Kept rows, the anchor, the list of files: none can be changed, removed or added unseen."""
    made.do(confirm, 3)
    archived(made)
    assert tampered(made) == []
    tamper(made.root / "audit.db", statement)
    assert record in tampered(made)


def test_the_log_is_append_only_again_afterwards(made: Rejections) -> None:
    """Rows cannot be deleted or changed after an archive any more than before."""
    archived(made)
    connection = sqlite3.connect(made.root / "audit.db", isolation_level=None)
    for table in ("chain", "decision_records", "intents", "outcomes", "archives", "archived_files"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(f"DELETE FROM {table}")
    connection.close()


@pytest.mark.parametrize("where", ["copy", "transaction"])
def test_an_interruption_leaves_the_log_whole(made: Rejections, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """Interrupted while copying or while deleting: every row is still there, and the next try succeeds."""
    before = counts(made)

    def interrupted(*_args: object, **_kwargs: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(*((parquet_copy, "_finished") if where == "copy" else (chain, "link_again")), interrupted)
        with pytest.raises(KeyboardInterrupt):
            archive(made.settings, request(made))
    assert counts(made) == before
    assert made.wrong() == []
    assert not list((made.root / "archive").glob(".*"))
    assert archived(made).decisions == 2
    assert made.wrong() == []


def test_a_log_that_was_tampered_with_is_not_archived(made: Rejections) -> None:
    """The copy is held against the chain first: evidence is not carried away."""
    tamper(made.root / "audit.db", "UPDATE decision_records SET score = 0.5 WHERE id = 1")
    before = counts(made)
    with pytest.raises(DataError, match="decision_records 1"):
        archive(made.settings, request(made))
    assert counts(made) == before


def test_a_copy_that_came_out_wrong_takes_nothing_out(made: Rejections, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that changes what it is given is noticed before anything leaves the log."""
    finished = parquet_copy._finished

    def spoiled(folder: Path, *args: object) -> object:
        path = folder / "outcomes.parquet"
        manifest = finished(folder, *args)  # type: ignore[arg-type]
        path.write_bytes(path.read_bytes()[::-1])
        return manifest

    monkeypatch.setattr(parquet_copy, "_finished", spoiled)
    before = counts(made)
    with pytest.raises(DataError, match="not the file that was written"):
        archive(made.settings, request(made))
    assert counts(made) == before
    assert list((made.root / "archive").iterdir()) == []


def test_a_full_disk_and_a_locked_log_change_nothing(made: Rejections, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is told, the lock as passing, and nothing of a copy is left."""
    before = counts(made)

    def full(_path: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("imageguard_daemon.audit.archive.archiving._sync_names", full)
        with pytest.raises(StorageError, match="No space"):
            archive(made.settings, request(made))
    monkeypatch.setattr(database, "BUSY_TIMEOUT_MS", 10)
    holder = sqlite3.connect(made.root / "audit.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StalledError, match="locked"):
        archive(made.settings, request(made))
    holder.close()
    assert counts(made) == before
    assert list((made.root / "archive").iterdir()) == []


def test_an_archive_among_the_images_is_refused(made: Rejections) -> None:
    """Parquet files in the inbox would be candidates, in a destination foreign files."""
    for folder in (made.inbox, made.accepted / "x", made.quarantine):
        with pytest.raises(UsageError, match="--to"):
            archive(made.settings, request(made, folder=folder))


def test_an_earlier_copy_is_never_overwritten(made: Rejections, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy that an interrupted run left keeps its name; the new one gets another."""
    with monkeypatch.context() as patch:
        patch.setattr(archiving.Archiver, "take_out", lambda *_args, **_kwargs: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            archive(made.settings, request(made))
    [left] = (made.root / "archive").iterdir()
    assert archived(made).folder == left.with_name(f"{left.name}-2")
    assert check_copy(left)


def test_without_pyarrow_it_says_what_to_install(made: Rejections, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is changed without the extra."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    before = counts(made)
    with pytest.raises(UsageError, match=r"imageguard-daemon\[parquet\]"):
        archive(made.settings, request(made))
    assert counts(made) == before


def test_an_empty_log_has_nothing_to_archive(tmp_path: Path) -> None:
    """No folder is made for nothing."""
    empty = Rejections(tmp_path / "root")
    assert archive(empty.settings, request(empty)) is None
    assert not (empty.root / "archive").exists()
    empty.close()
