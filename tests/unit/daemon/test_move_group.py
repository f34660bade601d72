"""Whole moves beside senders who delete, at any moment, what they find in the inbox."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from imageguard_daemon.core.model import Candidate
from imageguard_daemon.core.regular_files import Writers
from imageguard_daemon.daemon.move_group import FileMove, carry_out
from imageguard_daemon.filing import mover, renaming
from imageguard_daemon.filing.folders import Folders
from tests.helpers.records import Tree, recorded

JUDGED, ADDED = b"judged", b", and more"
CALLS = [(os, "stat"), (os, "fstat"), (os, "unlink"), (os, "link"), (os, "fsync"), (renaming, "rename")]
MOMENTS = range(24)
"""More than any of the moves below makes calls."""


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """An inbox and an accepted folder."""
    return Tree(tmp_path)


@pytest.fixture(autouse=True)
def no_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody be kept from writing, as for a file of another account."""

    @contextmanager
    def unknown(_descriptor: int) -> Iterator[Writers]:
        yield Writers.unknown

    monkeypatch.setattr(mover, "read_lease", unknown)


def act_at(moment: int, act: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a sender act right before the system call of that number."""
    made = 0

    def acting(real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **options: object) -> object:
            nonlocal made
            made += 1
            if made == moment + 1:
                act()
            return real(*arguments, **options)

        return call

    for place, name in CALLS:
        monkeypatch.setattr(place, name, acting(getattr(place, name)))


def about_to_move(tree: Tree, source: Path) -> FileMove:
    """Give the move of a file that was judged."""
    return FileMove(Candidate("default", "cat/1.jpg"), [recorded(source, tree.accepted / "cat/1.jpg")])


def outcome_of(move: FileMove, tree: Tree) -> str:
    """Move a file as the daemon does; give what is to be recorded about it."""
    with Folders(tree.roots) as folders:
        carry_out([move], folders)
    [outcome] = move.outcomes
    assert move.moved == (outcome.outcome == "moved")
    return outcome.outcome


def deletes_what_is_hidden(tree: Tree) -> None:
    """`find inbox -name '.*' -delete`, or rsync --delete, which knows nothing of our names."""
    for path in tree.inbox.rglob(".*"):
        path.unlink()


def deletes_the_class(tree: Tree) -> None:
    """`rm -rf inbox/cat`."""
    shutil.rmtree(tree.inbox / "cat", ignore_errors=True)


@pytest.mark.parametrize("way", ["rename", "link", "copy"])
@pytest.mark.parametrize("deletes", [deletes_what_is_hidden, deletes_the_class])
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_sender_who_deletes_names_ends_nothing(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, way: str, deletes: Callable[[Tree], None], moment: int
) -> None:
    """Whatever vanishes from the inbox, and when: the move goes on or is given up, and what was copied stays."""
    source = tree.arrive(content=JUDGED)
    if way == "copy":
        os.link(source, tree.root / "further name")
    if way == "link":
        monkeypatch.setattr(renaming, "rename", _refuse_on(tree.accepted, renaming.rename))
    move = about_to_move(tree, source)
    act_at(moment, lambda: deletes(tree), monkeypatch)
    outcome = outcome_of(move, tree)
    monkeypatch.undo()
    files = {name: content for name, content in tree.files().items() if name != "further name"}
    if outcome == "moved":
        assert files == {"accepted/cat/1.jpg": JUDGED}
    else:
        assert files in ({}, {"inbox/cat/1.jpg": JUDGED})
        assert files or deletes is deletes_the_class


def _refuse_on(folder: Path, real: Callable[..., None]) -> Callable[..., None]:
    """Give a rename that cannot refuse to replace where it leads into this folder."""

    def rename(source_folder: int, source: str, target_folder: int, target: str) -> None:
        if os.path.samestat(os.fstat(target_folder), (folder / "cat").stat()):
            raise OSError(22, "Invalid argument")
        real(source_folder, source, target_folder, target)

    return rename


@pytest.mark.parametrize("replaced", [False, True])
@pytest.mark.parametrize("way", ["rename", "copy"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_what_was_not_judged_never_stays_at_the_destination(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, way: str, moment: int, replaced: bool
) -> None:
    """A sender who writes on and removes the emptied folder finds his file back in the inbox, not in accepted."""
    source = tree.arrive(content=JUDGED)
    if way == "copy":
        os.link(source, tree.root / "further name")
    move = about_to_move(tree, source)
    with source.open("ab", buffering=0) as writing:

        def write_and_remove_the_folder() -> None:
            if not source.exists():
                writing.write(ADDED)
                _remove_emptied(tree.inbox / "cat", replaced=replaced)

        act_at(moment, write_and_remove_the_folder, monkeypatch)
        outcome = outcome_of(move, tree)
        monkeypatch.undo()
    accepted = tree.accepted / "cat/1.jpg"
    assert accepted.exists() == (outcome == "moved")
    if outcome == "moved":
        assert accepted.read_bytes().removesuffix(ADDED) == JUDGED
    else:
        [left] = [path for path in tree.inbox.rglob("*") if path.name.startswith("1")]
        assert left.read_bytes() in {JUDGED, JUDGED + ADDED}


def _remove_emptied(folder: Path, *, replaced: bool) -> None:
    try:
        folder.rmdir()
    except OSError:
        return
    if replaced:
        folder.write_bytes(b"a file in place of the folder")


def test_without_an_inbox_what_cannot_go_back_is_recorded(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """Content that was not judged, and has no folder to go back into, is recorded as disputed and ends nothing."""
    source = tree.arrive(content=JUDGED)
    move = about_to_move(tree, source)
    with source.open("ab", buffering=0) as writing:

        def write_and_remove_the_inbox() -> None:
            writing.write(ADDED)
            shutil.rmtree(tree.inbox, ignore_errors=True)

        monkeypatch.setattr(Folders, "sync", lambda _self: write_and_remove_the_inbox())
        assert outcome_of(move, tree) == "disputed"
    assert (tree.accepted / "cat/1.jpg").read_bytes().startswith(JUDGED + ADDED)
