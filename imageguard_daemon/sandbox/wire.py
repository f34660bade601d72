"""How processes that meet hostile bytes are spoken with: one format, whoever asks whom.

A message is one packet of a local socket that keeps packets apart (SOCK_SEQPACKET): a line of JSON, then bytes as they
are. An image travels as a sealed memory file beside it, never through the socket, whose buffer it would not fit in.
Nothing is pickled: what reads an answer may be talking to a process that an image has taken over. Which file a worker
is at, it notes in memory that both share: when it is lost or hangs, it cannot be asked any more.
"""

import fcntl
import json
import mmap
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MAX_BYTES = 1 << 18
"""Of a message; what is longer is cut off by the kernel, and then makes no sense to its reader."""
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
_PROGRESS_BYTES = 8


@dataclass(frozen=True, slots=True)
class Message:
    """What came in: facts, bytes, and the descriptor that was passed with it, which the reader closes."""

    facts: Mapping[str, Any]
    body: bytes = b""
    contents: int | None = None


def pair() -> tuple[socket.socket, socket.socket]:
    """Make both ends of a line."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def attached(descriptor: int) -> socket.socket:
    """Give the end of a line that this process was started with."""
    return socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, descriptor)


def send(line: socket.socket, facts: Mapping[str, Any], body: bytes = b"", contents: int | None = None) -> None:
    """Send a message, with a descriptor if one is given.

    Raises:
        OSError: the other side is gone.
    """
    packet = json.dumps(facts).encode() + b"\n" + body
    if contents is None:
        line.send(packet)
    else:
        socket.send_fds(line, [packet], [contents])


def send_with_copy(line: socket.socket, facts: Mapping[str, Any], data: bytes | None) -> None:
    """Send a message with a sealed copy of data beside it, if there are any.

    Raises:
        OSError: the other side is gone.
    """
    if data is None:
        send(line, facts)
        return
    contents = sealed_copy(data)
    try:
        send(line, facts, contents=contents)
    finally:
        os.close(contents)


def receive(line: socket.socket) -> Message | None:
    """Wait for the next message from a process that is not trusted; None when it is gone.

    A descriptor that comes with it is not taken: the kernel closes what was not asked for.

    Raises:
        ValueError: it makes no sense.
        OSError: it took too long, or the line broke.
    """
    packet = line.recv(MAX_BYTES)
    return _read(packet) if packet else None


def receive_request(line: socket.socket) -> Message | None:
    """Wait for the next message from the process that this one works for, descriptor and all; None when it is gone.

    Raises:
        OSError: there was nothing to do for long, the line broke, or the descriptor was lost on the way.
    """
    packet, descriptors, flags, _ = socket.recv_fds(line, MAX_BYTES, 1)
    if flags & socket.MSG_CTRUNC:  # else a worker without room for descriptors would measure by another readout
        raise ConnectionError("what was passed with a message was lost on the way")
    return _read(packet, descriptors[0] if descriptors else None) if packet else None


def _read(packet: bytes, contents: int | None = None) -> Message:
    head, _, body = packet.partition(b"\n")
    try:
        facts = json.loads(head)
    except RecursionError as error:  # a line of nothing but brackets
        raise ValueError("not a message") from error
    if not isinstance(facts, dict):
        raise ValueError("not a message")  # noqa: TRY004 - one error for whatever makes no sense
    return Message(facts, body, contents)


def sealed_copy(data: bytes) -> int:
    """Put bytes into a memory file that nobody can change any more; the caller closes it."""
    descriptor = os.memfd_create("image", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
    return descriptor


def taken_contents(message: Message) -> bytes | None:
    """Read what was passed with a message, if anything was, and close it."""
    if message.contents is None:
        return None
    try:
        return contents_of(message.contents)
    finally:
        os.close(message.contents)


def contents_of(descriptor: int) -> bytes:
    """Read a memory file from its start, wherever others have read to; one call gives 2 GiB at most."""
    size, at = os.lseek(descriptor, 0, os.SEEK_END), 0
    parts = []
    while at < size and (part := os.pread(descriptor, size - at, at)):
        parts.append(part)
        at += len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


class Progress:
    """A number in memory that two processes share: 0 at first, a file's number while it is read, its negative after.

    It is memory without a name: /dev/shm, which every account may fill, is not needed. One process writes, and eight
    bytes at once, so that the other never reads half of a number.
    """

    def __init__(self, descriptor: int) -> None:
        self._map = mmap.mmap(descriptor, _PROGRESS_BYTES)
        self._number = memoryview(self._map).cast("q")

    @staticmethod
    def make() -> int:
        """Give the descriptor of new memory; the caller closes it."""
        descriptor = os.memfd_create("imageguard-progress", os.MFD_CLOEXEC)
        os.ftruncate(descriptor, _PROGRESS_BYTES)
        return descriptor

    def begin_reading(self, number: int) -> None:
        """Note that the disk is waited for from now on, to give the file of this number."""
        self._number[0] = number

    def end_reading(self) -> None:
        """Note that the disk is no longer waited for."""
        self._number[0] = -abs(self._number[0])

    @property
    def value(self) -> int:
        """What was noted last; it differs for each step of each file."""
        return self._number[0]

    @property
    def at(self) -> int:
        """The number of the file that the worker was last heard of being at."""
        return abs(self._number[0])

    @property
    def is_reading(self) -> bool:
        """Whether the worker was last heard of waiting for the disk."""
        return self._number[0] > 0
