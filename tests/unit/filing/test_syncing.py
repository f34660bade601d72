"""Much is made durable at once, and a disk that refuses one thing is believed."""

import errno
import os
from pathlib import Path

import pytest

from imageguard_daemon.core.errors import StorageError
from imageguard_daemon.filing import syncing


def opened(folder: Path, count: int) -> list[tuple[int, str]]:
    """Open so many files."""
    return [(os.open(folder / str(n), os.O_CREAT | os.O_RDONLY), str(n)) for n in range(count)]


@pytest.mark.parametrize("count", [0, 1, 8, 9, 100])
def test_every_file_is_synced_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """However many there are, and whoever does it."""
    files, synced = opened(tmp_path, count), []
    monkeypatch.setattr(os, "fsync", synced.append)
    syncing.sync_all(files)
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
        syncing.sync_all(files)
    assert len(begun) == count or count == 3
    for descriptor, _ in files:
        os.close(descriptor)


def test_a_file_system_without_syncs_is_left_in_peace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some FUSE file systems have none."""
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.EINVAL, "no such thing")))
    [(descriptor, what)] = opened(tmp_path, 1)
    syncing.sync(descriptor, what)
    os.close(descriptor)
