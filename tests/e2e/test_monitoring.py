"""A running daemon asked by monitoring."""

import socket
import urllib.request
from contextlib import suppress

from tests.e2e.daemon_process import wait_until
from tests.helpers.images import jpeg, photo


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_a_daemon_tells_what_it_did(ingest):
    """An image that was judged is counted, the daemon is ready, and events were proved to arrive."""
    port = _free_port()
    one = ingest(metrics={"enabled": True, "port": port})
    one.start()
    one.put("cat/1.jpg", jpeg(photo()))

    def asked(path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
            return answer.read().decode()

    def is_counted() -> bool:
        with suppress(OSError):  # the first to ask may be there before the one who answers
            return counted in asked("/metrics")
        return False

    counted = 'imageguard_decisions_total{reason="",source="default",verdict="accepted"} 1.0'
    wait_until(is_counted, "a decision to be counted")
    assert 'imageguard_stage_duration_seconds_count{stage="move"} 1.0' in asked("/metrics")
    canary = 'imageguard_source_canary_age_seconds{source="default"}'
    wait_until(lambda: canary in asked("/metrics"), "events to be proved to arrive")
    assert asked("/healthz") == asked("/readyz") == "ok\n"
    assert one.stop() == 0
