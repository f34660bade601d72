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
from imageguard_daemon.core.files import lock_if_free
from imageguard_daemon.core.locks import DaemonLocks, FolderLock, RootLock, account_name, running_process
from tests.e2e.daemon_process import command as _command
from tests.faults.site import wait_until
from tests.helpers.images import jpeg, photo


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


pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="acting as root needs root")
NOBODY = 65534
NAMELESS = 54_321


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A root whose daemon runs as another account, with an image that waits."""
    root = tmp_path_factory.mktemp("owned") / "ingest"
    (root / "inbox").mkdir(parents=True)
    (root / "inbox" / "1.jpg").write_bytes(jpeg(photo(640, 480), 95))
    assert _command("run", root, "--once").returncode == 0
    (root / "inbox" / "2.jpg").write_bytes(jpeg(photo(640, 480, seed=2), 95))
    for path in (root, *root.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    return root


@pytest.mark.parametrize(
    "command",
    [
        "run --once",
        "web",
        "web --new-token anna",
        "quarantine release --yes --id 1",
        "verify --repair",
        "fleet forward",
        "audit accept",
    ],
)
def test_root_is_refused_in_a_root_of_another_account(root, command, tmp_path):
    """The message names the account and the command's other form; nothing was changed, and nothing is root's."""
    before = _state(root)
    config = tmp_path / "config.yaml"
    config.write_text(f"root: {root}\nforward: {{url: 'postgresql://a@127.0.0.1/b'}}\n")
    told = _command(*command.split(), "--config", config)
    assert told.returncode == os.EX_NOPERM, told.stderr
    assert f"`sudo -u {account_name(NOBODY)}` before it" in told.stderr
    assert _state(root) == before
    assert all(path.stat().st_uid == NOBODY for path in root.rglob("*"))


def _state(root):
    """Give what is there, but for what SQLite needs to read; it sees to the owner of that itself."""
    kept = [path for path in root.rglob("*") if not path.name.endswith(("-wal", "-shm"))]
    return {path: path.stat().st_mtime_ns for path in kept if path.is_file()}


def test_root_may_look_everywhere_and_act_in_its_own(root, tmp_path):
    """Reading changes no owner; a root that is root's is like that of any account."""
    for command in ("status", "report", "verify"):
        assert _command(command, root).returncode == 0, command
    assert all(path.stat().st_uid == NOBODY for path in root.rglob("*"))
    own = tmp_path / "own"
    shutil.copytree(root, own)
    done = _command("run", own, "--once")
    assert done.returncode == 0, done.stderr


def test_a_new_root_in_an_accounts_folder_is_that_accounts(tmp_path):
    """What systemd-tmpfiles made is not taken over by whoever starts first; an account without a name has a number."""
    os.chown(tmp_path, NAMELESS, NAMELESS)
    told = _command("run", tmp_path, "--once")
    assert (told.returncode, f"sudo -u #{NAMELESS}" in told.stderr) == (os.EX_NOPERM, True), told.stderr
    assert list(tmp_path.iterdir()) == []
