"""Asking the kernel who writes to a file."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from imageguard_daemon.core import file_systems
from imageguard_daemon.core.regular_files import READ_ONLY_NO_TRAPS, Writers, ask, read_lease

HOLD_OPEN = "import sys; file = open(sys.argv[1], 'ab'); print('open', flush=True); sys.stdin.read()"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file on a file system that grants leases."""
    path = tmp_path / "1.jpg"
    path.write_bytes(b"content")
    if ask(str(path)).writers is Writers.unknown:
        pytest.skip("the file system of the temporary folder grants no leases")
    return path


def test_a_file_at_rest_has_no_writers(file: Path) -> None:
    """A file that nobody has open for writing is free, also while others read it."""
    with file.open("rb"):
        assert ask(str(file)).writers is Writers.none


def test_a_writer_in_another_process_is_seen(file: Path) -> None:
    """As long as a process holds the file open for writing it has writers, and none once it has gone."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD_OPEN, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout
        assert writer.stdout.readline() == "open\n"
        assert ask(str(file)).writers is Writers.some
        writer.communicate()
    assert ask(str(file)).writers is Writers.none


def test_the_lease_is_let_go(file: Path) -> None:
    """After the question a writer opens the file without waiting for anybody."""
    ask(str(file))
    os.close(os.open(file, os.O_WRONLY | os.O_NONBLOCK))


def test_a_lease_the_kernel_took_back_harms_nobody(file: Path) -> None:
    """When a waiting writer has broken the lease, letting go of it is no error: what was done under it is done."""
    descriptor = os.open(file, READ_ONLY_NO_TRAPS)
    with read_lease(descriptor) as writers:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    os.close(descriptor)
    assert writers is Writers.none


def test_where_no_lease_can_be_had_nothing_is_known() -> None:
    """A pipe, like a network file system, gives no answer instead of a wrong one."""
    reading, writing = os.pipe()
    with read_lease(reading) as writers:
        assert writers is Writers.unknown
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize("make", [lambda path: path.symlink_to("elsewhere"), os.mkfifo], ids=["link", "pipe"])
def test_traps_are_neither_followed_nor_waited_for(tmp_path: Path, make: object) -> None:
    """A link is refused, and a pipe without a writer does not stop the daemon."""
    trap = tmp_path / "1.jpg"
    make(trap)  # type: ignore[operator]
    try:
        assert ask(str(trap)).writers is Writers.unknown
    except OSError:
        assert trap.is_symlink()


NFS, SMB, SMB2, FUSE, NEVER_HEARD_OF = 0x6969, 0xFF534D42, 0xFE534D42, 0x65735546, 0x12345678


@pytest.mark.parametrize("magic", [NFS, SMB, SMB2, NEVER_HEARD_OF])
def test_no_lease_is_asked_for_where_its_answer_means_something_else(
    file: Path, monkeypatch: pytest.MonkeyPatch, magic: int
) -> None:
    """On NFS and SMB a refusal tells of no writer, and a lease granted stands in our own way: the answer is unknown."""
    monkeypatch.setattr(file_systems, "magic_of", lambda _descriptor: magic)
    with file.open("ab"):
        assert ask(str(file)).writers is Writers.unknown
    descriptor = os.open(file, READ_ONLY_NO_TRAPS)
    with read_lease(descriptor) as writers:
        os.close(os.open(file, os.O_WRONLY | os.O_NONBLOCK))  # nobody has to wait for us
        assert fcntl.fcntl(descriptor, fcntl.F_GETLEASE) == fcntl.F_UNLCK
    os.close(descriptor)
    assert writers is Writers.unknown


def test_over_fuse_a_writer_here_is_seen_and_those_behind_it_are_not_known(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lease that is refused tells the truth; one that is granted keeps writers off, but proves nothing."""
    monkeypatch.setattr(file_systems, "magic_of", lambda _descriptor: FUSE)
    with file.open("ab"):
        assert ask(str(file)).writers is Writers.some
    descriptor = os.open(file, READ_ONLY_NO_TRAPS)
    with read_lease(descriptor) as writers, pytest.raises(BlockingIOError):
        os.open(file, os.O_WRONLY | os.O_NONBLOCK)
    os.close(descriptor)
    assert writers is Writers.unknown
