"""Finishing what a crash left, with real files and a real log."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from imageguard_daemon.audit.writer import AuditWriter
from imageguard_daemon.config import Source
from imageguard_daemon.core.errors import DataError, StalledError
from imageguard_daemon.core.model import RecordedIntent
from imageguard_daemon.core.names import aside_name, temporary_name
from imageguard_daemon.core.regular_files import Writers, ask
from imageguard_daemon.daemon import recovery
from imageguard_daemon.daemon.recovery import Recovery
from tests.helpers.moving import recover
from tests.helpers.records import UNDECODABLE, Tree, intent, judged

SOURCE, DESTINATION = "inbox/cat/1.jpg", "accepted/cat/1.jpg"
OLD, NEW = b"content", b"CONTENT"  # equally long: only the hash tells them apart


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """An inbox and an accepted folder."""
    return Tree(tmp_path)


@pytest.fixture
def audit(tmp_path: Path) -> Iterator[AuditWriter]:
    """An audit log."""
    writer = AuditWriter(tmp_path / "audit.db", tmp_path)
    yield writer
    writer.close()


def interrupted(tree: Tree, audit: AuditWriter, name: str = "cat/1.jpg") -> RecordedIntent:
    """Judge a file and record that it is about to move; then the power goes."""
    source = tree.arrive(name, OLD)
    [(recorded,)] = audit.record_intents([judged(intent(source, tree.accepted / name))])
    return recorded


def lay(tree: Tree, source: bytes | None, destination: bytes | None) -> None:
    """Bring both ends into a state."""
    for name, content in {SOURCE: source, DESTINATION: destination}.items():
        (tree.root / name).unlink(missing_ok=True)
        if content is not None:
            (tree.root / name).write_bytes(content)


def moved_root(tree: Tree) -> tuple[Path, dict[str, Source]]:
    """Move the whole root, as the pages say, and give it with the sources of the configuration that follows."""
    new = tree.root / "moved"
    new.mkdir()
    for folder in (tree.inbox, tree.accepted):
        folder.rename(new / folder.name)
    return new, sources_at(new)


def sources_at(root: Path) -> dict[str, Source]:
    """Give the one source of a configuration with this root."""
    (root / "quarantine").mkdir(exist_ok=True)
    return {"default": Source(inbox=root / "inbox", accepted=root / "accepted", quarantine=root / "quarantine")}


def recovery_of(audit: AuditWriter, sources: dict[str, Source]) -> Recovery:
    """Give a recovery that works with the folders of these sources."""
    return Recovery(audit, [str(folder) for one in sources.values() for folder in one.folders], sources)


def files(tree: Tree) -> dict[str, bytes]:
    """Give all files but those of the log."""
    return {name: content for name, content in tree.files().items() if not name.startswith("audit.db")}


@pytest.mark.parametrize(
    ("source", "destination", "outcome"),
    [
        (OLD, None, "abandoned"),
        (None, OLD, "moved"),
        (OLD, OLD, "moved"),
        (OLD, NEW, "abandoned"),
        (None, None, "lost"),
        (NEW, OLD, "moved"),
        (NEW, None, "abandoned"),
        (NEW, NEW, "abandoned"),
    ],
)
def test_every_state_is_brought_to_a_good_end(
    tree: Tree, audit: AuditWriter, source: bytes | None, destination: bytes | None, outcome: str
) -> None:
    """Each state a crash can leave gets its outcome, no content is lost or doubled, and a second run finds nothing."""
    interrupted(tree, audit)
    lay(tree, source, destination)
    assert [found.outcome for found in recover(audit, tree.roots)] == [outcome]
    expected = {SOURCE: source, DESTINATION: destination}
    if source == destination == OLD:
        expected[SOURCE] = None
    assert files(tree) == {name: content for name, content in expected.items() if content is not None}
    assert recover(audit, tree.roots) == []
    assert audit.unfinished() == []


def test_a_foreign_file_at_the_destination_stops_one_start(tree: Tree, audit: AuditWriter) -> None:
    """Nobody but a person can say what happened; it is recorded, nothing is touched, and the next start goes on."""
    interrupted(tree, audit)
    lay(tree, None, NEW)
    with pytest.raises(DataError, match=r"accepted/cat/1\.jpg"):
        recover(audit, tree.roots)
    assert files(tree) == {DESTINATION: NEW}
    assert recover(audit, tree.roots) == []


def test_a_hostile_name_does_not_reach_the_terminal(tree: Tree, audit: AuditWriter) -> None:
    """The message about a disputed file shows its name escaped."""
    interrupted(tree, audit, UNDECODABLE)
    (tree.inbox / UNDECODABLE).rename(tree.accepted / UNDECODABLE)
    (tree.accepted / UNDECODABLE).write_bytes(NEW)
    with pytest.raises(DataError) as caught:
        recover(audit, tree.roots)
    assert all(line.isprintable() for line in str(caught.value).splitlines())
    assert r"caf\xe9\u000a" in str(caught.value)


@pytest.mark.parametrize("end", [SOURCE, DESTINATION])
@pytest.mark.parametrize("obstacle", ["folder", "pipe", "link"])
def test_what_is_no_regular_file_is_another_file(tree: Tree, audit: AuditWriter, end: str, obstacle: str) -> None:
    """A folder, a pipe or a link to the very content in place of the file neither hangs nor fools recovery."""
    interrupted(tree, audit)
    path = tree.root / end
    path.unlink(missing_ok=True)
    (tree.root / "copy").write_bytes(OLD)
    {"folder": Path.mkdir, "pipe": os.mkfifo, "link": lambda path: path.symlink_to(tree.root / "copy")}[obstacle](path)
    [outcome] = recover(audit, tree.roots)
    assert outcome.outcome == "abandoned"
    assert os.path.lexists(path)


def test_a_half_copy_is_removed(tree: Tree, audit: AuditWriter) -> None:
    """The temporary of an interrupted copy goes; those of other daemons and hidden files stay."""
    recorded = interrupted(tree, audit)
    leftover = tree.accepted / "cat" / temporary_name(recorded.intent_id)
    others = tree.accepted / "cat" / temporary_name(recorded.intent_id + 1)
    for path in (leftover, others):
        path.write_bytes(b"con")
    recover(audit, tree.roots)
    assert not leftover.exists()
    assert others.exists()


@pytest.mark.parametrize(
    ("aside", "source", "destination", "expected"),
    [
        (OLD, None, OLD, {DESTINATION: OLD}),
        (OLD, NEW, OLD, {DESTINATION: OLD, SOURCE: NEW}),
        (NEW, None, OLD, {DESTINATION: OLD, SOURCE: NEW}),
        (OLD, None, None, {SOURCE: OLD}),
        (b"", OLD, None, {SOURCE: OLD}),
        (b"", OLD, OLD, {DESTINATION: OLD}),
    ],
)
def test_a_source_that_was_set_aside_is_settled(
    tree: Tree, audit: AuditWriter, aside: bytes, source: bytes | None, destination: bytes | None, expected: object
) -> None:
    """The hidden name of a copied source goes when its copy is there; any other content gets its name back."""
    recorded = interrupted(tree, audit)
    lay(tree, source, destination)
    (tree.inbox / "cat" / aside_name(recorded.intent_id)).write_bytes(aside)
    recover(audit, tree.roots)
    assert files(tree) == expected
    assert recover(audit, tree.roots) == []


def test_two_claims_on_the_old_name_keep_both_files(tree: Tree, audit: AuditWriter) -> None:
    """A source set aside whose name a new upload has taken gets a name that tells it apart."""
    recorded = interrupted(tree, audit)
    lay(tree, NEW, None)
    (tree.inbox / "cat" / aside_name(recorded.intent_id)).write_bytes(OLD)
    recover(audit, tree.roots)
    assert sorted(files(tree).values()) == sorted([OLD, NEW])
    assert files(tree)[SOURCE] == NEW


def test_an_upload_under_way_is_not_removed_by_recovery(tree: Tree, audit: AuditWriter) -> None:
    """A source that somebody has open for writing is a new upload, even if it still has the old content."""
    interrupted(tree, audit)
    lay(tree, OLD, OLD)
    if ask(str(tree.root / SOURCE)).writers is Writers.unknown:
        pytest.skip("the file system of the temporary folder grants no leases")
    with (tree.root / SOURCE).open("r+b") as upload:
        assert [outcome.outcome for outcome in recover(audit, tree.roots)] == ["moved"]
        upload.write(NEW)
    assert files(tree) == {SOURCE: NEW, DESTINATION: OLD}


def test_a_folder_that_was_never_made_is_no_obstacle(tree: Tree, audit: AuditWriter) -> None:
    """A crash before the destination's folder was made leaves the file in the inbox, to be judged again."""
    interrupted(tree, audit)
    shutil.rmtree(tree.accepted / "cat")
    [outcome] = recover(audit, tree.roots)
    assert outcome.outcome == "abandoned"
    assert files(tree) == {SOURCE: OLD}


def test_without_a_mount_nothing_is_concluded(tree: Tree, audit: AuditWriter) -> None:
    """While a root is missing no intent is called lost; once it is back, recovery ends as it should."""
    interrupted(tree, audit)
    lay(tree, None, OLD)
    tree.accepted.rename(tree.root / "unmounted")
    assert recover(audit, tree.roots) == []
    assert len(audit.unfinished()) == 1
    (tree.root / "unmounted").rename(tree.accepted)
    assert [outcome.outcome for outcome in recover(audit, tree.roots)] == ["moved"]


def test_a_new_upload_during_recovery_is_never_removed(
    tree: Tree, audit: AuditWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upload that takes over the old name while both ends are compared stays."""
    interrupted(tree, audit)
    lay(tree, OLD, OLD)
    real = recovery.repair_for

    def upload_then_decide(*states: recovery.Presence) -> recovery.Repair:
        tree.arrive("cat/.new", NEW).rename(tree.root / SOURCE)
        return real(*states)

    monkeypatch.setattr(recovery, "repair_for", upload_then_decide)
    assert [outcome.outcome for outcome in recover(audit, tree.roots)] == ["moved"]
    assert files(tree) == {SOURCE: NEW, DESTINATION: OLD}


def test_the_copy_is_durable_before_the_original_goes(
    tree: Tree, audit: AuditWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut right after recovery removed the source finds the copy's name on the disk."""
    interrupted(tree, audit)
    lay(tree, OLD, OLD)
    order: list[str] = []
    target, real_fsync, real_unlink = (tree.accepted / "cat").stat(), os.fsync, os.unlink

    def fsync(descriptor: int) -> None:
        order.append("synced" if os.path.samestat(os.fstat(descriptor), target) else "other")
        real_fsync(descriptor)

    def unlink(path: str, *, dir_fd: int) -> None:
        real_unlink(path, dir_fd=dir_fd)  # the temporary is not there, which raises
        order.append("removed")

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "unlink", unlink)
    recover(audit, tree.roots)
    assert order.index("synced") < order.index("removed")


def test_a_refusal_is_told_in_our_own_words(tree: Tree, audit: AuditWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source that may not be removed is said with its reason, nothing is recorded, and the start goes on."""
    interrupted(tree, audit)
    lay(tree, OLD, OLD)

    def refuse(path: str, *, dir_fd: int) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "unlink", refuse)
    recovery = Recovery(audit, tree.roots)
    assert recovery.begin(audit.unfinished()) == []
    assert [one.why for one in recovery.left_open] == ["Permission denied"]
    assert len(audit.unfinished()) == 1


def test_recovery_leaves_no_descriptor_behind(tree: Tree, audit: AuditWriter) -> None:
    """Whatever it met, recovery closes all it opened."""
    interrupted(tree, audit)
    lay(tree, None, None)
    (tree.root / DESTINATION).mkdir()
    before = sorted(os.listdir("/proc/self/fd"))
    with pytest.raises(DataError):
        recover(audit, tree.roots)
    assert sorted(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    ("source", "destination", "outcome"),
    [
        (OLD, None, "abandoned"),
        (None, OLD, "moved"),
        (OLD, OLD, "moved"),
        (NEW, OLD, "moved"),
        (NEW, None, "abandoned"),
    ],
)
def test_after_a_move_of_the_root_recovery_looks_where_the_files_are_now(
    tree: Tree, audit: AuditWriter, source: bytes | None, destination: bytes | None, outcome: str
) -> None:
    """Recorded paths of the old root lead to the new one, nothing is lost or doubled, and the place is recorded."""
    recorded = interrupted(tree, audit)
    lay(tree, source, destination)
    new, sources = moved_root(tree)
    assert [found.outcome for found in recovery_of(audit, sources).begin(audit.unfinished())] == [outcome]
    expected = {SOURCE: None if source == destination == OLD else source, DESTINATION: destination}
    assert files(tree) == {f"moved/{name}": content for name, content in expected.items() if content is not None}
    assert audit.unfinished() == []
    if outcome == "moved":
        assert audit.image_lacking_sidecar("default", ["cat/1.jpg"], ".txt") == (1, str(new / DESTINATION))
    assert recorded.intent.destination_path == str(tree.root / DESTINATION)


def test_a_file_at_a_place_of_an_earlier_configuration_has_moved(tree: Tree, audit: AuditWriter) -> None:
    """With `accepted:` changed between crash and start, what lies in the old folder is recorded, not judged twice."""
    interrupted(tree, audit)
    lay(tree, OLD, OLD)
    sources = sources_at(tree.root)
    (tree.root / "good").mkdir()
    sources["default"] = sources["default"].model_copy(update={"accepted": tree.root / "good"})
    assert [found.outcome for found in recovery_of(audit, sources).begin(audit.unfinished())] == ["moved"]
    assert files(tree) == {DESTINATION: OLD}


def test_what_is_at_no_known_place_is_left_open_and_said(tree: Tree, audit: AuditWriter) -> None:
    """A file of an older root that is nowhere is not called lost; each start says so, and goes on with the others."""
    interrupted(tree, audit)
    interrupted(tree, audit, "cat/2.jpg")
    lay(tree, None, None)
    _, sources = moved_root(tree)
    for _start in range(2):
        recovery = recovery_of(audit, sources)
        recovery.begin(audit.unfinished())
        [left] = recovery.left_open
        assert left.recorded.intent_id == 1
        assert "not found where it was recorded" in left.why
    assert [one.intent_id for one in audit.unfinished()] == [1]


def test_a_source_the_configuration_no_longer_has_stops_no_start(tree: Tree, audit: AuditWriter) -> None:
    """Its intents stay open until it is back."""
    interrupted(tree, audit)
    _, sources = moved_root(tree)
    recovery = recovery_of(audit, {"other": sources["default"]})
    assert recovery.begin(audit.unfinished()) == []
    assert "in no folder" in recovery.left_open[0].why
    assert [found.outcome for found in recovery_of(audit, sources).begin(audit.unfinished())] == ["abandoned"]


def test_a_root_reached_by_another_name_is_the_same_root(tree: Tree, audit: AuditWriter) -> None:
    """A link in place of the old root changes nothing of what is found."""
    interrupted(tree, audit)
    lay(tree, None, OLD)
    new, sources = moved_root(tree)
    for name in ("inbox", "accepted"):
        (tree.root / name).symlink_to(new / name)
    assert [found.outcome for found in recovery_of(audit, sources).begin(audit.unfinished())] == ["moved"]


def test_a_file_whose_last_move_is_open_waits_and_is_tried_again(tree: Tree, audit: AuditWriter) -> None:
    """It is not judged a second time meanwhile; as soon as its destination can be looked at, all is settled."""
    interrupted(tree, audit)
    lay(tree, OLD, OLD)
    tree.accepted.rename(tree.root / "away")
    recovery = Recovery(audit, tree.roots)
    recovery.begin(audit.unfinished())
    assert recovery.holds_up(str(tree.root / SOURCE)).startswith("an earlier move of it is not settled")
    assert recovery.holds_up(str(tree.inbox / "cat/2.jpg")) == ""
    (tree.root / "away").rename(tree.accepted)
    assert recovery.holds_up(str(tree.root / SOURCE)) == ""
    assert recovery.left_open == ()
    assert files(tree) == {DESTINATION: OLD}


def test_what_the_log_does_not_take_stays_open(tree: Tree, audit: AuditWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the file would be judged and moved under a second intent, and both would say that they moved it."""
    interrupted(tree, audit)
    lay(tree, OLD, OLD)
    tree.accepted.rename(tree.root / "away")
    recovery = Recovery(audit, tree.roots)
    recovery.begin(audit.unfinished())
    (tree.root / "away").rename(tree.accepted)

    def locked(*_arguments: object) -> None:
        raise StalledError("the log is locked")

    with monkeypatch.context() as here:
        here.setattr(audit, "record_outcomes", locked)
        with pytest.raises(StalledError):
            recovery.holds_up(str(tree.root / SOURCE))
    assert len(recovery.left_open) == 1
    assert recovery.holds_up(str(tree.root / SOURCE)) == ""
    assert audit.unfinished() == []


def test_a_deletion_that_was_interrupted_gives_the_file_its_name_back(tree: Tree, audit: AuditWriter) -> None:
    """Set aside and not deleted yet, the file is kept: a deletion is never completed by recovery."""
    source = tree.arrive(content=OLD)
    [(recorded,)] = audit.record_intents([judged(replace(intent(source, source), destination_path=""))])
    source.rename(source.with_name(aside_name(recorded.intent_id)))
    assert [found.outcome for found in recover(audit, tree.roots)] == ["abandoned"]
    assert files(tree) == {SOURCE: OLD}
