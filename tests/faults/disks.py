"""File systems made for a test: small disks whose power can be cut, and memory that can be full."""

import fcntl
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.site import wait_until

_SHUTDOWN = 0x8004587D  # FS_IOC_SHUTDOWN
_WITHOUT_FLUSHING = 2
_SIZES = {"ext4": "96M", "xfs": "320M"}  # xfs refuses to be smaller


class Disk:
    """A loop-mounted file system that can lose its power."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.mount_point = folder / "mnt"
        self._image = folder / "image"
        # Nothing becomes durable by the clock, which on a busy machine would hide that it was not synced.
        self._options = "loop,commit=300" if kind == "ext4" else "loop"
        self.mount_point.mkdir(parents=True)
        _run("truncate", "-s", _SIZES[kind], self._image)
        _run(f"mkfs.{kind}", "-q", *(["-F"] if kind == "ext4" else ["-f"]), self._image)
        self.mount()

    def mount(self) -> None:
        """Mount it; the file system's own journal is replayed."""
        _run("mount", "-o", self._options, self._image, self.mount_point)

    def unmount(self) -> None:
        """Unmount it, as soon as nobody uses it any more."""
        wait_until(
            lambda: subprocess.run(["umount", self.mount_point], check=False, capture_output=True).returncode == 0,
            f"{self.mount_point} is let go of",
            20,
        )
        # Another namespace, such as a container's, may still hold it: mounted anew, it would be as dead as before.
        wait_until(
            lambda: not _run("losetup", "-j", self._image).strip(), f"no other namespace holds {self._image}", 60
        )

    def cut_power(self) -> None:
        """Drop everything that was not made durable; from now on every access fails."""
        descriptor = os.open(self.mount_point, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", _WITHOUT_FLUSHING))
        finally:
            os.close(descriptor)


@contextmanager
def disks(count: int, kind: str = "ext4") -> Iterator[list[Disk]]:
    """Give so many disks, in memory where there is enough of it."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 1 << 30
    made: list[Disk] = []
    with tempfile.TemporaryDirectory(prefix="imageguard-disks-", dir=memory if roomy else None) as folder:
        try:
            for number in range(count):
                made.append(Disk(Path(folder, str(number)), kind))  # noqa: PERF401 - those made so far are unmounted
            yield made
        finally:
            for disk in made:
                if os.path.ismount(disk.mount_point):
                    disk.unmount()


@contextmanager
def small_memory(mount_point: Path, options: str) -> Iterator[Path]:
    """Mount a tmpfs with these options."""
    mount_point.mkdir(parents=True, exist_ok=True)
    _run("mount", "-t", "tmpfs", "-o", options, "tmpfs", mount_point)
    try:
        yield mount_point
    finally:
        _run("umount", "-l", mount_point)


@contextmanager
def bound(folder: Path, mount_point: Path) -> Iterator[Path]:
    """Mount a folder at another place too; `unbind` and `bind` take it away and bring it back."""
    folder.mkdir(parents=True)
    mount_point.mkdir()
    bind(folder, mount_point)
    try:
        yield mount_point
    finally:
        unbind(mount_point)


def bind(folder: Path, mount_point: Path) -> None:
    """Mount a folder at another place too."""
    _run("mount", "--bind", folder, mount_point)


def unbind(mount_point: Path) -> None:
    """Take a mount away, whoever uses it."""
    _run("umount", "-l", mount_point)


def remount(mount_point: Path, options: str) -> None:
    """Change the options of a mount."""
    _run("mount", "-o", f"remount,{options}", mount_point)


def can_mount() -> bool:
    """Tell whether loop mounts work here."""
    try:
        with disks(1):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


def _run(*arguments: object) -> str:
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    command = list(map(str, arguments))
    environment = os.environ | {"PATH": path}
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment, timeout=60).stdout
