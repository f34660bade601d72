"""A disk that is not mounted is never taken for an empty folder."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from imageguard_daemon.core.errors import StalledError
from imageguard_daemon.filing import mounts
from imageguard_daemon.filing.folders import Folders
from imageguard_daemon.filing.mounts import Mounts, origin

MEGABYTE = 1 << 20
XFS_BYTES = 300 * MEGABYTE
"""The least that mkfs.xfs accepts."""
ASK_IN_A_NAMESPACE = """
import sys
from pathlib import Path
from imageguard_daemon.filing import mounts
state, *folders = sys.argv[1:]
mounts.require_same_disks(Path(state))
mounts.remember_disks(Path(state), folders)
"""


def _mount(disk: Path) -> None:
    _run_or_skip("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk)


def _run_or_skip(*command: object) -> None:
    if os.geteuid() or subprocess.run([str(part) for part in command], check=False, capture_output=True).returncode:
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


@pytest.fixture
def state_folder(tmp_path: Path) -> Path:
    path = tmp_path / "state"
    path.mkdir()
    return path


def _disk_image(path: Path, kind: str) -> Path:
    program = shutil.which(f"mkfs.{kind}", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if program is None:
        pytest.skip(f"needs mkfs.{kind}")
    with path.open("wb") as file:
        file.truncate(XFS_BYTES)
    subprocess.run([program, "-q", path], check=True, capture_output=True)
    return path


def test_the_origin_is_where_a_file_system_is_attached(disk: Path, tmp_path: Path) -> None:
    """A folder's origin is that of its own file system, through links and strange names."""
    (tmp_path / "link").symlink_to(disk / "accepted")
    assert origin(str(disk / "accepted")) == str(disk)
    assert origin(str(tmp_path / "link")) == str(disk)
    assert origin(str(tmp_path / "not" / "there")) == origin(str(tmp_path)) != str(disk)


def test_a_folder_mounted_onto_itself_keeps_its_origin(tmp_path: Path, disk: Path) -> None:
    """A unit's `ReadWritePaths=` does that: what it sees is what a shell beside it sees."""
    for folder in (tmp_path, disk / "accepted"):
        before = origin(str(folder))
        _run_or_skip("mount", "--bind", folder, folder)
        try:
            assert origin(str(folder)) == before
        finally:
            subprocess.run(["umount", folder], check=True)


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


def test_a_start_without_a_disk_that_was_there_is_refused(disk: Path, state_folder: Path) -> None:
    """The next start names the folder and the mount point, and how to say that it is meant."""
    mounts.require_same_disks(state_folder)
    mounts.remember_disks(state_folder, [str(disk / "accepted")])
    mounts.require_same_disks(state_folder)
    subprocess.run(["umount", disk], check=True)
    with pytest.raises(StalledError, match=r"is not mounted(.|\n)*accepted was on(.|\n)*disks\.json"):
        mounts.require_same_disks(state_folder)
    _mount(disk)
    mounts.require_same_disks(state_folder)
    subprocess.run(["umount", disk], check=True)
    (state_folder / mounts.MEMORY_FILE).unlink()
    mounts.require_same_disks(state_folder)


def test_what_a_unit_remembers_holds_in_a_shell_and_the_other_way_round(disk: Path, state_folder: Path) -> None:
    """In the unit's namespace each folder it may write to is a mount of its own; outside none is."""
    folders = [str(disk / "accepted"), str(disk.parent / "inbox")]
    (disk.parent / "inbox").mkdir()
    asks = [sys.executable, "-c", ASK_IN_A_NAMESPACE, str(state_folder), *folders]
    bound = 'for one in "$STATE" "$DISK/accepted"; do mount --rbind "$one" "$one"; done; exec "$@"'
    unit = ["unshare", "--mount", "sh", "-ec", bound, "sh", *asks]
    environment = {**os.environ, "STATE": str(disk.parent), "DISK": str(disk), "PYTHONPATH": os.pathsep.join(sys.path)}
    for command in (unit, asks, unit):
        subprocess.run(command, check=True, env=environment)
    subprocess.run(["umount", disk], check=True)
    for command in (unit, asks):
        told = subprocess.run(command, check=False, env=environment, capture_output=True, text=True)
        assert "accepted was on" in told.stderr
        assert "StalledError: a disk is not mounted" in told.stderr


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs"])
def test_a_disk_is_known_again_and_another_in_its_place_is_not(tmp_path: Path, kind: str, state_folder: Path) -> None:
    """By its UUID, over boots and under other device numbers; what to remove when it was replaced is told."""
    first, second = (_disk_image(tmp_path / name, kind) for name in ("first", "second"))
    point = tmp_path / "accepted"
    point.mkdir()
    _run_or_skip("mount", "-o", "loop", first, point)
    try:
        mounts.remember_disks(state_folder, [str(point)])
        known = mounts.disk_of(str(point))
        assert known.startswith(f"{kind}:")
        subprocess.run(["umount", point], check=True)
        subprocess.run(["mount", "-o", "loop", second, point], check=True)
        with pytest.raises(StalledError, match=rf"{known}(.|\n)*or was replaced, remove .*disks\.json"):
            mounts.require_same_disks(state_folder)
        subprocess.run(["umount", point], check=True)
        subprocess.run(["mount", "-o", "loop", first, point], check=True)
        mounts.require_same_disks(state_folder)
        assert mounts.disk_of(str(point / "not there yet")) == known
    finally:
        subprocess.run(["umount", point], check=True)


@pytest.mark.parametrize("name", ["accepted", "@accepted"])
def test_another_subvolume_in_its_place_is_not_taken_for_it(tmp_path: Path, name: str, state_folder: Path) -> None:
    """Of the same file system, with the same UUID; nor is the lost mount of one that is named as its mount point is."""
    image, top, point = (tmp_path / name for name in ("image", "top", "accepted"))
    top.mkdir()
    point.mkdir()
    _run_or_skip("mount", "-o", "loop", _disk_image(image, "btrfs"), top)
    named = Path(str(point)[1:]) if name == "accepted" else Path(name)
    try:
        for subvolume in (named, Path("other")):
            (top / subvolume).parent.mkdir(parents=True, exist_ok=True)
            subprocess.run(["btrfs", "subvolume", "create", top / subvolume], check=True, capture_output=True)
        device = _device_of(top)
        _run_or_skip("mount", "-o", f"subvol={named}", device, point)
        mounts.remember_disks(state_folder, [str(point / "cat")])
        mounts.require_same_disks(state_folder)
        subprocess.run(["umount", point], check=True)
        with pytest.raises(StalledError, match=f"cat was on {point}"):
            mounts.require_same_disks(state_folder)
        subprocess.run(["mount", "-o", "subvol=other", device, point], check=True)
        with pytest.raises(StalledError, match=f"/{named}, and is /other of the same file system"):
            mounts.require_same_disks(state_folder)
    finally:
        subprocess.run(["umount", "-q", point], check=False)
        subprocess.run(["umount", top], check=True)


def test_the_same_folder_of_the_same_disk_is_welcome_however_it_is_attached(tmp_path: Path, state_folder: Path) -> None:
    """In a container a folder is mounted for itself that lies on a larger mount outside of it."""
    disk, point = tmp_path / "disk", tmp_path / "data"
    disk.mkdir()
    (point / "big").mkdir(parents=True)
    _run_or_skip("mount", "-o", "loop", _disk_image(tmp_path / "image", "ext4"), disk)
    try:
        (disk / "big").mkdir()
        (disk / "other").mkdir()
        _run_or_skip("mount", "--bind", disk / "big", point / "big")
        mounts.remember_disks(state_folder, [str(point / "big")])
        subprocess.run(["umount", point / "big"], check=True)
        with pytest.raises(StalledError, match="big was on"):
            mounts.require_same_disks(state_folder)
        subprocess.run(["mount", "--bind", disk, point], check=True)
        mounts.require_same_disks(state_folder)
        subprocess.run(["mount", "--bind", disk / "other", point / "big"], check=True)
        with pytest.raises(StalledError, match="was /big, and is /other of the same file system"):
            mounts.require_same_disks(state_folder)
    finally:
        for mounted in (point / "big", point, disk):
            subprocess.run(["umount", "-q", mounted], check=False)


def _device_of(point: Path) -> str:
    """Give the loop device of a mount; the device number of a folder on btrfs is not that of its disk."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    (source,) = (line.split(" - ")[1].split()[1] for line in lines if line.split()[4] == str(point))
    return source


def test_a_root_that_was_moved_as_a_whole_is_missing_nothing(disk: Path, tmp_path: Path) -> None:
    """Its memory came along to another disk or server, where it is right about what is beside it, and only that."""
    root = disk / "ingest"
    (root / "state").mkdir(parents=True)
    mounts.remember_disks(root / "state", [str(root / "accepted")])
    shutil.copytree(root, tmp_path / "copy")
    subprocess.run(["umount", disk], check=True)
    shutil.copytree(tmp_path / "copy", root)
    mounts.require_same_disks(root / "state")


@pytest.mark.parametrize("content", ["", "[]", "{half", '{"/a": 1}', '{"/a": {"origin": "/"}}', "1"])
def test_a_damaged_memory_stops_nothing(state_folder: Path, content: str) -> None:
    """What cannot be read is as if it were not there."""
    (state_folder / mounts.MEMORY_FILE).write_text(content)
    mounts.require_same_disks(state_folder)


def test_folders_that_share_the_roots_disk_are_never_missing(tmp_path: Path) -> None:
    """A folder on the file system of / has no mount that could be lost."""
    assert mounts.missing({str(tmp_path): "/"}) == {}
