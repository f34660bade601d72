"""systemd's notification protocol (sd_notify(3)): a few words to a socket, nothing when there is no systemd."""

import os
import socket
import time

import structlog

log = structlog.get_logger(__name__)


_EXTENSION_SECONDS = 120
_REPORT_SECONDS = 10


class StartProgress:
    """Asks systemd for more time to start, as long as there is progress."""

    def __init__(self, doing: str) -> None:
        self._doing = doing
        self._reported_at = time.monotonic()

    def progress(self) -> None:
        """Tell that it goes on; may be called often."""
        if time.monotonic() - self._reported_at < _REPORT_SECONDS:
            return
        self._reported_at = time.monotonic()
        log.info("still starting", doing=self._doing)
        notify(EXTEND_TIMEOUT_USEC=_EXTENSION_SECONDS * 1_000_000, STATUS=self._doing)


def notify(**state: object) -> None:
    """Tell systemd, as in `notify(READY=1, STATUS="watching")`; without systemd nothing happens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    message = "\n".join(f"{key}={' '.join(str(value).split())}" for key, value in state.items())  # one line each
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as connection:
        try:
            connection.connect(address.replace("@", "\0", 1) if address.startswith("@") else address)
            connection.send(message.encode())
        except OSError:
            return
