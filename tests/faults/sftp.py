"""A client for the real sftp-server, as small as it can be (draft-ietf-secsh-filexfer-02, version 3)."""

import struct
import subprocess
from pathlib import Path
from typing import Self

from tests.faults.requirements import SFTP_SERVER

_INIT, _VERSION, _OPEN, _CLOSE, _WRITE, _STATUS, _HANDLE = 1, 2, 3, 4, 6, 101, 102
_FOR_WRITING, _CREATE, _TRUNCATE = 0x02, 0x08, 0x10


def _text(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


class Client:
    """One connection, which is a process of its own."""

    def __init__(self) -> None:
        self._server = subprocess.Popen([SFTP_SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self._send(struct.pack(">BI", _INIT, 3))
        self._expect(_VERSION)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._server.stdin.close()
        self._server.stdout.close()
        self._server.wait(60)

    def open(self, path: Path, *, resume: bool) -> bytes:
        """Open a remote file for writing, from its beginning or to go on."""
        flags = _FOR_WRITING | _CREATE | (0 if resume else _TRUNCATE)
        self._send(struct.pack(">BI", _OPEN, 1) + _text(bytes(path)) + struct.pack(">II", flags, 0))
        return self._expect(_HANDLE)[8:]

    def write(self, handle: bytes, position: int, data: bytes) -> None:
        """Write and wait for the answer."""
        self._send(struct.pack(">BI", _WRITE, 2) + _text(handle) + struct.pack(">Q", position) + _text(data))
        self._expect_success()

    def close(self, handle: bytes) -> None:
        """Close the remote file."""
        self._send(struct.pack(">BI", _CLOSE, 3) + _text(handle))
        self._expect_success()

    def break_off(self) -> None:
        """Lose the connection."""
        self._server.kill()

    def _send(self, packet: bytes) -> None:
        self._server.stdin.write(_text(packet))

    def _expect(self, kind: int) -> bytes:
        (length,) = struct.unpack(">I", self._read(4))
        packet = self._read(length)
        assert packet[0] == kind, f"sftp-server answered {packet!r}"
        return packet[1:]

    def _expect_success(self) -> None:
        answer = self._expect(_STATUS)
        assert struct.unpack(">I", answer[4:8])[0] == 0, f"sftp-server refused: {answer!r}"

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = self._server.stdout.read(count - len(data))
            assert piece, "sftp-server has ended"
            data += piece
        return data
