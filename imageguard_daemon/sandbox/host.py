"""A process that has bytes looked at: one confined decoder below it, replaced when it is lost. For whoever cannot fork.

    python -m imageguard_daemon.sandbox.host SOCKET

The first message says what is to be done with images and how much memory that may take, with a readout beside it where
one is to measure in place of the package's. It is answered once a decoder is ready, or cannot be had. Then each
message is an image and is answered by itself. The process ends when the other side is gone, or has asked for nothing
for some minutes.
"""

import os
import signal
import socket
import sys
from contextlib import suppress
from importlib import import_module
from typing import Any

from imageguard_daemon.core.errors import ImageguardError
from imageguard_daemon.core.model import Limits
from imageguard_daemon.sandbox import wire
from imageguard_daemon.sandbox.decoder import Decoder, DecoderLostError
from imageguard_daemon.sandbox.tasks import Task

IDLE_SECONDS = 300.0


def main() -> None:
    """Serve until the other side is gone, or has nothing to do for long."""
    line = wire.attached(int(sys.argv[1]))
    line.settimeout(IDLE_SECONDS)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(ConnectionError, TimeoutError):
        order = wire.receive_request(line)
        if order is not None:
            _serve(line, int(order.facts["memory_bytes"]), _task(order))


def _task(order: wire.Message) -> Task[bytes]:
    """Load what is to be done, and no more: who makes thumbnails needs nothing that measures."""
    module = import_module(f"imageguard_daemon.sandbox.tasks.{order.facts['task']}")
    task: Task[Any] = module.task(wire.taken_contents(order))
    task.prepare()
    return task.unread()


def _serve(line: socket.socket, memory_bytes: int, task: Task[bytes]) -> None:
    try:
        decoder = Decoder(memory_bytes, task)
    except ImageguardError as error:
        wire.send(line, {"failed": str(error)})
        return
    wire.send(line, {"ready": True})
    while (request := wire.receive_request(line)) is not None and request.contents is not None:
        try:
            limits = Limits(**request.facts["limits"])
            answer = decoder.ask(request.contents, limits, request.facts["seconds"])
        except DecoderLostError as error:
            # First the answer, so that nobody waits for the next decoder who has only asked about this image.
            wire.send(line, {"lost": error.loss.what, "cause": error.loss.cause.value})
            decoder.close()
            decoder = Decoder(memory_bytes, task)
        else:
            wire.send(line, {}, answer)
        finally:
            os.close(request.contents)
    decoder.close()


if __name__ == "__main__":
    main()
