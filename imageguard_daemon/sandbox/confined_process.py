"""A process that meets hostile bytes for somebody who asks: one at a time, replaced when it dies or hangs."""

import os
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass

from imageguard_daemon.quality import OPENCV_ENVIRONMENT
from imageguard_daemon.sandbox.decoding_process import sealed_copy


@dataclass(frozen=True, slots=True)
class Work:
    """Which module answers, with which numbers after its socket, how long one answer may take, and how long it may be.

    The module is run as a program and reads sealed memory files, each with a message of one byte: the question.
    """

    module: str
    arguments: tuple[int, ...]
    patience_seconds: float
    most_answer_bytes: int


class ConfinedProcess:
    """Started at the first question. One thread at a time may ask."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, data: bytes, question: bytes = b"?") -> bytes:
        """Give what it answers about these bytes; nothing when it died over them, or took too long."""
        if self._process is None:
            self._start()
        contents = sealed_copy(data)
        answer = b""
        try:
            with suppress(OSError):  # a time-out is one, too
                socket.send_fds(self._socket, [question], [contents])
                answer = self._socket.recv(self._work.most_answer_bytes + 1)
        finally:
            os.close(contents)
        if not answer:
            self.close()
        return answer if len(answer) <= self._work.most_answer_bytes else b""

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._socket.close()
            self._process.kill()
            self._process.wait()
            self._process = None

    def _start(self) -> None:
        self._process, self._socket = start(self._work.module, self._work.arguments, stderr=subprocess.DEVNULL)
        self._socket.settimeout(self._work.patience_seconds)


def start(
    module: str, numbers: tuple[int, ...], stderr: int | None = None
) -> tuple["subprocess.Popen[bytes]", socket.socket]:
    """Start a module as a program that has one end of a socket, its first argument, and give the other end.

    Raises:
        OSError: there is no process to be had.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        try:
            process = subprocess.Popen(  # noqa: S603 - our own interpreter, and numbers
                [sys.executable, "-P", "-m", module, *map(str, (theirs.fileno(), *numbers))],
                pass_fds=(theirs.fileno(),),
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )
        except BaseException:
            ours.close()
            raise
    return process, ours


def _environment() -> dict[str, str]:
    """Give the environment of the process: what others have set for their own memory and threads is not for it.

    Dask has the C library give memory back at once, which costs a third more for each image; and a confined decoder
    can start no thread.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    return OPENCV_ENVIRONMENT | kept | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
