"""Log against folders, with a real log and real files: each kind of discrepancy, and what is none."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imageguard_daemon.audit.chain_check import ChainCheck
from imageguard_daemon.audit.file_index import FiledFiles
from imageguard_daemon.audit.opening import open_log_for_checking
from imageguard_daemon.audit.writer import AuditWriter
from imageguard_daemon.core.model import Outcome
from imageguard_daemon.core.names import temporary_name
from imageguard_daemon.verification.discrepancies import Discrepancy, Kind
from imageguard_daemon.verification.verifier import LogRepairer, Verification, Verifier
from tests.helpers.records import UNDECODABLE, Tree, intent, judged
from tests.helpers.tampering import tamper


class Library:
    """Filed files with their log, to be disturbed and verified."""

    def __init__(self, root: Path) -> None:
        self.tree = Tree(root)
        self.database = root / "audit.db"
        self.audit = AuditWriter(self.database, root)

    def file(self, name: str, content: bytes = b"content", outcome: str | None = "moved") -> Path:
        """File a file as the daemon does; without an outcome it stays in the inbox, its move intended."""
        source, destination = self.tree.arrive(name, content), self.tree.accepted / name
        [(recorded,)] = self.audit.record_intents([judged(intent(source, destination), relative_path=name)])
        if outcome:
            destination.parent.mkdir(parents=True, exist_ok=True)
            source.rename(destination)
            self.audit.record_outcomes([Outcome(recorded.intent_id, outcome)])  # type: ignore[arg-type]
        return destination

    def verify(self, *, repair: bool = False, **task: object) -> list[Discrepancy]:
        """Give all that is wrong."""
        with open_log_for_checking(self.database) as log:
            options = {"daemon_may_run": False} | task
            work = Verification([str(self.tree.accepted)], **options)  # type: ignore[arg-type]
            repairer = LogRepairer(self.audit) if repair else None
            expected = [work.expected_head] if work.expected_head else []
            self.last = Verifier(ChainCheck(log, expected), FiledFiles(log), work, repairer)
            return list(self.last.discrepancies())


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    """Two filed files, one of them with a hostile name."""
    made = Library(tmp_path)
    made.file("cat/1.jpg", b"first")
    made.file(f"cat/{UNDECODABLE}", b"other")
    yield made
    made.audit.close()


def kinds(found: list[Discrepancy]) -> list[Kind]:
    """Give the kinds found."""
    return [discrepancy.kind for discrepancy in found]


def test_what_is_as_recorded_is_no_discrepancy(library: Library) -> None:
    """Files with ordinary and hostile names are found where the log says, and counted."""
    assert library.verify() == []
    assert (library.last.files, library.last.links) == (2, 6)


def test_a_file_that_is_gone_is_missing(library: Library) -> None:
    """The name of what is missing comes back byte for byte."""
    path = library.tree.accepted / "cat" / UNDECODABLE
    path.unlink()
    [found] = library.verify()
    assert (found.kind, found.path, found.record) == (Kind.missing, str(path), "intents 2")


def test_a_whole_folder_that_is_gone_is_told_file_by_file(library: Library) -> None:
    """A removed class folder hides nothing."""
    shutil.rmtree(library.tree.accepted / "cat")
    assert kinds(library.verify()) == [Kind.missing, Kind.missing]


@pytest.mark.parametrize(("content", "seen_when_quick"), [(b"FIRST", False), (b"longer than before", True)])
def test_a_changed_file_is_found(library: Library, content: bytes, seen_when_quick: bool) -> None:
    """Equally long contents are told apart by their hash, which `quick` does without."""
    (library.tree.accepted / "cat/1.jpg").write_bytes(content)
    assert kinds(library.verify()) == [Kind.changed]
    assert kinds(library.verify(quick=True)) == [Kind.changed] * seen_when_quick


@pytest.mark.parametrize(
    "put", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/etc/hostname")], ids=["folder", "pipe", "link"]
)
def test_what_is_no_ordinary_file_is_not_what_was_filed(library: Library, put: Callable[[Path], None]) -> None:
    """A folder, pipe or link in a file's place is told, and nobody waits for the pipe's other end."""
    path = library.tree.accepted / "cat/1.jpg"
    path.unlink()
    put(path)
    assert kinds(library.verify()) == [Kind.changed]


def test_files_without_a_record_are_foreign(library: Library) -> None:
    """Whatever lies in a destination without a record is told: files, hidden ones, links, pipes."""
    folder = library.tree.accepted / "cat"
    for name in ("2.jpg", ".hidden", os.fsdecode(b"\xff.jpg")):
        (folder / name).write_bytes(b"x")
    (folder / "link").symlink_to("1.jpg")
    os.mkfifo(folder / "pipe")
    found = library.verify()
    assert kinds(found) == [Kind.foreign] * 5
    assert {os.path.basename(one.path) for one in found} == {"2.jpg", ".hidden", "\udcff.jpg", "link", "pipe"}


def test_a_file_whose_move_was_abandoned_is_foreign_at_its_destination(library: Library) -> None:
    """An abandoned intent is no record of being there."""
    library.file("cat/3.jpg", b"third", outcome="abandoned")
    assert kinds(library.verify()) == [Kind.foreign]


def test_a_file_found_elsewhere_is_relocated_and_repair_records_it(library: Library) -> None:
    """Renamed within the destinations, it is one discrepancy; its repair is a record, and then all is right."""
    new = library.tree.accepted / "dogs/renamed.jpg"
    new.parent.mkdir()
    (library.tree.accepted / "cat/1.jpg").rename(new)
    [found] = library.verify(quick=True)
    assert (found.kind, found.found_at, found.repaired) == (Kind.relocated, str(new), False)
    [found] = library.verify(repair=True)
    assert found.repaired
    assert library.last.left == 0
    assert library.verify() == []
    new.rename(library.tree.accepted / "cat/1.jpg")  # and back again
    assert [one.repaired for one in library.verify(repair=True)] == [True]
    assert library.verify() == []


def test_each_missing_file_turns_up_once(library: Library) -> None:
    """Of two copies of one missing file the second is foreign: nothing says that it was ever filed."""
    path = library.tree.accepted / "cat/1.jpg"
    for copy in ("a.jpg", "b.jpg"):
        (path.parent / copy).write_bytes(b"first")
    path.unlink()
    assert sorted(kinds(library.verify(repair=True))) == [Kind.foreign, Kind.relocated]
    assert kinds(library.verify()) == [Kind.foreign]


def test_a_later_file_at_the_same_place_does_not_hide_that_the_first_is_gone(library: Library) -> None:
    """Taken away and its name used again: the first one is missing, the second one is right."""
    (library.tree.accepted / "cat/1.jpg").unlink()
    library.file("cat/1.jpg", b"second")
    [found] = library.verify()
    assert (found.kind, found.record) == (Kind.missing, "intents 1")


def test_an_unfinished_move_is_found_and_repaired_only_when_it_had_happened(library: Library) -> None:
    """With the file at its destination the outcome is recorded; otherwise it is left to the daemon."""
    waiting = library.file("cat/3.jpg", b"third", outcome=None)
    assert kinds(library.verify()) == [Kind.unfinished]
    assert [one.repaired for one in library.verify(repair=True)] == [False]
    shutil.copy(library.tree.inbox / "cat/3.jpg", waiting)
    assert [one.repaired for one in library.verify(repair=True)] == [False]  # the daemon removes the source
    (library.tree.inbox / "cat/3.jpg").unlink()
    assert [one.repaired for one in library.verify(repair=True)] == [True]
    assert library.verify() == []


def test_a_move_in_work_is_no_discrepancy(library: Library) -> None:
    """While a daemon may run, its newest intents, their files and their temporaries are its own business."""
    destination = library.file("cat/3.jpg", b"third", outcome=None)
    destination.with_name(temporary_name(3)).write_bytes(b"thi")
    assert library.verify(daemon_may_run=True) == []
    (library.tree.inbox / "cat/3.jpg").rename(destination)
    destination.with_name(temporary_name(3)).unlink()
    assert library.verify(daemon_may_run=True) == []


def test_an_intent_that_was_passed_over_is_found_while_a_daemon_runs(library: Library) -> None:
    """A later file has its outcome: nobody works on the earlier one any more."""
    library.file("cat/3.jpg", b"third", outcome=None)
    library.file("cat/4.jpg", b"fourth")
    assert kinds(library.verify(daemon_may_run=True)) == [Kind.unfinished]


def test_a_left_over_temporary_is_found(library: Library) -> None:
    """Of a finished move, or of one that never was."""
    for number in (1, 99):
        (library.tree.accepted / temporary_name(number)).write_bytes(b"x")
    assert kinds(library.verify()) == [Kind.leftover, Kind.leftover]


def test_tampering_is_found_beside_all_else(library: Library) -> None:
    """A record changed to fit a changed file is still found out."""
    (library.tree.accepted / "cat/1.jpg").write_bytes(b"FIRST")
    forged = "UPDATE intents SET sha256 = 'f2d9e6a7', size_bytes = 5 WHERE id = 1"
    tamper(library.database, forged, "UPDATE intents SET destination_path = x'2f610062' WHERE id = 2")
    found = library.verify()
    assert [one.record for one in found if one.kind is Kind.tampered] == ["intents 1", "intents 2", "intents 2"]


def test_a_head_that_is_not_in_the_chain_is_tampering(library: Library) -> None:
    """A log that was rewritten as a whole fits itself; only a head kept elsewhere tells."""
    library.verify()
    head = library.last.head
    assert library.verify(expected_head=head) == []
    library.file("cat/9.jpg", b"ninth")
    assert library.verify(expected_head=head) == []
    assert kinds(library.verify(expected_head=b"?" * 32)) == [Kind.tampered]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_told_not_passed_over(library: Library) -> None:
    """A file or folder without permission is unreadable, which is neither right nor missing."""
    (library.tree.accepted / "cat/1.jpg").chmod(0)
    assert kinds(library.verify()) == [Kind.unreadable]
    (library.tree.accepted / "cat").chmod(0)
    assert set(kinds(library.verify())) == {Kind.unreadable}
    (library.tree.accepted / "cat").chmod(0o755)


def test_a_reading_error_is_told_not_passed_over(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bad sector is unreadable, with the system's words."""

    def fail(path: str) -> str:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("imageguard_daemon.verification.verifier.sha256_of", fail)
    assert {(one.kind, one.detail) for one in library.verify()} == {(Kind.unreadable, "Input/output error")}


def test_a_folder_reached_through_a_link_is_the_same_folder(library: Library, tmp_path: Path) -> None:
    """Verified under another name of the root, files keep their records, and foreign ones are still found."""
    link = tmp_path / "link"
    link.symlink_to(library.tree.accepted)
    with open_log_for_checking(library.database) as log:
        (library.tree.accepted / "cat/foreign.jpg").write_bytes(b"x")
        verifier = Verifier(ChainCheck(log), FiledFiles(log), Verification([str(link)]))
        assert [one.path for one in verifier.discrepancies()] == [str(link / "cat/foreign.jpg")]


def test_a_destination_that_was_moved_as_a_whole_is_found_again(library: Library, tmp_path: Path) -> None:
    """After a move to another disk every file is relocated, and after the repair all is right."""
    new = library.tree.accepted.rename(tmp_path / "moved")
    library.tree = Tree(tmp_path / "other")
    object.__setattr__(library.tree, "accepted", new)
    assert kinds(library.verify()) == [Kind.relocated, Kind.relocated]
    assert all(one.repaired for one in library.verify(repair=True))
    assert library.verify() == []


def test_nothing_but_the_log_is_ever_touched(library: Library) -> None:
    """A repair of everything at once leaves every file as it was."""
    library.file("cat/3.jpg", b"third", outcome=None)
    (library.tree.accepted / "cat/1.jpg").rename(library.tree.accepted / "new.jpg")
    (library.tree.accepted / "foreign.jpg").write_bytes(b"x")
    (library.tree.accepted / temporary_name(1)).write_bytes(b"x")

    def files() -> dict[str, bytes]:
        return {name: content for name, content in library.tree.files().items() if not name.startswith("audit.db")}

    before = files()
    assert len(library.verify(repair=True)) == 4
    assert files() == before
