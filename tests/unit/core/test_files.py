"""Files that are written whole."""

import errno
import fcntl
import math
import os
import re
import signal
import stat
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

from imageguard_daemon.core.errors import AlreadyRunningError, UnavailableError
from imageguard_daemon.core.files import (
    PARTIAL_SUFFIX,
    FileLock,
    NewFile,
    alone,
    lock_if_free,
    remove_partial,
    written_whole,
)
from tests.faults.requirements import need_strace

OLD, NEW = b"old " * 5_000, b"new " * 50_000
_WRITE = """
import sys
from imageguard_daemon.core.files import written_whole
with written_whole(sys.argv[1]) as file:
    for _ in range(4):
        file.write(b"new " * 12_500)
"""
_EFFECTS = ("openat", "flock", "ftruncate", "fchmod", "write", "fsync", "rename", "close", "unlink")


def test_a_failure_on_the_way_leaves_what_was_there(tmp_path: Path) -> None:
    """Whatever ends the writing, the old file stays, and nothing else is left."""
    path = tmp_path / "out"
    path.write_bytes(OLD)
    with pytest.raises(TypeError), written_whole(path) as file:
        file.writelines([NEW, "no bytes"])  # type: ignore[list-item]
    assert path.read_bytes() == OLD
    assert os.listdir(tmp_path) == ["out"]


def test_a_new_file_keeps_the_permissions_of_the_old(tmp_path: Path) -> None:
    """Who could not read a result before cannot read its successor."""
    path = tmp_path / "out"
    path.write_bytes(OLD)
    path.chmod(0o600)
    with written_whole(path) as file:
        file.write(NEW)
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (NEW, 0o600)


def test_a_link_stays_and_the_file_it_leads_to_is_new(tmp_path: Path) -> None:
    """A name that somebody has made a link keeps being one."""
    (tmp_path / "far").mkdir()
    path = tmp_path / "out"
    path.symlink_to(tmp_path / "far" / "real")
    with written_whole(path) as file:
        file.write(NEW)
    assert path.is_symlink()
    assert (tmp_path / "far" / "real").read_bytes() == NEW


def test_a_pipe_gets_the_bytes_themselves(tmp_path: Path) -> None:
    """What is no file is not replaced by one: `>(...)` of a shell, a FIFO, a device."""
    os.mkfifo(tmp_path / "pipe")
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    with written_whole(tmp_path / "pipe") as file:
        file.write(NEW)
    reader.join(60)
    assert got == [NEW]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    with written_whole("/dev/null") as file:
        file.write(NEW)


def test_two_cannot_write_one_file(tmp_path: Path) -> None:
    """The second is told, by whatever name it asks, and the first one's file is whole; then the second may."""
    (tmp_path / "other").symlink_to("out")
    first = NewFile(tmp_path / "out")
    first.stream.write(NEW)
    for name in ("out", "other"):
        with pytest.raises(AlreadyRunningError, match="another process is writing"):
            NewFile(tmp_path / name)
    first.keep()
    with written_whole(tmp_path / "out") as file:
        file.write(OLD)
    assert (tmp_path / "out").read_bytes() == OLD


def test_who_comes_just_as_another_ends_does_not_write_into_its_file(tmp_path: Path, monkeypatch) -> None:
    """A file that got its name between being opened and being locked is left to its reader."""
    first = NewFile(tmp_path / "out")
    first.stream.write(NEW)
    lock = fcntl.flock

    def late(descriptor: int, how: int) -> None:
        monkeypatch.setattr(fcntl, "flock", lock)
        first.keep()
        lock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", late)
    second = NewFile(tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == NEW
    second.discard()
    assert (tmp_path / "out").read_bytes() == NEW


def test_without_locks_each_writes_a_file_of_its_own(tmp_path: Path, monkeypatch) -> None:
    """On a file system that has none, the last one to end wins, and its file is whole."""

    def refused(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refused)
    with written_whole(tmp_path / "out") as file:
        file.write(NEW)
    assert (tmp_path / "out").read_bytes() == NEW
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("trap", ["link", "hard link"])
def test_a_trap_under_the_hidden_name_is_not_written_through(tmp_path: Path, trap: str) -> None:
    """In a folder that others may write to, the hidden name leads to no file of the user's."""
    precious = tmp_path / "precious"
    precious.write_bytes(OLD)
    hidden = tmp_path / ".imageguard-out.part"
    if trap == "link":
        hidden.symlink_to(precious)
        with pytest.raises(OSError, match="symbolic links"):
            NewFile(tmp_path / "out")
    else:
        hidden.hardlink_to(precious)
        with written_whole(tmp_path / "out") as file:
            file.write(NEW)
    assert precious.read_bytes() == OLD


@pytest.mark.parametrize("has_links", [True, False])
def test_what_came_meanwhile_is_not_replaced_unless_that_is_meant(tmp_path: Path, monkeypatch, has_links: bool) -> None:
    """A new file that may replace nothing is not named where somebody else was quicker, and nothing of it is left."""

    def refused(*_: object) -> None:
        raise PermissionError(errno.EPERM, "no links here")

    if not has_links:
        monkeypatch.setattr(os, "link", refused)
    with written_whole(tmp_path / "out", replaces=False) as file:
        file.write(NEW)
    assert (tmp_path / "out").read_bytes() == NEW
    (tmp_path / "out").unlink()
    new = NewFile(tmp_path / "out", replaces=False)
    (tmp_path / "out").write_bytes(OLD)
    with pytest.raises(FileExistsError, match="meanwhile"):
        new.keep()
    assert (tmp_path / "out").read_bytes() == OLD
    assert os.listdir(tmp_path) == ["out"]


def _owned_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 12_345)


def test_where_all_files_seem_to_be_another_accounts_a_new_one_is_taken(tmp_path: Path, monkeypatch) -> None:
    """As on a mount that gives all files one owner: what this process has just made is its own, whoever has it."""
    _owned_by_another(monkeypatch)
    for _ in range(2):
        with written_whole(tmp_path / "out") as file:
            file.write(NEW)
    (tmp_path / ".imageguard-out.part").write_bytes(OLD)  # as a killed run leaves it
    with written_whole(tmp_path / "out") as file:
        file.write(NEW)
    assert (tmp_path / "out").read_bytes() == NEW
    assert os.listdir(tmp_path) == ["out"]


def test_a_file_of_another_account_that_comes_back_is_told(tmp_path: Path, monkeypatch) -> None:
    """Whoever makes it again each time it is removed: the writing ends, with the name that stands in the way."""
    _owned_by_another(monkeypatch)
    hidden, unlink = tmp_path / ".imageguard-out.part", os.unlink
    hidden.write_bytes(OLD)

    def comes_back(path: str) -> None:
        unlink(path)
        hidden.write_bytes(OLD)

    monkeypatch.setattr(os, "unlink", comes_back)
    with pytest.raises(FileExistsError, match=r"comes back .*\.imageguard-out\.part"):
        NewFile(tmp_path / "out")


def test_a_name_that_never_stays_the_same_file_is_told(tmp_path: Path, monkeypatch) -> None:
    """As where each look gives another number of the file: no lock can be trusted, and the writing ends."""
    stat_of, numbers = os.stat, iter(range(1_000_000_000, 2_000_000_000))

    def another(path: str, **how: bool) -> os.stat_result:
        found = stat_of(path, **how)
        return os.stat_result((found.st_mode, next(numbers), *found[2:10])) if "follow_symlinks" in how else found

    monkeypatch.setattr(os, "stat", another)
    with pytest.raises(FileExistsError, match=r"\.imageguard-out\.part"):
        NewFile(tmp_path / "out")


@pytest.mark.parametrize("call", ["open", "unlink"])
def test_a_file_that_cannot_be_removed_is_told(tmp_path: Path, monkeypatch, call: str) -> None:
    """The sentence says which name is in the way, and that it is not the result's."""
    _owned_by_another(monkeypatch)
    hidden, real = tmp_path / ".imageguard-out.part", getattr(os, call)
    hidden.write_bytes(OLD)

    def refused(path: str, *how: int) -> int | None:
        if path == str(hidden) and not (how and how[0] & os.O_EXCL):
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), path)
        return real(path, *how)

    monkeypatch.setattr(os, call, refused)
    with pytest.raises(PermissionError, match="under which the file is written first") as raised:
        NewFile(tmp_path / "out")
    assert str(hidden) in str(raised.value)
    assert hidden.read_bytes() == OLD


def test_a_name_of_full_length_can_be_written(tmp_path: Path) -> None:
    """The hidden name is no longer than a name may be."""
    with written_whole(tmp_path / ("n" * 255)) as file:
        file.write(NEW)
    assert os.listdir(tmp_path) == ["n" * 255]


def test_what_is_not_whole_says_so_in_its_name(tmp_path: Path) -> None:
    """Set aside, it leaves the old file alone; the next whole file takes it away."""
    path = tmp_path / "out"
    path.write_bytes(OLD)
    new = NewFile(path)
    new.stream.write(NEW)
    assert new.set_aside() == f"{path}{PARTIAL_SUFFIX}"
    assert (path.read_bytes(), Path(f"{path}{PARTIAL_SUFFIX}").read_bytes()) == (OLD, NEW)
    remove_partial(path)
    assert os.listdir(tmp_path) == ["out"]


def _traced(tmp_path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Write under strace, which looks at the calls that concern the file or its folder only."""
    places = (tmp_path, tmp_path / "out", tmp_path / ".imageguard-out.part")
    command = ["strace", "-qq", *(word for place in places for word in ("-P", str(place))), *options]
    command += [sys.executable, "-c", _WRITE, str(tmp_path / "out")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_killed_at_any_system_call_there_is_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    """SIGKILL wherever it hits: the name has all of the old bytes or all of the new, and the next run goes well."""
    need_strace()
    path = tmp_path / "out"
    path.write_bytes(OLD)
    made = _traced(tmp_path, "-e", f"trace={','.join(_EFFECTS)}")
    assert path.read_bytes() == NEW, made.stderr
    counts = Counter(re.findall(r"^(\w+)\(", made.stderr, re.MULTILINE))
    assert counts["fsync"] == 2, made.stderr
    assert counts["rename"] == 1
    found = set()
    for call, number in [(name, which) for name in counts for which in range(1, counts[name] + 1)]:
        path.write_bytes(OLD)
        killed = _traced(tmp_path, "-e", f"trace={call}", "-e", f"inject={call}:signal=SIGKILL:when={number}")
        assert killed.returncode == -signal.SIGKILL, (call, number, killed.stderr)
        content = path.read_bytes()
        assert content in {OLD, NEW}, (call, number)
        found.add(content)
        with written_whole(path) as file:
            file.write(NEW)
        assert os.listdir(tmp_path) == ["out"], (call, number)
    assert found == {OLD, NEW}


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
