"""The process that has uploads measured: one confined decoder below it, as in the daemon's workers.

It is sent sealed memory files and answers with JSON. Its arguments are a socket and limits.
"""

import json
import os
import signal
import socket
import sys
from dataclasses import asdict

from imageguard_daemon.quality import measurement
from imageguard_daemon.quality.decoding import Limits
from imageguard_daemon.service.decoding_process import Decoder, DecoderLostError


def main() -> None:
    """Serve until the other side is gone; a decoder that was lost is replaced."""
    number, memory_bytes, max_pixels, max_bytes, seconds = map(int, sys.argv[1:])
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, number)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    limits = Limits(max_pixels=max_pixels, max_bytes=max_bytes, cpu_seconds=seconds)
    measurement.prepare_worker()
    decoder = Decoder(memory_bytes)
    while True:
        message, descriptors, _, _ = socket.recv_fds(connection, 1, 1)
        if not message:
            decoder.close()
            return
        try:
            answer = asdict(decoder.measure(descriptors[0], limits, float(seconds)))
        except DecoderLostError as error:
            answer = {"issue": "corrupt", "detail": f"its decoder {error}"}
            decoder.close()
            decoder = Decoder(memory_bytes)
        finally:
            os.close(descriptors[0])
        connection.send(json.dumps(answer).encode())


if __name__ == "__main__":
    main()
