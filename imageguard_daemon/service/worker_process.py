"""What runs inside a worker process: it reads and hashes files, and has a confined process decode them.

Imports nothing of the daemon but the measuring.
"""

import ctypes
import hashlib
import os
import resource
import signal
import sys
from dataclasses import replace
from multiprocessing.sharedctypes import RawArray

from imageguard_daemon.model import Measurement
from imageguard_daemon.quality import measurement
from imageguard_daemon.quality.decoding import Limits
from imageguard_daemon.service.decoding_process import Decoder, sealed_copy

_PR_SET_PDEATHSIG = 1
_IDLE, _READING = 0, 1


class Board:
    """Where workers note what they are at, for the daemon to read when one had to be killed."""

    def __init__(self, slots: int) -> None:
        self._slots: ctypes.Array[ctypes.c_byte] = RawArray(ctypes.c_byte, slots)

    def begin_reading(self, slot: int) -> None:
        """Note that a task waits for the disk from now on."""
        self._slots[slot] = _READING

    def clear(self, slot: int) -> None:
        """Note that a task no longer waits for the disk, or has not begun."""
        self._slots[slot] = _IDLE

    def is_reading(self, slot: int) -> bool:
        """Tell whether a task was last heard of waiting for the disk."""
        return self._slots[slot] == _READING


_board = Board(1)
_decoder: Decoder | None = None


def begin(memory_bytes: int, board: Board) -> None:
    """Prepare a fresh worker: bounded, deaf to the terminal's Ctrl-C, and gone when the daemon is gone."""
    global _board, _decoder  # noqa: PLW0603 - a worker process has one of each, given to it once
    _board = board
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    _silence_libraries()
    measurement.prepare_worker()
    _decoder = Decoder(memory_bytes)


def _silence_libraries() -> None:
    """Keep what C libraries print about broken images out of the log; Python keeps its own way to standard error."""
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)


def measure(path: str, limits: Limits, slot: int = 0) -> Measurement:
    """Measure one file, and note on the board while it is being read."""
    _board.begin_reading(slot)
    try:
        return measurement.measure_file(path, limits, lambda data, limits: _decoded(data, limits, slot))
    finally:
        _board.clear(slot)


def _decoded(data: bytes, limits: Limits, slot: int) -> Measurement:
    """Have the decoder look at bytes; what they hash to is found out here, where nobody can have taken over."""
    _board.clear(slot)
    if _decoder is None:
        raise RuntimeError("a worker process begins with begin()")
    contents = sealed_copy(data)
    try:
        found = _decoder.measure(contents, limits)
    finally:
        os.close(contents)
    return replace(found, sha256=hashlib.sha256(data).hexdigest())


def fingerprint(path: str) -> Measurement:
    """Give identity and SHA-256 of a file that must not be decoded again."""
    return measurement.measure_file(path, Limits(max_bytes=0))
