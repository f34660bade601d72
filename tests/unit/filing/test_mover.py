"""Moving real files, on one file system and across two."""

import ctypes
import errno
import os
import stat
from pathlib import Path

import pytest

from imageguard_daemon.core.errors import RefusedError, RetryableError, StalledError
from imageguard_daemon.core.names import temporary_name
from imageguard_daemon.filing import renaming
from imageguard_daemon.filing.mover import NameTakenError
from tests.helpers.moving import carry_out, refusing
from tests.helpers.records import UNDECODABLE, recorded

LONG_AGO_NS = 1_500_000_000_123_456_789


@pytest.mark.parametrize("name", ["cat/1.jpg", UNDECODABLE])
def test_a_file_arrives_whole_and_as_it_was(inbox: Path, accepted: Path, name: str) -> None:
    """Content, time and permissions arrive, the source is gone, and no temporary is left."""
    source = inbox / name
    source.parent.mkdir(exist_ok=True)
    source.write_bytes(b"x" * 3_000_000)
    source.chmod(0o640)
    os.utime(source, ns=(LONG_AGO_NS, LONG_AGO_NS))
    carry_out(recorded(source, accepted / name))
    status = (accepted / name).stat()
    assert (accepted / name).read_bytes() == b"x" * 3_000_000
    assert (status.st_mtime_ns, stat.S_IMODE(status.st_mode), status.st_nlink) == (LONG_AGO_NS, 0o640, 1)
    assert not source.exists()
    assert [path.name for path in accepted.rglob("*") if path.is_file()] == [os.path.basename(name)]


def test_nothing_is_overwritten(inbox: Path, accepted: Path) -> None:
    """A file, a folder or a dangling link at the destination stays, and so does the source."""
    source = inbox / "1.jpg"
    source.write_bytes(b"new")
    for number, make in enumerate([Path.touch, Path.mkdir, lambda path: path.symlink_to("nowhere")]):
        make(accepted / f"{number}.jpg")
    for number in range(3):
        before = (accepted / f"{number}.jpg").lstat()
        with pytest.raises(NameTakenError):
            carry_out(recorded(source, accepted / f"{number}.jpg"))
        assert (accepted / f"{number}.jpg").lstat() == before
        assert len(os.listdir(accepted)) == 3
        assert source.read_bytes() == b"new"


def test_a_full_disk_leaves_source_and_destination_as_they_were(
    inbox: Path, other_device: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the copy does not fit, the source pauses, the file stays and the half copy is gone."""
    source = inbox / "1.jpg"
    source.write_bytes(b"judged")
    monkeypatch.setattr(os, "write", refusing(errno.ENOSPC))
    with pytest.raises(StalledError, match="No space left"):
        carry_out(recorded(source, other_device / "1.jpg"))
    assert os.listdir(other_device) == []
    assert source.exists()


def test_another_daemons_copy_is_not_touched(inbox: Path, other_device: Path) -> None:
    """A temporary of the same number that somebody else is filling stays."""
    (inbox / "1.jpg").write_bytes(b"judged")
    theirs = other_device / temporary_name(1)
    theirs.write_bytes(b"theirs")
    with pytest.raises(NameTakenError):
        carry_out(recorded(inbox / "1.jpg", other_device / "1.jpg"))
    assert theirs.read_bytes() == b"theirs"


def test_a_copy_keeps_extended_attributes_and_lends_no_rights(inbox: Path, other_device: Path) -> None:
    """Attributes come along where the other file system takes them; set-user-ID bits never do."""
    source = inbox / "1.jpg"
    source.write_bytes(b"judged")
    source.chmod(0o6755)
    name = "user.origin"
    for folder in (inbox, other_device):
        probe = folder / "probe"
        probe.touch()
        try:
            os.setxattr(probe, name, b"scraper")
        except OSError:
            name = ""
        probe.unlink()
    if name:
        os.setxattr(source, name, b"scraper")
    carry_out(recorded(source, other_device / "1.jpg"))
    assert stat.S_IMODE((other_device / "1.jpg").stat().st_mode) == 0o755
    if name:
        assert os.getxattr(other_device / "1.jpg", name) == b"scraper"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_refused_rename_is_tried_again_later(
    inbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """What the file system refuses for a reason that may pass moves nothing and is no verdict on the file."""
    (tmp_path / "accepted").mkdir()
    (inbox / "1.jpg").write_bytes(b"judged")
    monkeypatch.setattr(renaming, "rename", refusing(number))
    with pytest.raises(RetryableError) as caught:
        carry_out(recorded(inbox / "1.jpg", tmp_path / "accepted/1.jpg"))
    assert isinstance(caught.value, StalledError)  # a folder or disk, not this file
    assert (inbox / "1.jpg").exists()


def test_a_file_that_may_not_be_moved_is_no_fault_of_the_disk(
    inbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A permission that is refused, nobody can tell where, concerns this file: others are tried."""
    (tmp_path / "accepted").mkdir()
    (inbox / "1.jpg").write_bytes(b"judged")
    monkeypatch.setattr(renaming, "rename", refusing(errno.EACCES))
    with pytest.raises(RefusedError, match="Permission denied") as caught:
        carry_out(recorded(inbox / "1.jpg", tmp_path / "accepted/1.jpg"))
    assert caught.value.place == str(inbox / "1.jpg")
    assert (inbox / "1.jpg").exists()


def test_moves_leave_no_descriptor_behind(inbox: Path, accepted: Path) -> None:
    """Neither a move nor a refusal keeps a file open."""
    for name in ("1.jpg", "2.jpg"):
        (inbox / name).write_bytes(b"content")
    (accepted / "2.jpg").touch()
    before = sorted(os.listdir("/proc/self/fd"))
    carry_out(recorded(inbox / "1.jpg", accepted / "1.jpg"))
    with pytest.raises(NameTakenError):
        carry_out(recorded(inbox / "2.jpg", accepted / "2.jpg"))
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_the_kernel_knows_the_rename_that_never_replaces() -> None:
    """The C library at hand has renameat2, without which nothing is safe."""
    assert ctypes.CDLL(None).renameat2
