"""File systems of the world, mounted for a test and gone with it: each ends whatever it has started."""

import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import pytest

from tests.e2e.daemon_process import wait_until
from tests.faults.requirements import SFTP_SERVER, need, need_root, need_tools

PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
END_SECONDS = 60


@contextmanager
def mergerfs(home: Path, *options: str) -> Iterator[Path]:
    """Two folders shown as one, with Debian's defaults: a file has another inode number under each of its names."""
    _need_fuse("mergerfs")
    for name in ("disk1", "disk2"):
        (home / name).mkdir()
    command = ["mergerfs", "-f", "-o", ",".join(["allow_other", *options]), f"{home}/disk1:{home}/disk2"]
    with _mounted(home, lambda at: [*command, str(at)]) as at:
        yield at


def numbered_by_names(home: Path) -> AbstractContextManager[Path]:
    """The same where a file gets another inode number with each new name."""
    return mergerfs(home, "use_ino", "inodecalc=path-hash")


@contextmanager
def sshfs(home: Path, *options: str, seconds: float = 0.0) -> Iterator[Path]:
    """A folder of an SFTP server of this machine, which it talks to through a pair of sockets in place of ssh.

    Each question to the server takes so many seconds.
    """
    _need_fuse("sshfs")
    need(SFTP_SERVER.exists(), "OpenSSH's sftp-server")
    (home / "remote").mkdir()
    ours, theirs = socket.socketpair()
    server = subprocess.Popen([SFTP_SERVER, "-d", f"{home}/remote"], stdin=theirs, stdout=theirs)
    ours = _delayed(ours, seconds) if seconds else ours
    try:
        command = ["sshfs", "-f", "-o", ",".join(["passive,allow_other", *options]), f"server:{home}/remote"]
        with _mounted(home, lambda at: [*command, str(at)], stdin=ours, stdout=ours) as at:
            for one in (ours, theirs):
                one.close()
            yield at
    finally:
        server.kill()
        server.wait(END_SECONDS)


def uncached(home: Path) -> AbstractContextManager[Path]:
    """The same, with each look at a file asking the server, as NFS and SMB do after a while."""
    return sshfs(home, "dir_cache=no", "attr_timeout=0", "entry_timeout=0")


def slow(home: Path) -> AbstractContextManager[Path]:
    """The same with a server far away, or whose disk has much to do."""
    return sshfs(home, "dir_cache=no", "attr_timeout=0", "entry_timeout=0", seconds=0.01)


@contextmanager
def bindfs(home: Path, *options: str) -> Iterator[Path]:
    """A folder shown at another place, with other owners for instance."""
    _need_fuse("bindfs")
    (home / "original").mkdir()
    with _mounted(home, lambda at: ["bindfs", "-f", *options, f"{home}/original", str(at)]) as at:
        yield at


@contextmanager
def exfat(home: Path) -> Iterator[Path]:
    """A memory card: no links, and names such as `12:30.jpg` are refused."""
    need_root()
    _need_fuse("mkfs.exfat", "mount.exfat-fuse")
    with _loop(home, "mkfs.exfat") as device:
        _run("mount.exfat-fuse", device, _mount_point(home))
        with _unmounted_at_the_end(home / "mnt") as at:
            yield at


@contextmanager
def vfat(home: Path) -> Iterator[Path]:
    """An older memory card, by the kernel's own driver."""
    need_root()
    need_tools("mkfs.vfat")
    if "vfat" not in Path("/proc/filesystems").read_text().split():
        pytest.skip("this kernel does not know vfat")
    with _loop(home, "mkfs.vfat") as device:
        _run("mount", "-t", "vfat", device, _mount_point(home))
        with _unmounted_at_the_end(home / "mnt") as at:
            yield at


@contextmanager
def overlayfs(home: Path) -> Iterator[Path]:
    """A writable layer above a read-only one, as in containers."""
    need_root()
    for name in ("lower", "upper", "work"):
        (home / name).mkdir()
    options = f"lowerdir={home}/lower,upperdir={home}/upper,workdir={home}/work"
    at = _mount_point(home)
    tried = subprocess.run(["mount", "-t", "overlay", "-o", options, "overlay", at], check=False, capture_output=True)
    need(tried.returncode == 0, f"overlayfs above {home}: {tried.stderr.decode()}")
    with _unmounted_at_the_end(at):
        yield at


@contextmanager
def subvolumes(home: Path) -> Iterator[Path]:
    """A btrfs whose `inbox` and `accepted` are subvolumes: one file system, but no rename from one to the other."""
    need_root()
    need_tools("mkfs.btrfs", "btrfs")
    if "btrfs" not in Path("/proc/filesystems").read_text().split():
        pytest.skip("this kernel does not know btrfs")
    with _loop(home, "mkfs.btrfs", "--quiet", "--mixed") as device:
        _run("mount", "-t", "btrfs", device, _mount_point(home))
        with _unmounted_at_the_end(home / "mnt") as at:
            for name in ("inbox", "accepted"):
                _run("btrfs", "subvolume", "create", at / name)
            yield at


KINDS: dict[str, Callable[[Path], object]] = {
    kind.__name__: kind
    for kind in (mergerfs, numbered_by_names, sshfs, uncached, slow, bindfs, exfat, vfat, overlayfs, subvolumes)
}


def _delayed(server: socket.socket, seconds: float) -> socket.socket:
    """Give a socket from which each message to an SFTP server arrives there so much later, one after another."""
    ours, theirs = socket.socketpair()

    def questions() -> None:
        with theirs, theirs.makefile("rb") as stream, suppress(OSError):
            while len(length := stream.read(4)) == 4:
                message = stream.read(int.from_bytes(length, "big"))
                time.sleep(seconds)
                server.sendall(length + message)

    def answers() -> None:
        with server, suppress(OSError):
            while answer := server.recv(1 << 16):
                theirs.sendall(answer)

    for one in (questions, answers):
        threading.Thread(target=one, daemon=True).start()
    return ours


def _need_fuse(*tools: str) -> None:
    need_tools(*tools, "fusermount3")
    need_root()
    need(os.access("/dev/fuse", os.R_OK | os.W_OK), "/dev/fuse")


def _mount_point(home: Path) -> Path:
    (home / "mnt").mkdir()
    return home / "mnt"


@contextmanager
def _mounted(home: Path, command: Callable[[Path], list[str]], **options) -> Iterator[Path]:
    """Run a file system in the foreground until it is no longer wanted."""
    at = _mount_point(home)
    with (home / "mount.log").open("wb") as log:
        process = subprocess.Popen(
            command(at),
            **{"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log} | options,
            env=os.environ | {"PATH": PATH},
        )
    try:
        wait_until(lambda: os.path.ismount(at) or process.poll() is not None, f"{command(at)[0]} has mounted {at}")
        assert process.poll() is None, (home / "mount.log").read_text()
        with _unmounted_at_the_end(at):
            yield at
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(END_SECONDS)
        process.kill()
        process.wait(END_SECONDS)


@contextmanager
def _unmounted_at_the_end(at: Path) -> Iterator[Path]:
    try:
        yield at
    finally:
        subprocess.run(["umount", "-l", at], check=False, capture_output=True, timeout=60)


@contextmanager
def _loop(home: Path, *make: str) -> Iterator[str]:
    _run("truncate", "-s", "48M", home / "image")
    _run(*make, home / "image")
    device = _run("losetup", "-f", "--show", home / "image").strip()
    try:
        yield device
    finally:
        subprocess.run(["losetup", "-d", device], check=False, capture_output=True, timeout=60)


def _run(*arguments: object) -> str:
    command = list(map(str, arguments))
    ran = subprocess.run(
        command, check=False, capture_output=True, text=True, env=os.environ | {"PATH": PATH}, timeout=60
    )
    need(ran.returncode == 0, f"{' '.join(command)}: {ran.stderr.strip()}")
    return ran.stdout
