"""The small parts around the pipeline."""

import errno
import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console
from structlog.testing import capture_logs

from imageguard_daemon.cli.system_errors import in_our_words
from imageguard_daemon.config import Settings, Source
from imageguard_daemon.config_file import load
from imageguard_daemon.core import file_systems, locks
from imageguard_daemon.core.errors import (
    AlreadyRunningError,
    ConfigError,
    NoInputError,
    PermissionDeniedError,
    StalledError,
    StorageError,
    UnavailableError,
)
from imageguard_daemon.core.file_lock import lock_if_free
from imageguard_daemon.core.locks import DaemonLocks, FolderLock, RootLock, running_process
from imageguard_daemon.core.systemd import StartProgress, notify
from imageguard_daemon.daemon import setup_folders, status
from imageguard_daemon.daemon.filed_images import Totals
from imageguard_daemon.daemon.lifecycle import Daemon
from imageguard_daemon.daemon.main_loop import Waker
from imageguard_daemon.daemon.snapshot import FailedFile, Snapshot, SourceSnapshot
from imageguard_daemon.daemon.sources import ServedSource, remove_emptied_folders
from imageguard_daemon.daemon.status_line import StatusLine, status_line
from tests.faults.site import wait_until


class _Inbox:
    walks = 0

    def walk_soon(self) -> None:
        self.walks += 1


@pytest.mark.parametrize(
    ("magic", "told"), [(0x6969, "is on NFS"), (0xFE534D42, "is on SMB"), (0x65735546, "is on FUSE"), (0xEF53, "")]
)
def test_a_log_on_no_local_disk_is_told_with_what_to_do(tmp_path, monkeypatch, magic, told):
    """NFS and SMB keep neither SQLite's locks nor its promises: that is said by name, and on a local disk nothing."""
    monkeypatch.setattr(file_systems, "magic_of", lambda _descriptor: magic)
    found = setup_folders.why_log_is_unsafe(load(None, tmp_path))
    assert told in found
    assert ("name that place as audit.database" in found) == bool(told)


@pytest.fixture
def served():
    return ServedSource(Source(), _Inbox())


def _status(**changes) -> Snapshot:
    values = {
        "process_id": 1,
        "state": "watching",
        "started_at": "",
        "accepted": 7,
        "quarantined": 2,
        "reasons": {"blurry": 2},
        "images_per_second": 3.5,
        "backlog": 1,
        "in_work": 1,
        "worker_failures": 0,
        "sources": (SourceSnapshot("default", "/inbox", True, 0, ""),),
        "failures": (),
    }
    return Snapshot(**(values | changes))


def test_a_pause_doubles_and_is_bounded(served):
    """Each pause in a row is twice as long, none longer than half a minute, and each ends with a new walk."""
    lengths = []
    now = 0.0
    for _ in range(8):
        served.pause("no space", now)
        lengths.append(served.next_probe() - now)
        assert served.is_paused(now)
        now = served.next_probe()
        assert not served.is_paused(now)
    assert lengths == [1, 2, 4, 8, 16, 30, 30, 30]
    assert served.inbox.walks == 8


def test_after_a_pause_a_single_file_probes(served):
    """While the cause may still be there, a source gives one file at a time; a success opens it again."""
    assert served.room(50, 0.0) == 50
    served.pause("no space", 0.0)
    assert served.room(50, 0.5) == 0
    assert served.room(50, 1.5) == 1
    served.works_again(100.0)
    assert served.room(50, 1.5) == 50
    assert served.paused_because == ""


def test_new_thresholds_count_from_the_next_decision(served):
    """Settings applied while running replace the thresholds in force."""
    served.apply(Source(preset="fine_grained", thresholds={"blur_score": 12}))
    assert served.thresholds["blur_score"] == 12
    assert served.thresholds["resolution_score"] == 75


def test_only_empty_folders_below_the_inbox_are_removed(tmp_path):
    """Emptied folders go, up to the inbox; those with a file and the inbox itself stay."""
    (tmp_path / "inbox/a/b/c").mkdir(parents=True)
    (tmp_path / "inbox/a/keep.txt").write_text("x")
    remove_emptied_folders(str(tmp_path / "inbox/a/b/c"), str(tmp_path / "inbox"))
    assert sorted(path.name for path in (tmp_path / "inbox").rglob("*")) == ["a", "keep.txt"]
    (tmp_path / "inbox/a/keep.txt").unlink()
    remove_emptied_folders(str(tmp_path / "inbox/a"), str(tmp_path / "inbox"))
    assert (tmp_path / "inbox").is_dir()
    assert not (tmp_path / "inbox/a").exists()


def test_the_rate_is_that_of_the_last_half_minute():
    """Old images don't count into the present rate."""
    totals = Totals()
    for second in range(10):
        totals.count("accepted", "", float(second))
    assert totals.images_per_second(10.0) == pytest.approx(1.0)
    totals.count("quarantined", "blurry", 100.0)
    assert totals.images_per_second(101.0) == pytest.approx(1.0)
    assert (totals.total, totals.reasons["blurry"]) == (11, 1)


def test_waking_ends_a_wait_from_any_thread():
    """A wake before or during a wait ends it, and is used up by it."""
    waker = Waker()
    waker.wake()
    waker.wait(60.0)
    thread = threading.Thread(target=waker.wake)
    thread.start()
    waker.wait(60.0)
    thread.join()
    waker.wait(0.0)  # nothing left: returns at once instead of failing
    waker.close()


def test_systemd_gets_each_word_on_its_line(tmp_path, monkeypatch):
    """A notification is one datagram of KEY=value lines."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "socket"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "socket"))
        notify(READY=1, STATUS="watching")
        assert server.recv(100) == b"READY=1\nSTATUS=watching"


def test_a_start_that_goes_on_asks_for_time_now_and_then(tmp_path, monkeypatch):
    """While there is progress systemd's limit moves on, by a message every ten seconds and not by every step."""
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "socket"))
        server.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "socket"))
        start = StartProgress("counting sheep")
        for _ in range(100):
            clock[0] += 0.25
            start.progress()
        heard = [server.recv(100) for _ in range(2)]
        assert heard == [b"EXTEND_TIMEOUT_USEC=120000000\nSTATUS=counting sheep"] * 2
        with pytest.raises(BlockingIOError):
            server.recv(100)


@pytest.mark.parametrize("address", ["", "relative", "/not/there"])
def test_without_systemd_nothing_happens(monkeypatch, address):
    """No socket, a strange one or a dead one is no error."""
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    notify(READY=1)


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
    started = [sys.executable, "-c", "input()", "imageguard_daemon", "verify", "--repair"]
    with subprocess.Popen(started, stdin=subprocess.PIPE) as process:
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


def is_free(folder):
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        return lock_if_free(descriptor)
    finally:
        os.close(descriptor)


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


def test_status_is_read_as_it_was_written(tmp_path):
    """What the daemon writes is what `status` reads; garbage and absence are nothing."""
    assert status.read(tmp_path) is None
    status.write(_status(), tmp_path)
    assert status.read(tmp_path) == json.loads(json.dumps(status.as_status(_status())))
    (tmp_path / status.STATUS_FILE).write_text("{half")
    assert status.read(tmp_path) is None


def test_the_status_file_keeps_its_keys(tmp_path):
    """People's scripts read it: a key that goes, or is called otherwise, breaks them."""
    status.write(_status(), tmp_path)
    content = json.loads((tmp_path / status.STATUS_FILE).read_text())
    assert " ".join(content) == (
        "process_id state started_at updated_at accepted quarantined reasons images_per_second backlog in_work "
        "worker_mishaps sources failures confinement_lacks log_unsafe_because configuration_refused forwarding "
        "left_open left_open_examples scorer_version code"
    )
    [source] = content["sources"]
    keys = "name inbox present settling paused_because next_attempt_at writers_unknown skipped"
    assert " ".join(source) == keys


def test_a_status_that_cannot_be_written_stops_nothing(tmp_path):
    """A full or missing disk costs the status, not the daemon."""
    status.write(_status(), tmp_path / "missing")


def test_the_status_line_tells_trouble():
    """Paused sources, lost inboxes and files left behind stand in the line."""
    failed = FailedFile("default", "a.jpg", 5, True, "no permission")
    paused = SourceSnapshot("default", "/inbox", True, 2, "no space")
    gone = SourceSnapshot("other", "/other", False, 0, "")
    line = status_line(_status(sources=(paused, gone), failures=(failed,))).plain
    for words in ("7 accepted", "2 quarantined", "3.5 images/s", "2 settling", "1 left behind", "paused: no space"):
        assert words in line
    assert "other: inbox is gone" in line


def test_no_status_line_without_a_terminal(capsys):
    """In a pipe or a journal nothing is drawn."""
    with StatusLine(Console(force_terminal=False)) as line:
        line.show(_status())
    assert capsys.readouterr().out == ""


def test_folders_below_the_root_are_made_and_others_must_exist(tmp_path):
    """A root is furnished by itself; a folder elsewhere that is missing is most likely a mount."""
    settings = load(None, tmp_path / "new" / "root")
    setup_folders.prepare(settings)
    assert all(source.inbox.is_dir() for source in settings.sources)
    (tmp_path / "config.yaml").write_text(f"root: r\nsources: [{{accepted: {tmp_path}/elsewhere}}]")
    with pytest.raises(NoInputError, match="elsewhere is not there"):
        setup_folders.prepare(load(tmp_path / "config.yaml"))


@pytest.mark.parametrize("place", ["inbox", "accepted", "elsewhere/quarantine", "elsewhere"])
def test_a_file_in_place_of_a_folder_needs_a_person(tmp_path, place):
    """Who has a file called inbox hears of it, and the unit does not try again: no disk that comes late mends that."""
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text("x")
    (tmp_path / "config.yaml").write_text(f"root: .\nsources: [{{quarantine: {tmp_path}/elsewhere/quarantine}}]")
    with pytest.raises(ConfigError, match=f"{place}( cannot be a folder: a file is in its place| is a file)$"):
        setup_folders.prepare(load(tmp_path / "config.yaml"))


@pytest.mark.parametrize("place", ["inbox", ".imageguard", "elsewhere"])
def test_a_check_of_the_configuration_tells_what_the_start_would(tmp_path, place):
    """A file in the place of a folder is a mistake for both; what the one who checks may not see is none."""
    (tmp_path / place).write_text("x")
    file = tmp_path / "config.yaml"
    file.write_text(f"root: .\nsources: [{{quarantine: {tmp_path}/elsewhere/quarantine}}]")
    with pytest.raises(ConfigError, match="cannot be a folder"):
        setup_folders.refuse_files_in_place_of_folders(load(file))
    (tmp_path / place).unlink()
    setup_folders.refuse_files_in_place_of_folders(load(file))
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("number", [errno.ENOTCONN, errno.ESTALE, errno.EIO, errno.EHOSTDOWN])
@pytest.mark.parametrize("place", ["accepted", "elsewhere"])
def test_a_mount_whose_server_is_gone_may_pass(tmp_path, monkeypatch, number, place):
    """It is neither a mistake in the program nor of the configuration, and no folder that is missing."""
    (tmp_path / place).mkdir()
    file = tmp_path / "root.yaml"
    file.write_text(f"root: root\nsources: [{{accepted: {tmp_path / place}}}]")
    settings, stat = load(file), os.stat

    def away(path, **options):
        if str(path).startswith(str(tmp_path / place)):
            raise OSError(number, os.strerror(number), str(path))
        return stat(path, **options)

    monkeypatch.setattr(os, "stat", away)
    with pytest.raises(StalledError, match=f"cannot look at {tmp_path / place}: {os.strerror(number)}"):
        setup_folders.prepare(settings)
    setup_folders.refuse_files_in_place_of_folders(settings)


@pytest.mark.parametrize(
    ("number", "name", "told"),
    [
        (errno.ENOTCONN, "/mnt/inbox", StalledError),
        (errno.ESTALE, "/mnt/inbox", StalledError),
        (errno.EIO, "/mnt/inbox", StalledError),
        (errno.EIO, None, StorageError),
        (errno.EACCES, "/closed/inbox", PermissionDeniedError),
        (errno.ENAMETOOLONG, "/long", NoInputError),
        (errno.ELOOP, "/loop/inbox", NoInputError),
        (errno.ENOTDIR, "/file/inbox", NoInputError),
        (errno.ENOTEMPTY, "/mnt/inbox", type(None)),
    ],
)
def test_what_the_system_says_of_a_path_is_not_a_mistake_in_the_program(number, name, told):
    """Whichever part of a command meets it: a disk that is away, a closed folder, a name that cannot be."""
    assert type(in_our_words(OSError(number, os.strerror(number), name))) is told


def test_a_start_that_lacks_a_folder_is_the_last_end(tmp_path):
    """`status` says why nothing runs; but nothing of a start beside a daemon that is at work."""
    file = tmp_path / "config.yaml"
    file.write_text(f"root: root\nsources: [{{accepted: {tmp_path}/disk/accepted}}]")
    settings = load(file)
    starting = Daemon(settings, lambda: settings, StatusLine(Console()))
    with pytest.raises(NoInputError):
        starting.run()
    found = status.read_ending(settings.state_folder)
    assert found is not None
    assert (found.exit_code, "disk/accepted is not there" in found.why) == (os.EX_NOINPUT, True)
    (settings.state_folder / status.ENDING_FILE).unlink()
    lock = RootLock(settings.state_folder)
    with pytest.raises(NoInputError):
        starting.run()
    lock.release()
    assert status.read_ending(settings.state_folder) is None


@pytest.mark.parametrize("place", ["inbox", "accepted", "accepted/deep"])
def test_a_link_to_a_disk_that_is_not_there_may_pass(tmp_path, place):
    """A link to a mount point that comes late is no file in the way: such a start is tried again."""
    (tmp_path / place.split("/")[0]).symlink_to(tmp_path / "disk" / "folder")
    (tmp_path / "config.yaml").write_text(f"root: .\nsources: [{{{place.split('/')[0]}: {place}}}]")
    with pytest.raises(NoInputError, match="leads nowhere; mount its disk"):
        setup_folders.prepare(load(tmp_path / "config.yaml"))


def test_a_start_names_the_defaults_that_were_replaced(capsys):
    """Whoever replaces `intake.ignore` hears which unfinished uploads are judged from now on; the rest do not."""
    setup_folders.warn_of_names_let_through(Settings())
    assert not capsys.readouterr().out
    setup_folders.warn_of_names_let_through(Settings(intake={"ignore": ["*.tmp"]}))
    told = capsys.readouterr().out
    assert "ignore_also" in told
    assert "*.part" in told
