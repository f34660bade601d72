"""The process that has bytes measured: one confined decoder below it, as in the daemon's workers.

It is sent sealed memory files and answers with JSON. Its arguments are a socket and limits. It says when it is ready,
and ends when the other side is gone or has asked for nothing for some minutes.
"""

import json
import os
import signal
import socket
import sys
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from imageguard_daemon.errors import ImageguardError
from imageguard_daemon.quality import measurement
from imageguard_daemon.quality.decoding import Limits
from imageguard_daemon.service.decoding_process import Decoder, DecoderLostError

READY = b"ready"
IDLE_SECONDS = 300.0


def main() -> None:
    """Serve until the other side is gone; a decoder that was lost is replaced."""
    number, memory_bytes, max_pixels, max_bytes, seconds = map(int, sys.argv[1:])
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, number)
    connection.settimeout(IDLE_SECONDS)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    limits = Limits(max_pixels=max_pixels, max_bytes=max_bytes, cpu_seconds=seconds)
    measurement.prepare_worker()
    with suppress(ConnectionError):  # the other side is gone
        try:
            decoder = Decoder(memory_bytes)
        except ImageguardError as error:
            connection.send(str(error).encode())
            return
        connection.send(READY)
        _serve(connection, limits, memory_bytes, decoder)


def _serve(connection: socket.socket, limits: Limits, memory_bytes: int, decoder: Decoder) -> None:
    while (contents := _next(connection)) is not None:
        try:
            answer: dict[str, Any] = asdict(decoder.measure(contents, limits, float(limits.cpu_seconds)))
        except DecoderLostError as error:
            answer = {"lost": error.loss.told, "cause": error.loss.cause.value}
            decoder.close()
            decoder = Decoder(memory_bytes)
        finally:
            os.close(contents)
        connection.send(json.dumps(answer).encode())
    decoder.close()


def _next(connection: socket.socket) -> int | None:
    """Wait for the next memory file."""
    try:
        message, descriptors, _, _ = socket.recv_fds(connection, 1, 1)
    except TimeoutError:
        return None
    return descriptors[0] if message else None


if __name__ == "__main__":
    main()
