"""A root and an inbox have one owner each."""

import errno
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from imageguard_daemon.core import file_systems, locks
from imageguard_daemon.core.errors import (
    AlreadyRunningError,
    UnavailableError,
)
from imageguard_daemon.core.file_lock import lock_if_free
from imageguard_daemon.core.locks import DaemonLocks, FolderLock, RootLock, running_process
from tests.faults.site import wait_until


def test_a_root_has_one_owner(tmp_path):
    """A lock that is held names its owner, and is free again after its release."""
    tmp_path = tmp_path / ".imageguard"
    tmp_path.mkdir()
    assert running_process(tmp_path) is None
    lock = RootLock(tmp_path)
    assert running_process(tmp_path) == os.getpid()
    with pytest.raises(AlreadyRunningError, match=f"another daemon .process {os.getpid()}"):
        RootLock(tmp_path)
    lock.release()
    assert running_process(tmp_path) is None
    RootLock(tmp_path).release()


def test_a_command_that_has_a_root_is_not_called_a_daemon():
    """`verify --repair` holds the same lock; what it was started as is what it is called."""
    started = [sys.executable, "-c", "input(1)", "imageguard_daemon", "verify", "--repair"]
    with subprocess.Popen(started, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.read(1)  # before it runs, the system may not know its arguments yet
        assert locks._who_is(str(process.pid)) == f"`verify` (process {process.pid})"
        process.communicate(b"\n")
    assert locks._who_is("unknown") == "another daemon (process unknown)"


def test_on_smb_a_root_has_one_owner_too(tmp_path, monkeypatch):
    """There the lock of another machine is called a lack of permission, and keeps readers out: no mistake of ours."""
    (tmp_path / "state").mkdir()
    lock = RootLock(tmp_path / "state")
    real = fcntl.flock

    def flock(descriptor, how):
        try:
            real(descriptor, how)
        except BlockingIOError as error:
            raise PermissionError(errno.EACCES, "Permission denied") from error

    def read(*_arguments):
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as here:
        here.setattr(fcntl, "flock", flock)
        here.setattr(os, "read", read)
        with pytest.raises(AlreadyRunningError, match="process unknown"):
            RootLock(tmp_path / "state")
        assert running_process(tmp_path / "state") == 0
    lock.release()


def test_a_root_that_cannot_be_locked_is_told_and_not_worked_on(tmp_path, monkeypatch):
    """Where nobody can say whether another daemon has it, as on NFS without a lock manager, there is none to start."""

    def flock(_descriptor, _how):
        raise OSError(errno.ENOLCK, "No locks available")

    (tmp_path / "state").mkdir()
    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(UnavailableError, match=r"cannot lock .*daemon\.lock: No locks available"):
        RootLock(tmp_path / "state")


def test_a_root_whose_lock_file_was_removed_still_has_its_owner(tmp_path):
    """The lock is on the folder, too; the owner makes its file again, so that others can say who it is."""
    state = tmp_path / ".imageguard"
    state.mkdir()
    lock = RootLock(state)
    shutil.rmtree(state)
    assert running_process(state) == 0
    state.mkdir()
    with pytest.raises(AlreadyRunningError, match="was removed"):
        RootLock(state)
    shutil.rmtree(state)
    lock.keep()
    assert running_process(state) == os.getpid()
    lock.release()
    assert running_process(state) is None


def test_an_inbox_belongs_to_one_root(tmp_path):
    """A second root is refused the same folder, by whatever name, until the first lets go."""
    for name in ("one/state", "two/state", "inbox"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "link").symlink_to("inbox")
    first = DaemonLocks(tmp_path / "one" / "state", [tmp_path / "inbox"])
    with pytest.raises(AlreadyRunningError, match="a daemon of another root takes the images of"):
        DaemonLocks(tmp_path / "two" / "state", [tmp_path / "link"])
    first.release()
    DaemonLocks(tmp_path / "two" / "state", [tmp_path / "link"]).release()


def is_free(folder):
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        return lock_if_free(descriptor)
    finally:
        os.close(descriptor)


@pytest.mark.skipif(os.geteuid() != 0, reason="another account is taken on by root alone")
def test_who_may_read_an_inbox_keeps_no_daemon_from_it():
    """A lock of another account's process that is no daemon is told; when it has gone, the folder is locked again."""
    with tempfile.TemporaryDirectory() as name:
        inbox = Path(name, "inbox")
        inbox.mkdir()
        Path(name).chmod(0o755)
        command = ["setpriv", "--reuid=61002", "--regid=61002", "--clear-groups", "flock", "-F", inbox, "sleep", "60"]
        lock = FolderLock(inbox)
        with subprocess.Popen(command) as stranger:
            wait_until(lambda: not is_free(inbox), "it is locked")
            with capture_logs() as told:
                assert lock.hold()
            stranger.kill()
        assert [(line["event"], line["account"]) for line in told] == [
            ("locked by a process that is not a daemon", 61002)
        ]
        lock._try_again_at = 0.0
        assert lock.hold()
        assert not FolderLock(inbox).hold()
        lock.release()


def test_an_inbox_made_anew_is_locked_again(tmp_path):
    """Deleted and made again beside a running daemon, it is taken anew, or found to be another's."""
    inbox = tmp_path / "root" / "inbox"
    inbox.mkdir(parents=True)
    locks = DaemonLocks(inbox.parent, [inbox])
    inbox.rmdir()
    assert locks.holds(inbox)
    inbox.mkdir()
    other = FolderLock(inbox)
    assert other.hold()
    assert not locks.holds(inbox)
    other.release()
    assert locks.holds(inbox)
    assert not FolderLock(inbox).hold()
    locks.release()


@pytest.mark.parametrize(("magic", "told"), [(0x6969, ["NFS"]), (0xFE534D42, ["SMB"]), (0xEF53, [])])
def test_a_lock_that_other_machines_do_not_see_is_told(tmp_path, monkeypatch, magic, told):
    """Clients of NFS and SMB lock a folder by themselves: daemons of other machines are not kept out; that is said."""
    monkeypatch.setattr(file_systems, "magic_of", lambda _descriptor: magic)
    lock = FolderLock(tmp_path)
    with capture_logs() as logs:
        assert lock.hold()
        assert lock.hold()
    lock.release()
    assert [line["on"] for line in logs if line["event"] == "only daemons of this machine are kept out"] == told
