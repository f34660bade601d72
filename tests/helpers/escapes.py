"""What a decoder taken over would try; each runs inside a real, confined decoder and tells how it went."""

import ctypes
import errno
import fcntl
import mmap
import os
import resource
import signal
import socket
import time
from collections.abc import Callable

from imageguard_daemon.core.model import Limits, Measurement

_LIBC = ctypes.CDLL(None, use_errno=True)
_OUTSIDE = os.getpid()


def _called(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def _raw(number: int, *arguments: object) -> int:
    return _called(_LIBC.syscall(number, *arguments))


def _exhaust_memory() -> None:
    bytearray(1 << 40)


ATTEMPTS: dict[str, Callable[[], object]] = {
    "open a file for writing": lambda: os.open("escaped", os.O_WRONLY | os.O_CREAT, 0o600),
    "open a file elsewhere for reading": lambda: os.open("/etc/passwd", os.O_RDONLY),
    "open with openat2": lambda: _raw(437, -100, b"/etc/passwd", bytes(24), 24),
    "list a folder": lambda: os.listdir("/"),
    "look at a file's metadata": lambda: os.stat("/etc/passwd"),
    "remove a file": lambda: os.unlink("/tmp/imageguard-escape"),  # noqa: S108 - it must not even be tried
    "rename": lambda: os.rename("a", "b"),
    "change permissions": lambda: os.chmod(".", 0o700),
    "change permissions of what is open": lambda: os.fchmod(3, 0o700),
    "mount": lambda: _raw(165, b"none", b"/mnt", b"tmpfs", 0, None),
    "make a socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
    "make a local socket": lambda: socket.socket(socket.AF_UNIX),
    "make a netlink socket": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
    "use io_uring": lambda: _raw(425, 8, bytes(120)),
    "execute": lambda: os.execv("/bin/true", ["true"]),  # noqa: S606 - that is the attempt
    "fork": os.fork,
    "start a thread": lambda: _raw(56, 0x10F00, 0, 0, 0, 0),
    "kill its parent": lambda: os.kill(os.getppid() or _OUTSIDE, signal.SIGKILL),
    "kill the process it came from": lambda: os.kill(_OUTSIDE, signal.SIGKILL),
    "kill by thread": lambda: _raw(234, _OUTSIDE, _OUTSIDE, signal.SIGKILL),
    "trace the process it came from": lambda: _raw(101, 16, _OUTSIDE, 0, 0),
    "read another process's memory": lambda: _raw(310, _OUTSIDE, None, 0, None, 0, 0),
    "take another process's descriptors": lambda: _raw(438, _OUTSIDE, 0, 0),
    "change another process's limits": lambda: resource.prlimit(_OUTSIDE, resource.RLIMIT_CPU, (1, 1)),
    "raise its limits": lambda: resource.setrlimit(resource.RLIMIT_AS, (-1, -1)),
    "change its user": lambda: os.setuid(12345),
    "change its credentials": lambda: _raw(157, 24, 0, 0, 0, 0),
    "program the kernel": lambda: _raw(321, 0, bytes(64), 64),
    "leave for a new namespace": lambda: _raw(272, 0x10000000),
    "write and execute memory": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC),
    "duplicate descriptors": lambda: fcntl.fcntl(0, fcntl.F_DUPFD, 5),
    "exhaust the memory": _exhaust_memory,
    "hold many files open": lambda: [os.dup(0) for _ in range(10)],
}


def attempt_all(_data: bytes, _limits: Limits) -> Measurement:
    """Try everything, and give the names of what was not denied, or denied in an unexpected way."""
    through = []
    for name, attempt in ATTEMPTS.items():
        try:
            attempt()
        except (PermissionError, MemoryError):
            continue
        except (OSError, ValueError) as error:
            if name == "raise its limits":
                continue
            through.append(f"{name} ({error!r})")
        else:
            through.append(name)
    return Measurement("", issue="corrupt", detail="; ".join(through) or "all denied")


def attempting(*names: str) -> Callable[[bytes, Limits], Measurement]:
    """Give what tries only these, and names those that were not denied."""

    def attempt(_data: bytes, _limits: Limits) -> Measurement:
        through = []
        for name in names:
            try:
                ATTEMPTS[name]()
            except OSError as error:
                denied = error.errno in {errno.EPERM, errno.EACCES, errno.EMFILE}
                through += [] if denied else [f"{name} ({error!r})"]
            else:
                through.append(name)
        return Measurement("", issue="corrupt", detail="; ".join(through) or "all denied")

    return attempt


def change_the_image(_data: bytes, _limits: Limits) -> Measurement:
    """Try to write into the memory file that holds the image, by every descriptor there is."""
    written = []
    for descriptor in range(8):
        try:
            if descriptor > 3:
                os.write(descriptor, b"changed")
                written.append(descriptor)
        except OSError:
            continue
    return Measurement("", issue="corrupt", detail=f"wrote to {written}")


def burn(_data: bytes, _limits: Limits) -> Measurement:
    """Compute for ever."""
    while True:
        pass


def fault(_data: bytes, _limits: Limits) -> Measurement:
    """Read where nothing is."""
    ctypes.string_at(1)
    raise AssertionError("dead")


def abort(_data: bytes, _limits: Limits) -> Measurement:
    """End as a library's failed assertion does."""
    os.abort()


def say_nonsense(_data: bytes, _limits: Limits) -> Measurement:
    """Send bytes that are no answer: here, a pickle that would run a command where it was loaded."""
    os.write(3, b"cos\nsystem\n(S'touch escaped'\ntR.")
    return Measurement("", issue="corrupt")


def claim_too_much(_data: bytes, _limits: Limits) -> Measurement:
    """Send an answer that no honest decoder gives."""
    os.write(3, b'{}\n{"issue": "", "measures": {"width": NaN}, "detail": "", "camera": "", "image_format": ""}')
    return Measurement("", issue="corrupt")


def log_escapes(_data: bytes, _limits: Limits) -> Measurement:
    """Log what would steer a terminal."""
    import logging

    logging.getLogger("decoder").warning("\x1b]0;owned\x07\nforged line")
    return Measurement("", issue="corrupt", detail="logged")


def hang_up(_data: bytes, _limits: Limits) -> Measurement:
    """Close the line and live on."""
    os.close(3)
    while True:
        time.sleep(1)


def sleep(_data: bytes, _limits: Limits) -> Measurement:
    """Never answer, at no cost."""
    while True:
        time.sleep(1)


def be_killed(_data: bytes, _limits: Limits) -> Measurement:
    """End as by the kernel when memory runs out."""
    signal.raise_signal(signal.SIGKILL)
    raise AssertionError("dead")
