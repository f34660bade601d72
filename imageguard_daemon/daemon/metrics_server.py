"""Answers /metrics, /healthz and /readyz from threads of its own; it reads numbers and touches nothing else."""

import socket
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import structlog
from prometheus_client import CONTENT_TYPE_LATEST

from imageguard_daemon.config import Metrics
from imageguard_daemon.daemon.metrics import DaemonMetrics
from imageguard_daemon.daemon.snapshot import liveness_failure, readiness_failure

REQUESTS_AT_ONCE = 8
_TIMEOUT_SECONDS = 5.0
_PLAIN = "text/plain; charset=utf-8"

log = structlog.get_logger(__name__)

Answer = tuple[int, str, bytes]


class MetricsServer:
    """The server of one daemon; an address that cannot be had costs the metrics, never the daemon."""

    def __init__(self, settings: Metrics, metrics: DaemonMetrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int | None:
        """The port it listens on, if it does."""
        return self._server.server_address[1] if self._server else None

    def start(self) -> None:
        """Begin to listen if the settings say so."""
        if not self._settings.enabled:
            return
        address = (self._settings.host, self._settings.port)
        try:
            self._server = _Server(address, _answers(self._metrics))
        except OSError as error:  # the name of the host, the port taken, no permission
            log.error("no metrics", address=f"{address[0]}:{address[1]}", why=error.strerror or str(error))  # noqa: TRY400
            return
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()
        log.info("answers /metrics, /healthz and /readyz", address=f"{address[0]}:{self.port}")

    def stop(self) -> None:
        """Stop listening; what is being answered is not waited for."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            self._server = None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], answers: Mapping[str, Callable[[], Answer]]) -> None:
        self.answers = answers
        self._capacity = threading.BoundedSemaphore(REQUESTS_AT_ONCE)
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Refuse by closing when too many are being answered, so that threads stay few."""
        if self._capacity.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer in a thread, then make room."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._capacity.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the base class's parameters
        """Say nothing of clients that went away or dawdle."""
        log.debug("a request for metrics failed")


class _Handler(BaseHTTPRequestHandler):
    timeout = _TIMEOUT_SECONDS
    server: _Server
    server_version = "imageguard-daemon"
    sys_version = ""

    def do_GET(self) -> None:
        answer = self.server.answers.get(self.path.partition("?")[0])
        status, kind, body = answer() if answer else (404, _PLAIN, b"/metrics, /healthz or /readyz\n")
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Write nothing: a scrape is not news."""


def _answers(metrics: DaemonMetrics) -> dict[str, Callable[[], Answer]]:
    def answer(why_not: str) -> Answer:
        return (503, _PLAIN, f"{why_not}\n".encode()) if why_not else (200, _PLAIN, b"ok\n")

    return {
        "/metrics": lambda: (200, CONTENT_TYPE_LATEST, metrics.exposition()),
        "/healthz": lambda: answer(liveness_failure(metrics.snapshot, time.time())),
        "/readyz": lambda: answer(readiness_failure(metrics.snapshot, time.time())),
    }
