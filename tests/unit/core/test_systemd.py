"""What systemd hears."""

import socket
import time

import pytest

from imageguard_daemon.core.systemd import StartProgress, notify


def test_systemd_gets_each_word_on_its_line(tmp_path, monkeypatch):
    """A notification is one datagram of KEY=value lines."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "socket"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "socket"))
        notify(READY=1, STATUS="watching")
        assert server.recv(100) == b"READY=1\nSTATUS=watching"


def test_a_start_that_goes_on_asks_for_time_now_and_then(tmp_path, monkeypatch):
    """While there is progress systemd's limit moves on, by a message every ten seconds and not by every step."""
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "socket"))
        server.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "socket"))
        patience = StartProgress("counting sheep")
        for _ in range(100):
            clock[0] += 0.25
            patience.progress()
        heard = [server.recv(100) for _ in range(2)]
        assert heard == [b"EXTEND_TIMEOUT_USEC=120000000\nSTATUS=counting sheep"] * 2
        with pytest.raises(BlockingIOError):
            server.recv(100)


@pytest.mark.parametrize("address", ["", "relative", "/not/there"])
def test_without_systemd_nothing_happens(monkeypatch, address):
    """No socket, a strange one or a dead one is no error."""
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    notify(READY=1)
