"""An inbox, and destinations that are reached in each way there is."""

import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from imageguard_daemon.filing import renaming
from tests.helpers.moving import refusing


@pytest.fixture
def other_device(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system than the temporary one."""
    shm = Path("/dev/shm")  # noqa: S108 - it is the other file system that counts
    if not os.access(shm, os.W_OK) or shm.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system to write to")
    with tempfile.TemporaryDirectory(dir=shm) as folder:
        yield Path(folder)


@pytest.fixture(params=["rename", "link", "copy", "copy and link"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each way a file can take, and what the destination is on."""
    if "link" in request.param:  # as on NFS: no rename that refuses to replace
        monkeypatch.setattr(renaming, "rename", refusing(errno.EINVAL))
    return str(request.param)


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """An inbox."""
    path = tmp_path / "inbox"
    path.mkdir()
    return path


@pytest.fixture
def accepted(way: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A destination, on another file system where the way asks for it."""
    if not way.startswith("copy"):
        (tmp_path / "accepted").mkdir()
        return tmp_path / "accepted"
    other: Path = request.getfixturevalue("other_device")
    if way == "copy and link":
        monkeypatch.setattr(renaming, "rename", _refusing_in_both_ways)
    return other


def _refusing_in_both_ways(source_folder: int, _source: str, target_folder: int, _target: str) -> None:
    same = os.fstat(source_folder).st_dev == os.fstat(target_folder).st_dev
    refusing(errno.EINVAL if same else errno.EXDEV)()
