"""A disk that is not mounted is never taken for an empty folder."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from imageguard_daemon.errors import StalledError
from imageguard_daemon.filing import mounts
from imageguard_daemon.filing.folders import Folders
from imageguard_daemon.filing.mounts import Mounts, mount_point
from imageguard_daemon.service import mount_memory


def _mount(disk: Path) -> None:
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk]
    if os.geteuid() or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A mounted file system with a strange name, and a folder `accepted` in it and below it."""
    path = tmp_path / "a disk\té"
    (path / "accepted").mkdir(parents=True)
    _mount(path)
    (path / "accepted").mkdir()
    yield path
    while os.path.ismount(path):
        subprocess.run(["umount", path], check=True)


def test_the_nearest_mount_point_counts(disk: Path, tmp_path: Path) -> None:
    """A folder's mount point is that of its own file system, through links and strange names."""
    (tmp_path / "link").symlink_to(disk / "accepted")
    assert mount_point(str(disk / "accepted")) == str(disk)
    assert mount_point(str(tmp_path / "link")) == str(disk)
    assert mount_point(str(tmp_path)) != str(disk)


def test_a_disk_unmounted_while_running_stalls_and_is_welcome_back(disk: Path) -> None:
    """Nothing is filed into the folder below a lost mount; once something is mounted there again, filing goes on."""
    accepted = str(disk / "accepted")
    guard = Mounts([accepted])
    with Folders([accepted], guard) as folders:
        folders.descriptor(accepted)
    subprocess.run(["umount", disk], check=True)
    with Folders([accepted], guard) as folders, pytest.raises(StalledError, match="nothing is mounted"):
        folders.descriptor(accepted)
    _mount(disk)
    (disk / "accepted").mkdir()
    with Folders([accepted], guard) as folders:
        folders.descriptor(accepted)


def test_a_start_without_a_disk_that_was_there_is_refused(disk: Path, tmp_path: Path) -> None:
    """The next start names the folder and the mount point, and how to say that it is meant."""
    mount_memory.require_same_mounts(tmp_path)
    mount_memory.remember(tmp_path, [str(disk / "accepted")])
    mount_memory.require_same_mounts(tmp_path)
    subprocess.run(["umount", disk], check=True)
    with pytest.raises(StalledError, match=r"is not mounted(.|\n)*mounts\.json"):
        mount_memory.require_same_mounts(tmp_path)
    (tmp_path / mount_memory.MEMORY_FILE).unlink()
    mount_memory.require_same_mounts(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", "{half", '{"/a": 1}'])
def test_a_damaged_memory_stops_nothing(tmp_path: Path, content: str) -> None:
    """What cannot be read is as if it were not there."""
    (tmp_path / mount_memory.MEMORY_FILE).write_text(content)
    mount_memory.require_same_mounts(tmp_path)


def test_folders_that_share_the_roots_disk_are_never_missing(tmp_path: Path) -> None:
    """A folder on the file system of / has no mount that could be lost."""
    assert mounts.missing({str(tmp_path): "/"}) == {}
