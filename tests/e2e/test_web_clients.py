"""Clients that connect, and then say nothing or half of it, against the real server."""

import http.client
import socket
import subprocess
import sys
from contextlib import ExitStack, closing, contextmanager, suppress

import pytest

from imageguard_daemon.web.pages.uploads import UPLOADS_AT_ONCE
from imageguard_daemon.web.server import MAX_CONNECTIONS
from tests.e2e.daemon_process import wait_until
from tests.helpers.rejections import Rejections

SERVER = """
import sys
from pathlib import Path
from imageguard_daemon.config_file import load
from imageguard_daemon.web import security, server
from imageguard_daemon.web.site import Site
server.REQUEST_SECONDS = security.PART_SECONDS = float(sys.argv[3])
root = Path(sys.argv[1])
server.serve(Site(load(None, root), root / "audit.db", "anna"), server.listen("127.0.0.1", int(sys.argv[2])))
"""
PART = (
    b"POST /api/check HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    b"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 9999\r\n\r\n--x"
)


@contextmanager
def _served(tmp_path, patience_seconds):
    Rejections(tmp_path / "root").close()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-c", SERVER, str(tmp_path / "root"), str(port), str(patience_seconds)])
    try:
        wait_until(lambda: _status(port) == 200, "the server to answer")
        yield port
    finally:
        process.terminate()
        process.wait(60)


def _status(port, path="/healthz"):
    asking = closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60))
    with suppress(OSError, http.client.HTTPException), asking as connection:
        connection.request("GET", path)
        with connection.getresponse() as answer:
            return answer.status
    return None


@pytest.mark.parametrize("begin", [b"", b"GET / HTTP/1.1\r\nHo"])
def test_connections_that_ask_nothing_keep_nobody_out(tmp_path, begin):
    """More idle ones than the server takes, silent or with half a request, and pages and health are there as ever."""
    with _served(tmp_path, 600) as port, ExitStack() as held:
        for _ in range(MAX_CONNECTIONS + 120):
            held.enter_context(socket.create_connection(("127.0.0.1", port))).sendall(begin)
        assert [_status(port, path) for path in ("/healthz", "/quarantine", "/check")] == [200, 200, 200]


def test_who_connects_and_says_nothing_is_let_go(tmp_path):
    """No connection waits for ever, and none is cut that has just been used."""
    with _served(tmp_path, 1) as port, socket.create_connection(("127.0.0.1", port), timeout=60) as silent:
        assert silent.recv(1) == b""


def test_uploads_that_stall_hold_up_nobody(tmp_path):
    """All that may be under way stand still: pages, health and, once these were given up, uploads are there."""
    with _served(tmp_path, 5) as port, ExitStack() as held:
        stalled = [
            held.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))
            for _ in range(UPLOADS_AT_ONCE)
        ]
        for one in stalled:
            one.sendall(PART)
        assert [_status(port, path) for path in ("/healthz", "/quarantine", "/check")] == [200, 200, 200]
        for one in stalled:
            assert one.recv(4096).startswith(b"HTTP/1.1 408")
