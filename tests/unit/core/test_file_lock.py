"""Locks that one process at a time has."""

import errno
import fcntl
import math
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from imageguard_daemon.core.errors import AlreadyRunningError, UnavailableError
from imageguard_daemon.core.file_lock import FileLock, alone, lock_if_free


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EACCES])
def test_a_lock_that_somebody_has_is_told_from_one_that_cannot_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """SMB says that permission is denied where others say that somebody has it; any other error says neither."""
    descriptor = os.open(tmp_path, os.O_RDONLY)
    assert lock_if_free(descriptor)

    def refuse(*_arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert not lock_if_free(descriptor)
    number = errno.ENOLCK
    with pytest.raises(OSError, match="No locks"):
        lock_if_free(descriptor)
    os.close(descriptor)


def test_one_at_a_time_has_a_lock_and_the_next_one_when_it_is_let_go(tmp_path: Path) -> None:
    with FileLock(tmp_path / "lock") as first, FileLock(tmp_path / "lock") as second:
        assert first.acquire()
        assert not second.acquire()
        assert not second.acquire(0.1)
        threading.Timer(0.1, lambda: fcntl.flock(first.descriptor, fcntl.LOCK_UN)).start()
        assert second.acquire(60)
    with FileLock(tmp_path / "lock") as third:
        assert third.acquire()


def test_who_waits_for_as_long_as_it_takes_is_woken(tmp_path: Path) -> None:
    with FileLock(tmp_path / "lock") as first, FileLock(tmp_path / "lock") as second:
        assert first.acquire()
        threading.Timer(0.1, lambda: fcntl.flock(first.descriptor, fcntl.LOCK_UN)).start()
        assert second.acquire(math.inf)


def test_a_child_that_inherited_the_file_does_not_go_on_holding_the_lock(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    assert lock.acquire()
    command = [sys.executable, "-c", "input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[lock.descriptor]) as child:
        lock.release()
        with FileLock(tmp_path / "lock") as other:
            assert other.acquire()
        child.communicate(b"\n")


def test_without_locks_only_one_that_is_required_cannot_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on NFS without a lock manager: a root is not worked on; where two only do a work twice, they go on."""

    def refuse(*_arguments: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with (
        FileLock(tmp_path / "lock") as required,
        pytest.raises(UnavailableError, match=r"cannot lock .*/lock: No locks"),
    ):
        required.acquire()
    with FileLock(tmp_path / "lock", is_required=False) as lock:
        assert lock.acquire()
        assert lock.acquire(math.inf)


def test_work_that_one_does_at_a_time_is_refused_to_a_second(tmp_path: Path) -> None:
    second = alone(tmp_path / "lock", "another is at it")
    with alone(tmp_path / "lock", ""), pytest.raises(AlreadyRunningError, match="another is at it"), second:
        pass
    with alone(tmp_path / "lock", "another is at it"):
        pass


def test_a_link_in_place_of_a_lock_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="link"):
        FileLock(tmp_path / "lock")
    assert not (tmp_path / "elsewhere").exists()
