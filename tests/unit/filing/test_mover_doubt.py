"""An error says that something failed, not that nothing happened."""

import errno
import os
from pathlib import Path

import pytest

from imageguard_daemon.core import file_systems
from imageguard_daemon.core.errors import RetryableError, StalledError, StorageError
from imageguard_daemon.filing import renaming
from tests.helpers.moving import carry_out, refusing, within_a_folder
from tests.helpers.records import recorded

FAILING = (errno.EIO, errno.ENODEV, errno.EROFS, errno.ESTALE)


@pytest.fixture
def judged(inbox: Path) -> Path:
    """A file that is to move."""
    (inbox / "1.jpg").write_bytes(b"judged")
    return inbox / "1.jpg"


@pytest.fixture
def accepted(tmp_path: Path) -> Path:
    """A destination on the same file system."""
    (tmp_path / "accepted").mkdir()
    return tmp_path / "accepted"


@pytest.mark.parametrize("call", ["rename", "link"])
@pytest.mark.parametrize("number", FAILING)
def test_a_name_given_in_spite_of_an_error_is_left_to_the_next_start(
    judged: Path, accepted: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    """A disk that dies at the rename may have moved the file: nothing may be recorded as abandoned."""
    if call == "link":
        monkeypatch.setattr(renaming, "rename", refusing(errno.EINVAL))
    really = getattr(renaming, call)

    def and_fail(*names: object) -> None:
        really(*names)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(renaming, call, and_fail)
    with pytest.raises(StorageError, match="may have got its file or not"):
        carry_out(recorded(judged, accepted / "1.jpg"))
    assert (accepted / "1.jpg").read_bytes() == b"judged"


@pytest.mark.parametrize("number", FAILING)
def test_a_look_that_fails_after_the_rename_leaves_it_to_the_next_start(
    judged: Path, accepted: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The file has moved; that it cannot be looked at does not undo that."""
    really = os.stat

    def stat(path: str, **options: object) -> os.stat_result:
        if "dir_fd" in options and (accepted / "1.jpg").exists():
            raise OSError(number, os.strerror(number))
        return really(path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "stat", stat)
    with pytest.raises(StorageError, match="may have got its file or not"):
        carry_out(recorded(judged, accepted / "1.jpg"))


def test_an_error_before_anything_happened_is_tried_again(
    judged: Path, accepted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When both folders still sync and the file bears its old name, an input/output error was a refusal."""
    monkeypatch.setattr(renaming, "rename", refusing(errno.EIO))
    with pytest.raises(StalledError):
        carry_out(recorded(judged, accepted / "1.jpg"))
    assert judged.read_bytes() == b"judged"
    assert os.listdir(accepted) == []


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EIO])
def test_a_name_that_is_refused_concerns_its_file_alone(
    judged: Path, accepted: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Vfat refuses 12:30.jpg as if it could rename nothing, others say EIO: a harmless name tells which it is."""
    really = renaming.rename

    def rename(*names: object) -> None:
        if ":" in str(names[3]):
            refusing(number)()
        really(*names)  # type: ignore[arg-type]

    monkeypatch.setattr(renaming, "rename", rename)
    monkeypatch.setattr(os, "link", lambda *_names, **_options: refusing(errno.EPERM)())
    with pytest.raises(RetryableError, match=r"refuses the name .*12:30\.jpg") as told:
        carry_out(recorded(judged, accepted / "12:30.jpg"))
    assert not isinstance(told.value, StalledError)
    assert judged.read_bytes() == b"judged"
    assert os.listdir(accepted) == []


@pytest.mark.parametrize("number", [errno.EPERM, errno.EIO])
def test_a_file_system_that_knows_no_links_is_no_failing_disk(
    judged: Path, accepted: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """What FUSE programs answer to a link they do not know is told as what it is, and stalls the source."""
    monkeypatch.setattr(renaming, "rename", refusing(errno.EINVAL))
    monkeypatch.setattr(os, "link", lambda *_names, **_options: refusing(number)())
    with pytest.raises(StalledError, match="neither rename without replacing nor make hard links"):
        carry_out(recorded(judged, accepted / "1.jpg"))
    assert os.listdir(accepted) == []


def test_a_disk_that_does_not_sync_is_not_believed(
    judged: Path, accepted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that has just died answers from memory that nothing has moved; what reached it, nobody knows."""
    monkeypatch.setattr(renaming, "rename", refusing(errno.EIO))
    monkeypatch.setattr(os, "fsync", refusing(errno.EIO))
    with pytest.raises(StorageError):
        carry_out(recorded(judged, accepted / "1.jpg"))


@pytest.mark.parametrize(
    ("number", "means"), [(errno.ENOSPC, StalledError), (errno.EDQUOT, StalledError), (errno.EIO, StorageError)]
)
def test_a_full_disk_that_says_so_when_a_copy_is_synced_is_a_full_disk(
    judged: Path, accepted: Path, monkeypatch: pytest.MonkeyPatch, number: int, means: type[Exception]
) -> None:
    """NFS takes what is written and tells of the lack of room at the sync: the copy goes, the source waits for room."""
    sync, content = os.fsync, judged.read_bytes()

    def of_copy(descriptor: int) -> None:
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith(".part"):
            raise OSError(number, os.strerror(number))
        sync(descriptor)

    monkeypatch.setattr(renaming, "rename", refusing(errno.EXDEV))
    monkeypatch.setattr(os, "fsync", of_copy)
    with pytest.raises(means):
        carry_out(recorded(judged, accepted / "1.jpg"))
    assert (os.listdir(accepted), judged.read_bytes()) == ([], content)


def test_what_can_be_neither_renamed_nor_linked_across_disks_is_copied(
    judged: Path, accepted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folders of a union of disks are on one device, and a second name across its disks is refused all the same."""
    content = judged.read_bytes()
    monkeypatch.setattr(renaming, "rename", refusing(errno.EINVAL))
    monkeypatch.setattr(renaming, "link", within_a_folder(renaming.link))
    carry_out(recorded(judged, accepted / "1.jpg"))
    assert (accepted / "1.jpg").read_bytes() == content
    assert os.listdir(judged.parent) == []


def test_a_refusal_is_believed_unless_the_second_name_is_there(judged: Path, accepted: Path) -> None:
    """No space is an answer from before the change; but a link may have been made before its old name could not go."""
    folders = [os.open(folder, os.O_RDONLY | os.O_DIRECTORY) for folder in (judged.parent, accepted)]
    source, target = (renaming.Name(folder, "1.jpg") for folder in folders)
    status = judged.stat()
    full = OSError(errno.ENOSPC, "")

    def bears(name: renaming.Name) -> bool:
        try:
            return os.path.samestat(os.stat(name.called, dir_fd=name.folder), status)
        except FileNotFoundError:
            return False

    try:
        assert renaming.changed_nothing(full, bears, source, target)
        os.link(judged, accepted / "1.jpg")
        assert not renaming.changed_nothing(full, bears, source, target)
    finally:
        for folder in folders:
            os.close(folder)


@pytest.mark.parametrize("copied", [False, True])
def test_a_second_name_is_known_where_files_are_numbered_by_their_names(
    judged: Path, accepted: Path, monkeypatch: pytest.MonkeyPatch, copied: bool
) -> None:
    """Mergerfs by path: a new name that was given in spite of a refusal is no other file, and nothing is abandoned."""
    really = os.stat

    def numbered_by_name(path: str, **options: object) -> os.stat_result:
        found = really(path, **options)  # type: ignore[arg-type]
        return os.stat_result((found[0], hash(path), *found[2:]), {"st_mtime_ns": found.st_mtime_ns})

    def given_in_spite(*names: object) -> None:
        os.link(names[1], names[3], src_dir_fd=names[0], dst_dir_fd=names[2])  # type: ignore[arg-type]
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(file_systems, "magic_of", lambda _descriptor: 0x65735546)
    monkeypatch.setattr(os, "stat", numbered_by_name)
    monkeypatch.setattr(renaming, "rename", refusing(errno.EXDEV if copied else errno.EINVAL))
    monkeypatch.setattr(renaming, "move_name" if copied else "link", given_in_spite)
    with pytest.raises(StorageError, match="may have got its file or not"):
        carry_out(recorded(judged, accepted / "1.jpg"))
    assert (accepted / "1.jpg").read_bytes() == b"judged"
