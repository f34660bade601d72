"""Folders by descriptor, and syncing many files and folders."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from imageguard_daemon.core.errors import ElsewhereError, StalledError, StorageError
from imageguard_daemon.filing import folders as folders_module
from imageguard_daemon.filing.folders import Folders
from tests.helpers.records import UNDECODABLE


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A trusted root."""
    path = tmp_path / "root"
    path.mkdir()
    return path


@pytest.fixture
def folders(root: Path) -> Iterator[Folders]:
    """The folders below it."""
    with Folders([str(root)]) as folders:
        yield folders


def same(descriptor: int, path: Path) -> bool:
    """Tell whether a descriptor is that of a folder."""
    return os.path.samestat(os.fstat(descriptor), path.stat())


def test_folders_are_opened_once_and_all_let_go(root: Path) -> None:
    """A batch of moves takes one descriptor for each folder and leaves none behind."""
    (root / "cat").mkdir()
    before = len(os.listdir("/proc/self/fd"))
    with Folders([str(root)]) as folders:
        assert folders.descriptor(f"{root}/cat") == folders.descriptor(f"{root}/cat")
        assert same(folders.descriptor(str(root)), root)
        folders.sync()
        assert len(os.listdir("/proc/self/fd")) == before + 2
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("name", ["cat/tabby", UNDECODABLE])
def test_missing_folders_are_made_only_when_asked_for(root: Path, folders: Folders, name: str) -> None:
    """A folder to look into is not made; one to move to is, with the folders above it."""
    with pytest.raises(FileNotFoundError):
        folders.descriptor(f"{root}/{name}")
    assert same(folders.descriptor(f"{root}/{name}", make=True), root / name)


def test_a_missing_root_is_a_lost_mount(tmp_path: Path) -> None:
    """A root is never made: files must not end up below an empty mount point."""
    with Folders([str(tmp_path / "mount")]) as folders, pytest.raises(StalledError, match="is not there"):
        folders.descriptor(f"{tmp_path}/mount/cat", make=True)
    assert not (tmp_path / "mount").exists()


@pytest.mark.parametrize("path", ["/elsewhere", "{root}er/cat"])
def test_no_other_folder_is_touched(root: Path, folders: Folders, path: str) -> None:
    """A path outside all roots, were it only by one letter, is refused."""
    with pytest.raises(ElsewhereError, match="in no folder"):
        folders.descriptor(path.format(root=root), make=True)


def test_a_link_to_a_root_is_followed_and_one_below_it_is_not(tmp_path: Path, root: Path, folders: Folders) -> None:
    """The administrator may link a root elsewhere; what senders put below a root leads nowhere."""
    (tmp_path / "linked").symlink_to(root)
    with Folders([str(tmp_path / "linked")]) as linked:
        assert same(linked.descriptor(str(tmp_path / "linked")), root)
    (tmp_path / "outside/cat").mkdir(parents=True)
    (root / "link").symlink_to(tmp_path / "outside")
    for path in ("link", "link/cat"):
        with pytest.raises(NotADirectoryError):
            folders.descriptor(f"{root}/{path}", make=True)


def test_a_file_in_place_of_a_folder_is_an_error(root: Path, folders: Folders) -> None:
    """A file is never replaced by the folder that is needed in its place."""
    (root / "cat").write_bytes(b"content")
    with pytest.raises(NotADirectoryError):
        folders.descriptor(f"{root}/cat", make=True)
    assert (root / "cat").read_bytes() == b"content"


def test_a_failed_fsync_is_final_and_harmless_to_a_terminal(
    root: Path, folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a refused fsync nothing goes on, and the message shows a hostile folder name escaped."""

    def refuse(_descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    folders.descriptor(f"{root}/{UNDECODABLE}", make=True)
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StorageError, match="did not keep") as caught:
        folders.sync()
    assert str(caught.value).isprintable()


def opened(folder: Path, count: int) -> list[tuple[int, str]]:
    """Open so many files."""
    return [(os.open(folder / str(n), os.O_CREAT | os.O_RDONLY), str(n)) for n in range(count)]


@pytest.mark.parametrize("count", [0, 1, 8, 9, 100])
def test_every_file_is_synced_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """However many there are, and whoever does it."""
    files, synced = opened(tmp_path, count), []
    monkeypatch.setattr(os, "fsync", synced.append)
    folders_module.sync_all(files)
    assert sorted(synced) == sorted(descriptor for descriptor, _ in files)
    for descriptor, _ in files:
        os.close(descriptor)


@pytest.mark.parametrize("count", [3, 30])
def test_a_refusal_for_one_is_final_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """The error names the file, and comes when no sync is under way any more."""
    files, begun = opened(tmp_path, count), []

    def refuse_the_third(descriptor: int) -> None:
        begun.append(descriptor)
        if descriptor == files[2][0]:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", refuse_the_third)
    with pytest.raises(StorageError, match="the disk did not keep 2"):
        folders_module.sync_all(files)
    assert len(begun) == count or count == 3
    for descriptor, _ in files:
        os.close(descriptor)


def test_a_file_system_without_syncs_is_left_in_peace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some FUSE file systems have none."""
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.EINVAL, "no such thing")))
    [(descriptor, what)] = opened(tmp_path, 1)
    folders_module.sync(descriptor, what)
    os.close(descriptor)
