"""The pages that a daemon brings along."""

import os
import signal
import socket
import urllib.request
from contextlib import suppress

from tests.e2e.daemon_process import wait_until

SPAWNED = True


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_pages_come_and_go_with_the_daemon(ingest):
    """They answer while it runs, come again when their process is killed, and end with it, killed or stopped."""
    port = _free_port()
    one = ingest(web={"enabled": True, "port": port})

    def answers() -> bool:
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60) as answer:
            return f"process {one.process.pid}" in answer.read().decode()
        return False

    def pages() -> int:
        return one.events("pages started")[-1]["process_id"]

    one.start()
    wait_until(answers, "the pages to answer")
    os.kill(pages(), signal.SIGKILL)
    wait_until(lambda: len(one.events("pages started")) == 2, "the pages to be started again")
    wait_until(answers, "the pages to answer again")
    assert one.stop() == 0
    assert not answers()
    one.start()
    wait_until(answers, "the pages to answer the next daemon")
    one.stop(signal.SIGKILL)
    wait_until(lambda: not answers(), "the pages to end with the daemon")


def test_an_address_that_is_taken_costs_the_pages_alone(ingest):
    """The daemon says so and judges images as before."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        one = ingest(web={"enabled": True, "port": taken.getsockname()[1]})
        one.start()
        wait_until(lambda: one.events("no pages"), "the daemon to tell")
        assert "cannot listen on 127.0.0.1 port" in one.events("no pages")[0]["why"]
        one.put("cat/1.jpg", b"no image")
        one.wait_for_decisions(1)
        assert one.stop() == 0
