"""What runs inside a worker process: it reads and hashes files, and has a confined process decode them.

    python -m imageguard_daemon.sandbox.worker_process LINE PROGRESS

The first message says within which limits it works, with a readout beside it where one is to measure in place of the
package's. Then each message names a file, and each is answered by itself, in their order. Imports nothing of the daemon
but the measuring.

What senders say of a file's content is looked up beside it and checked against the bytes. What is there and cannot be
read says neither yes nor no: the image waits for it. What is not a file of checksums at all (a link, a folder,
megabytes too many) is ignored, and told.
"""

import hashlib
import logging
import os
import resource
import signal
import socket
import stat
import sys
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from imageguard_daemon.core import checksums
from imageguard_daemon.core.checksums import Digest, Listed
from imageguard_daemon.core.errors import ImageguardError, ReplacedError
from imageguard_daemon.core.model import FileIdentity, Limits, Measurement
from imageguard_daemon.core.names import printable
from imageguard_daemon.core.processes import WORKER_STEP, end_with_parent, go_before_others, installed_edition
from imageguard_daemon.core.regular_files import is_there, regular_file
from imageguard_daemon.quality import measurement
from imageguard_daemon.sandbox import wire
from imageguard_daemon.sandbox.answers import Answer, pack_answer
from imageguard_daemon.sandbox.decoder import Decoder, DecoderLostError
from imageguard_daemon.sandbox.losses import Cause, Loss
from imageguard_daemon.sandbox.tasks import Task
from imageguard_daemon.sandbox.tasks import measure as measure_task
from imageguard_daemon.sandbox.wire import Progress

REPLACED = "the program's files were replaced while it was running (an upgrade?); it has to be restarted"
LIST_BYTES = 4 << 20
"""A list of some 50,000 files. What is larger is ignored, and told."""
_OF_ONE_IMAGE_BYTES = 16 << 10
_LISTS_REMEMBERED = 32
_ENDINGS = (*checksums.ENDINGS, *map(str.upper, checksums.ENDINGS))
_LOG = logging.getLogger(__name__)
_lists: OrderedDict[str, tuple[FileIdentity, Listed]] = OrderedDict()


def main() -> None:
    """Serve until the daemon is gone."""
    line = wire.attached(int(sys.argv[1]))
    progress = Progress(int(sys.argv[2]))
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
    limits = Limits(**order["limits"])
    worker = Worker(task, memory_bytes, limits, order["seconds"], order["checks"], progress)
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
        said = said_of(path) if self.checks else []
        self.progress.end_reading()
        if self.decoder is None:
            raise ValueError("a file is begun with a decoder")
        contents = wire.sealed_copy(data)
        try:
            measured = self.decoder.ask(contents, self.limits, self.seconds)
        finally:
            os.close(contents)
        return compared(replace(measured, sha256=hashlib.sha256(data).hexdigest()), data, said)


@dataclass(frozen=True, slots=True)
class Said:
    """A digest, and the name of the file it was found in."""

    digest: Digest
    by: str


def said_of(path: str) -> list[Said]:
    """Give what is said of a file: beside it under its own name, and in the lists of its folder.

    Raises:
        OSError: something is, and cannot be read.
    """
    folder, name = os.path.split(path)
    said = []
    for ending in _ENDINGS:
        contents = _contents(path + ending, _OF_ONE_IMAGE_BYTES)
        digest = checksums.first_digest(contents[1]) if contents else None
        if digest is not None:
            said.append(Said(digest, name + ending))
    for list_name in checksums.LISTS:
        listed = _list(os.path.join(folder, list_name))
        if listed is not None:
            said += [Said(digest, list_name) for digest in listed.of_names.get(os.fsencode(name), ())]
    return said


def compared(measured: Measurement, data: bytes, said: list[Said]) -> Measurement:
    """Call an image `corrupt` whose bytes are not those that its sender had."""
    for stated in said:
        algorithm, digits = stated.digest.algorithm, stated.digest.digits
        has = measured.sha256 if algorithm == "sha256" else hashlib.md5(data, usedforsecurity=False).hexdigest()
        if has != digits:
            message = f"its {checksums.SHOWN[algorithm]} is not the one in {printable(stated.by)}"
            detail = f"{message}; {measured.detail}" if measured.detail else message
            return replace(measured, measures=None, issue="corrupt", detail=detail)
    return measured


def _list(path: str) -> Listed | None:
    if not is_there(path):  # the rule, and asked of every image
        return None
    remembered = _lists.get(path)
    if remembered is not None:
        identity, listed = remembered
        with suppress(OSError):
            if identity == FileIdentity.from_stat(os.lstat(path)):
                return listed
    contents = _contents(path, LIST_BYTES)
    if contents is None:
        return None
    identity, data = contents
    listed = checksums.listed(data)
    if listed.bad_lines:
        _LOG.warning("%s: %d lines are not checksums and are ignored", printable(path), listed.bad_lines)
    _lists[path] = identity, listed
    _lists.move_to_end(path)
    while len(_lists) > _LISTS_REMEMBERED:
        _lists.popitem(last=False)
    return listed


def _contents(path: str, most_bytes: int) -> tuple[FileIdentity, bytes] | None:
    if not is_there(path):
        return None
    try:
        status = os.lstat(path)
        hindrance = _why_no_checksums(status, most_bytes)
        if hindrance:
            _LOG.warning("%s %s and is ignored", printable(path), hindrance)
            return FileIdentity.from_stat(status), b""
        with regular_file(path) as file:
            return file.identity, file.read(most_bytes)
    except FileNotFoundError:  # it has just gone
        return None
    except OSError as error:
        raise _unread(path, error) from error


def _why_no_checksums(status: os.stat_result, most_bytes: int) -> str:
    """Say why a file has none; empty when it may have."""
    if not stat.S_ISREG(status.st_mode):
        return "is not a regular file"
    return "is too large for checksums" if status.st_size > most_bytes else ""


def _unread(path: str, error: OSError) -> OSError:
    """Give the same error for the image, which is handled as if its own bytes could not be read."""
    return OSError(error.errno, f"its checksums in {printable(os.path.basename(path))}: {error.strerror}")


if __name__ == "__main__":
    main()
