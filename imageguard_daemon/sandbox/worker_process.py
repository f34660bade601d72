"""What runs inside a worker process: it reads and hashes files, and has a confined process decode them.

    python -m imageguard_daemon.sandbox.worker_process LINE PROGRESS

The first message says within which limits it works, with a readout beside it where one is to measure in place of the
package's. Then each message names a file, and each is answered by itself, in their order. Imports nothing of the daemon
but the measuring.
"""

import hashlib
import os
import resource
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from imageguard_daemon.core.errors import ImageguardError, ReplacedError
from imageguard_daemon.core.model import Measurement
from imageguard_daemon.core.processes import WORKER_STEP, end_with_parent, go_before_others, installed_edition
from imageguard_daemon.quality import measurement
from imageguard_daemon.quality.decode.limits import Limits
from imageguard_daemon.sandbox import sender_checksums, wire
from imageguard_daemon.sandbox.decoder import Decoder, DecoderLostError
from imageguard_daemon.sandbox.file_answers import Answer, pack_answer
from imageguard_daemon.sandbox.losses import Cause, Loss
from imageguard_daemon.sandbox.progress import Progress
from imageguard_daemon.sandbox.tasks import Task
from imageguard_daemon.sandbox.tasks import measure as measure_task

REPLACED = "the program's files were replaced while it was running (an upgrade?); it has to be restarted"


def main() -> None:
    """Serve until the daemon is gone."""
    line, progress = wire.attached(int(sys.argv[1])), Progress(int(sys.argv[2]))
    _live_and_die_with_parent()
    order = wire.receive_request(line)
    if order is None:
        return
    readout = wire.taken_contents(order)
    with suppress(ConnectionError):
        serve(line, progress, order.facts, readout)


def serve(line: socket.socket, progress: Progress, order: Mapping[str, Any], readout: bytes | None) -> None:
    """Answer about file after file, unless the program was replaced: what was loaded from other files does nothing."""
    if order["edition"] != installed_edition():
        wire.send(line, pack_answer(0, ReplacedError(REPLACED)))
        return
    memory_bytes = order["memory_bytes"]
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    task = measure_task.task(readout)
    _silence_libraries()
    task.prepare()
    worker = Worker(task, memory_bytes, Limits(**order["limits"]), order["seconds"], order["checks"], progress)
    with suppress(OSError, ImageguardError):  # the first file tells of it
        worker.begin_decoder()
    wire.send(line, {"ready": True})
    while (request := wire.receive_request(line)) is not None:
        number, path = request.facts["number"], request.facts["path"]
        answer = worker.measure(number, path) if request.facts["decode"] else worker.fingerprint(number, path)
        wire.send(line, pack_answer(number, answer))


def _live_and_die_with_parent() -> None:
    """Be deaf to the terminal's Ctrl-C, small, first to go when memory is short, and gone when the daemon is."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    end_with_parent(os.getppid(), signal.SIGKILL)
    go_before_others(WORKER_STEP)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _silence_libraries() -> None:
    """Keep what C libraries print about broken images out of the log; Python keeps its own way to standard error."""
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)


@dataclass(slots=True)
class Worker:
    """Measures one file after another, with one decoder at a time. With `checks`, what senders say of bytes counts."""

    task: Task[Measurement]
    memory_bytes: int
    limits: Limits
    seconds: float
    checks: bool
    progress: Progress
    decoder: Decoder[Measurement] | None = None

    def begin_decoder(self) -> None:
        """Have a decoder in place of one that did not survive its file, or could not begin.

        Raises:
            OSError, ImageguardError: what hinders that.
        """
        if self.decoder is None:
            self.decoder = Decoder(self.memory_bytes, self.task)

    def measure(self, number: int, path: str) -> Answer:
        """Measure one file; whatever it does to the decoder is part of the answer.

        The decoder has all of its time, however long reading took: a slow disk or network makes no image too large.
        Nor does the time count that a new decoder takes to begin: the file is begun only then.
        """
        try:
            self.begin_decoder()
            self.progress.begin_reading(number)
            return measurement.measure_file(path, self.limits, lambda data, _limits: self._decoded(path, data))
        except DecoderLostError as lost:
            self.decoder = None
            return lost.loss
        except MemoryError:
            return Loss("needs more memory than a worker may have", Cause.limited)
        except (OSError, ImageguardError) as error:
            return error

    def fingerprint(self, number: int, path: str) -> Answer:
        """Give identity and SHA-256 of a file that must not be decoded again."""
        self.progress.begin_reading(number)
        try:
            return measurement.fingerprint_file(path)
        except (OSError, ImageguardError) as error:
            return error

    def _decoded(self, path: str, data: bytes) -> Measurement:
        """Have the decoder look at bytes; what they hash to is found out here, where nobody can have taken over."""
        said = sender_checksums.said_of(path) if self.checks else []
        self.progress.end_reading()
        if self.decoder is None:
            raise ValueError("a file is begun with a decoder")
        contents = wire.sealed_copy(data)
        try:
            found = self.decoder.ask(contents, self.limits, self.seconds)
        finally:
            os.close(contents)
        return sender_checksums.compared(replace(found, sha256=hashlib.sha256(data).hexdigest()), data, said)


if __name__ == "__main__":
    main()
