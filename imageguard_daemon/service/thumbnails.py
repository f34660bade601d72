"""Thumbnails of filed images: a confined process decodes, whoever asks meets no hostile bytes."""

import hashlib
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import simplejpeg

from imageguard_daemon.leases import READ_ONLY_NO_TRAPS
from imageguard_daemon.service.decoding_process import sealed_copy
from imageguard_daemon.service.thumbnail_process import HEADER, SIDE

if TYPE_CHECKING:
    from imageguard_daemon.config import Scoring

_ANSWER_BYTES = HEADER.size + 3 * SIDE * SIDE
_MOST_BYTES = 64 * 1024 * 1024
_JPEG_QUALITY = 80
_MOST_SECONDS = 10.0
"""A picture that takes longer is left out: a report must not wait for it."""


def thumbnails_of(wanted: Mapping[int, tuple[Path, str]], settings: "Scoring") -> dict[int, bytes]:
    """Give JPEG thumbnails by the ids of images, each given with its path and SHA-256.

    What is gone, is no longer what was recorded, is large or cannot be decoded is left out: an example without a
    picture is still one.
    """
    maker = ThumbnailMaker(settings)
    found = {}
    try:
        for number, (path, sha256) in wanted.items():
            data = contents_of(path, sha256)
            if data and (jpeg := maker.make(data)):
                found[number] = jpeg
    finally:
        maker.close()
    return found


def contents_of(path: Path, sha256: str) -> bytes:
    """Give a file's bytes if it is still what was recorded and not too large, else nothing."""
    with suppress(OSError):
        descriptor = os.open(path, READ_ONLY_NO_TRAPS)
        with open(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if stat.S_ISREG(status.st_mode) and status.st_size <= _MOST_BYTES:
                data = file.read(_MOST_BYTES)
                return data if hashlib.sha256(data).hexdigest() == sha256 else b""
    return b""


class ThumbnailMaker:
    """One confined process at a time; one that dies or hangs costs its image and is replaced."""

    def __init__(self, settings: "Scoring") -> None:
        self._limits = (settings.worker_memory_megabytes * 1024 * 1024, settings.max_pixels)
        self._process: subprocess.Popen[bytes] | None = None

    def make(self, data: bytes) -> bytes:
        """Give a JPEG, or nothing."""
        if self._process is None:
            self._start()
        contents = sealed_copy(data)
        try:
            socket.send_fds(self._socket, [b"?"], [contents])
            answer = self._socket.recv(_ANSWER_BYTES + 1)
        except OSError:  # a time-out is one, too
            answer = b""
        finally:
            os.close(contents)
        if not answer:
            self.close()
        return _jpeg(answer)

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._socket.close()
            self._process.kill()
            self._process.wait()
            self._process = None

    def _start(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(_MOST_SECONDS)
        command = [sys.executable, "-m", "imageguard_daemon.service.thumbnail_process", str(theirs.fileno())]
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter, and numbers
                [*command, *map(str, self._limits)],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )


def _jpeg(answer: bytes) -> bytes:
    """Read an answer as one would read a stranger's letter: pixels of a size that fits, or nothing."""
    if len(answer) <= HEADER.size:
        return b""
    width, height = HEADER.unpack_from(answer)
    if not (1 <= width <= SIDE >= height >= 1) or len(answer) != HEADER.size + 3 * width * height:
        return b""
    pixels = np.frombuffer(answer, np.uint8, offset=HEADER.size).reshape(height, width, 3)
    return bytes(simplejpeg.encode_jpeg(pixels, quality=_JPEG_QUALITY))
