"""systemd's notification protocol (sd_notify(3)): a few words to a socket, nothing when there is no systemd."""

import os
import socket


def notify(**state: object) -> None:
    """Tell systemd, as in `notify(READY=1, STATUS="watching")`; without systemd nothing happens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    message = "\n".join(f"{key}={value}" for key, value in state.items())
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as connection:
        try:
            connection.connect(address.replace("@", "\0", 1) if address.startswith("@") else address)
            connection.send(message.encode())
        except OSError:
            return
