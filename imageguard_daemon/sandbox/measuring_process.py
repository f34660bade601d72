"""The process that has bytes measured: one confined decoder below it, as in the daemon's workers.

It is sent sealed memory files and answers with JSON. Its arguments are a socket, limits, and whether the first file is
a readout, by which it measures in place of the package's. It says when it is ready, and ends when the other side is
gone or has asked for nothing for some minutes.
"""

import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from typing import Any

from imageguard_daemon.core.errors import ImageguardError
from imageguard_daemon.quality import measurement
from imageguard_daemon.quality.decode.decoder import Limits
from imageguard_daemon.quality.readout import Readout, readout_from
from imageguard_daemon.sandbox.decoding_process import Decoder, DecoderLostError

READY = b"ready"
IDLE_SECONDS = 300.0


def main() -> None:
    """Serve until the other side is gone; a decoder that was lost is replaced."""
    number, memory_bytes, max_pixels, max_bytes, seconds, has_readout = map(int, sys.argv[1:])
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, number)
    connection.settimeout(IDLE_SECONDS)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    limits = Limits(max_pixels=max_pixels, max_bytes=max_bytes, cpu_seconds=seconds)
    measurement.prepare_worker()
    with suppress(ConnectionError):  # the other side is gone
        work = partial(measurement.measure_bytes, readout=_readout(connection) if has_readout else None)

        def new_decoder() -> Decoder:
            return Decoder(memory_bytes, work)

        try:
            decoder = new_decoder()
        except ImageguardError as error:
            connection.send(str(error).encode())
            return
        connection.send(READY)
        _serve(connection, limits, new_decoder, decoder)


def _readout(connection: socket.socket) -> Readout:
    contents = _next(connection)
    if contents is None:
        raise ConnectionError("the other side is gone")
    with open(contents, "rb") as file:
        file.seek(0)
        return readout_from(file.read())


def _serve(connection: socket.socket, limits: Limits, new_decoder: Callable[[], Decoder], decoder: Decoder) -> None:
    while (contents := _next(connection)) is not None:
        try:
            answer: dict[str, Any] = asdict(decoder.measure(contents, limits, float(limits.cpu_seconds)))
        except DecoderLostError as error:
            answer = {"lost": error.loss.told, "cause": error.loss.cause.value}
            decoder.close()
            decoder = new_decoder()
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
