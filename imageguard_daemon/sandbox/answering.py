"""The loop of a confined process that answers bytes with bytes."""

import os
import socket
from collections.abc import Callable


def answer_all(socket_number: int, answer: Callable[[bytes], bytes]) -> None:
    """Answer each sealed memory file that is sent, one after another, until the other side is gone."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, socket_number)
    while True:
        message, descriptors, _, _ = socket.recv_fds(connection, 1, 1)
        if not message:
            return
        with open(descriptors[0], "rb") as file:
            data = os.pread(file.fileno(), os.lseek(file.fileno(), 0, os.SEEK_END), 0)
        connection.send(answer(data))
