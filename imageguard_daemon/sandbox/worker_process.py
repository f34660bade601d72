"""What runs inside a worker process: it reads and hashes files, and has a confined process decode them.

Imports nothing of the daemon but the measuring.
"""

import ctypes
import hashlib
import mmap
import os
import resource
import signal
import sys
import time
import weakref
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from multiprocessing.reduction import DupFd
from typing import Any

from imageguard_daemon.core.errors import ImageguardError, ReplacedError
from imageguard_daemon.core.model import Measurement
from imageguard_daemon.core.processes import WORKER_STEP, go_before_others, installed_edition
from imageguard_daemon.quality import measurement
from imageguard_daemon.quality.decode.limits import Limits
from imageguard_daemon.sandbox import sender_checksums
from imageguard_daemon.sandbox.decoder import Decoder, DecoderLostError
from imageguard_daemon.sandbox.losses import Cause, Loss
from imageguard_daemon.sandbox.tasks import measure as measure_task
from imageguard_daemon.sandbox.wire import sealed_copy

_PR_SET_PDEATHSIG = 1
REPLACED = "the program's files were replaced while it was running (an upgrade?); it has to be restarted"
BATCH_SECONDS = 0.25
"""A batch that has taken so long ends with the file at hand; the others are handed out again, to whoever is free."""


class Board:
    """Where workers note which file of a batch they are at, for the daemon to read when one was lost.

    A slot holds 0 before the first file; then the file's number, from 1 on, while it is read, and its negative after.
    It is memory without a name: /dev/shm, which every account may fill, is not needed.
    """

    def __init__(self, slots: int, descriptor: int | None = None) -> None:
        if descriptor is None:
            descriptor = os.memfd_create("imageguard-board", os.MFD_CLOEXEC)
            os.ftruncate(descriptor, slots * ctypes.sizeof(ctypes.c_short))
        self._descriptor = descriptor
        weakref.finalize(self, os.close, descriptor)
        self._slots = memoryview(mmap.mmap(descriptor, os.fstat(descriptor).st_size)).cast("h")

    def __reduce__(self) -> tuple[Any, ...]:
        """Go to a process that is being started, as the same memory."""
        return _received_board, (DupFd(self._descriptor),)

    def begin_reading(self, slot: int, number: int) -> None:
        """Note that a batch waits for the disk to give its file `number` from now on."""
        self._slots[slot] = number + 1

    def end_reading(self, slot: int) -> None:
        """Note that the batch no longer waits for the disk."""
        self._slots[slot] = -abs(self._slots[slot])

    def clear(self, slot: int) -> None:
        """Note that a batch has not begun."""
        self._slots[slot] = 0

    def at(self, slot: int) -> int | None:
        """Give the number of the file that a batch was last heard of being at."""
        return abs(self._slots[slot]) - 1 if self._slots[slot] else None

    def is_reading(self, slot: int) -> bool:
        """Tell whether a batch was last heard of waiting for the disk."""
        return self._slots[slot] > 0


def _received_board(descriptor: Any) -> Board:
    return Board(0, descriptor.detach())


Answer = Measurement | OSError | ImageguardError | Loss

_board = Board(1)
_memory_bytes = 0
_decoder: Decoder[Measurement] | None = None
_task = measure_task.task()
_refusal: ReplacedError | None = None


def begin(memory_bytes: int, board: Board, edition: str, readout: bytes | None = None) -> None:
    """Prepare a fresh worker: bounded, deaf to the terminal's Ctrl-C, and gone when the daemon is gone.

    One that was loaded from other files than the daemon, which is of the given edition, does nothing for it. `readout`
    is the content of one that is to measure in place of the package's.
    """
    global _board, _memory_bytes, _decoder, _task, _refusal  # noqa: PLW0603 - a worker process has one of each
    _board, _memory_bytes = board, memory_bytes
    if edition != installed_edition():
        _refusal = ReplacedError(REPLACED)
    elif readout is not None:
        _task = measure_task.task(readout)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    go_before_others(WORKER_STEP)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    _silence_libraries()
    _task.prepare()
    with suppress(OSError, ImageguardError):  # the first file tells of it
        _decoder = _new_decoder()


def _new_decoder() -> Decoder[Measurement]:
    return Decoder(_memory_bytes, _task)


def _silence_libraries() -> None:
    """Keep what C libraries print about broken images out of the log; Python keeps its own way to standard error."""
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)


def measure_batch(
    paths: Sequence[str], limits: Limits, slot: int, timeout_seconds: float, checks: bool = False
) -> list[Answer]:
    """Measure files one after another, noting on the board which; give an answer for each that there was time for.

    With `checks`, what their senders say of their bytes counts. A decoder is made on no file's time: after one that is
    lost, or takes long to begin, the others are handed out again.
    """
    if _refusal is not None:
        return [_refusal]
    answers: list[Answer] = []
    end = time.monotonic() + BATCH_SECONDS
    if _decoder is None:
        error = _replace_decoder()
        if error is not None or time.monotonic() >= end:
            return [error] if error is not None else []
    for number, path in enumerate(paths):
        _board.begin_reading(slot, number)
        answers.append(measure(path, limits, slot, timeout_seconds, checks))
        if time.monotonic() >= end or _decoder is None:
            break
    return answers


def _replace_decoder() -> OSError | ImageguardError | None:
    """Make a decoder in place of one that did not survive its file, or could not begin; give what hinders that."""
    global _decoder  # noqa: PLW0603 - one at a time
    try:
        _decoder = _new_decoder()
    except (OSError, ImageguardError) as error:
        return error
    return None


def measure(path: str, limits: Limits, slot: int, timeout_seconds: float, checks: bool = False) -> Answer:
    """Measure one file; whatever it does to the decoder is part of the answer.

    The decoder has all of its time, however long reading took: a slow disk or network makes no image too large.
    """
    global _decoder  # noqa: PLW0603 - one at a time

    def decoded(data: bytes, limits: Limits) -> Measurement:
        said = sender_checksums.said_of(path) if checks else []
        _board.end_reading(slot)
        return sender_checksums.compared(_decoded(data, limits, timeout_seconds), data, said)

    try:
        return measurement.measure_file(path, limits, decoded)
    except DecoderLostError as lost:
        _decoder = None
        return lost.loss
    except MemoryError:
        return Loss("needs more memory than a worker may have", Cause.limited)
    except (OSError, ImageguardError) as error:
        return error


def _decoded(data: bytes, limits: Limits, seconds: float) -> Measurement:
    """Have the decoder look at bytes; what they hash to is found out here, where nobody can have taken over."""
    if _decoder is None:
        raise ValueError("a batch begins with a decoder")
    contents = sealed_copy(data)
    try:
        found = _decoder.ask(contents, limits, seconds)
    finally:
        os.close(contents)
    return replace(found, sha256=hashlib.sha256(data).hexdigest())


def fingerprint(path: str, slot: int) -> list[Answer]:
    """Give identity and SHA-256 of a file that must not be decoded again."""
    _board.begin_reading(slot, 0)
    try:
        return [measurement.fingerprint_file(path)]
    except (OSError, ImageguardError) as error:
        return [error]
