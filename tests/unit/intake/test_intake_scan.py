"""The walk over real folders."""

import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Self

import pytest

from imageguard_daemon.config import Intake
from imageguard_daemon.intake.rules.selection import Selection, SkipReason
from imageguard_daemon.intake.scan import InboxEntry, walk

SELECTION = Selection.from_settings(Intake(sidecars=True))


def found(inbox: Path, start: str = "") -> dict[str, SkipReason | None]:
    """Walk, and give why each entry is left."""
    entries = list(walk(str(inbox), SELECTION, start))
    assert len({entry.relative_path for entry in entries}) == len(entries)
    return {entry.relative_path: entry.skip_reason for entry in entries}


def make(path: Path) -> Path:
    """Make a file with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_every_file_below_the_inbox_is_met_once(tmp_path: Path) -> None:
    """Files at any depth are found under their path below the inbox, each with the reason why it is left."""
    for name in ("1.jpg", "cat/2.jpg", "cat/tabby/3.jpg", "cat/2.txt", "notes.md", ".1.jpg.Xa3f9Q"):
        make(tmp_path / name)
    assert found(tmp_path) == {
        "1.jpg": None,
        "cat/2.jpg": None,
        "cat/tabby/3.jpg": None,
        "cat/2.txt": SkipReason.lone_sidecar,
        "notes.md": SkipReason.other,
        ".1.jpg.Xa3f9Q": SkipReason.ignored,
    }


def test_a_walk_can_begin_at_a_folder(tmp_path: Path) -> None:
    """Only what lies below the start is met, and paths are still those below the inbox."""
    make(tmp_path / "dog/1.jpg")
    make(tmp_path / "cat/tabby/1.jpg")
    assert found(tmp_path, "cat") == {"cat/tabby/1.jpg": None}


def test_hidden_folders_are_not_entered(tmp_path: Path) -> None:
    """What lies in rsync's partial folder or a trash folder is no business of the walk."""
    for folder in ("#recycle/cat", "cat/@eaDir/1.jpg", "$RECYCLE.BIN/S-1-5-21", "__MACOSX/cat", "lost+found"):
        make(tmp_path / folder / "1.jpg")
    make(tmp_path / ".~tmp~/1.jpg")
    make(tmp_path / "cat.part/1.jpg")
    assert found(tmp_path) == {}


def test_links_are_named_and_not_followed(tmp_path: Path) -> None:
    """Links to files, to folders, to nothing and to themselves lead nowhere and never hang the walk."""
    inbox = tmp_path / "inbox"
    make(inbox / "real.jpg")
    make(tmp_path / "outside/secret.jpg")
    for name, target in {
        "file.jpg": "real.jpg",
        "folder.jpg": "../outside",
        "a.jpg": ".",
        "b.jpg": "b.jpg",
        "c.jpg": "nothing",
    }.items():
        (inbox / name).symlink_to(target)
    left = found(inbox)
    assert left.pop("real.jpg") is None
    assert left == dict.fromkeys(["file.jpg", "folder.jpg", "a.jpg", "b.jpg", "c.jpg"], SkipReason.link)


def test_pipes_and_sockets_are_special(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is neither file nor folder is named as such and not opened."""
    os.mkfifo(tmp_path / "pipe.jpg")
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.jpg")
    assert found(tmp_path) == {"pipe.jpg": SkipReason.special, "socket.jpg": SkipReason.special}


@pytest.mark.parametrize("name", [b"caf\xe9.jpg", b"a\nb\x1b[31m.jpg", b"-rf .jpg", "猫".encode() * 80 + b".jpg"])
def test_odd_names_come_out_as_they_are(tmp_path: Path, name: bytes) -> None:
    """Any byte a name may have survives the walk."""
    with open(os.path.join(os.fsencode(tmp_path), name), "wb"):
        pass
    assert list(found(tmp_path)) == [os.fsdecode(name)]


def test_a_folder_that_vanishes_is_no_news(tmp_path: Path) -> None:
    """A folder removed between being listed and being visited ends nothing."""
    folders = [make(tmp_path / name / "1.jpg").parent for name in ("cat", "dog")]
    entries = walk(str(tmp_path), SELECTION)
    visited = tmp_path / os.path.dirname(next(entries).relative_path)
    [other] = (folder for folder in folders if folder != visited)
    (other / "1.jpg").unlink()
    other.rmdir()
    assert list(entries) == []


def test_a_missing_inbox_has_nothing_in_it(tmp_path: Path) -> None:
    """Walking a folder that is gone, or a file in its place, finds nothing."""
    assert found(tmp_path / "gone") == {}
    assert found(make(tmp_path / "file")) == {}


class _FailingListing:
    """A folder whose file system goes away while it is listed."""

    def __init__(self, error: OSError) -> None:
        self._error = error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> "os.DirEntry[str]":
        raise self._error


def _refuse(error: OSError) -> None:
    raise error


@pytest.mark.parametrize("fault", [_refuse, _FailingListing], ids=["when opened", "when read"])
@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE])
def test_a_folder_that_cannot_be_read_does_not_end_the_walk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Callable[[OSError], object], number: int
) -> None:
    """A forbidden folder or a lost mount is named, and the other folders are still walked."""
    make(tmp_path / "dog/1.jpg")
    make(tmp_path / "cat/1.jpg")
    real = os.scandir

    def scandir(path: str) -> object:
        return fault(OSError(number, os.strerror(number))) if path.endswith("cat") else real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found = set(walk(str(tmp_path), SELECTION))
    assert found == {InboxEntry("cat", SkipReason.unreadable), InboxEntry("dog/1.jpg")}
    assert {one.why for one in found if one.skip_reason} == {os.strerror(number)}
