"""A process that meets hostile bytes costs the question it dies over, and no other."""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from PIL import Image

from imageguard_daemon.core.errors import ImageError, RetryableError, UnavailableError
from imageguard_daemon.core.model import Limits
from imageguard_daemon.sandbox import client as clients
from imageguard_daemon.sandbox import host, wire
from imageguard_daemon.sandbox.answers import read_pixels
from imageguard_daemon.sandbox.client import Client, Work
from tests.helpers.children import children
from tests.helpers.images import encoded, jpeg, photo

IMAGE = jpeg(photo(64, 64))
WORK = Work("thumbnail", 1 << 30, 10, Limits(max_pixels=10**6, cpu_seconds=10))


@pytest.fixture
def made() -> Iterator[list[Client]]:
    """Give a list of clients that end with the test."""
    clients: list[Client] = []
    yield clients
    for client in clients:
        client.close()


def _client(made: list[Client], work: Work = WORK) -> Client:
    made.append(Client(work))
    return made[-1]


def test_one_that_was_killed_while_it_was_idle_costs_no_question(made: list[Client]) -> None:
    """It is replaced, and nobody notices."""
    client = _client(made)
    assert read_pixels(client.ask(IMAGE))
    assert client._process is not None
    client._process.kill()
    client._process.wait()
    assert read_pixels(client.ask(IMAGE))


def test_a_decoder_killed_twice_over_an_image_says_nothing_about_it(
    made: list[Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The policy is that of the daemon: tried again another time, and never called broken."""
    client = _client(made)
    client.ask(IMAGE)
    answer = client._answer

    def kill_and_answer(data: bytes) -> wire.Message | None:
        _kill_child_of(client)
        return answer(data)

    monkeypatch.setattr(client, "_answer", kill_and_answer)
    with pytest.raises(RetryableError, match="its process was killed"):
        client.ask(IMAGE)
    monkeypatch.undo()
    assert read_pixels(client.ask(IMAGE))


def _kill_child_of(client: Client) -> None:
    assert client._process is not None
    pid = client._process.pid
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if found := children(pid):
            os.kill(found[0], 9)
            return
        time.sleep(0.01)
    raise AssertionError("it has no decoder")


def test_a_decoder_that_takes_too_long_twice_makes_an_image_too_large(made: list[Client]) -> None:
    """No answer is waited for longer than was agreed."""
    limits = Limits(max_pixels=10**9, cpu_seconds=10)
    slow = encoded(Image.new("L", (20_000, 10_000)), "PNG")
    with pytest.raises(ImageError, match="too_large: tried twice: took longer than"):
        _client(made, replace(WORK, limits=limits, seconds=0.25)).ask(slow)


def test_a_task_that_does_not_exist_is_told(made: list[Client], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no image's fault that there is no such process."""
    with pytest.raises(UnavailableError, match="ends before it has done anything"):
        _client(made, replace(WORK, task="none")).ask(IMAGE)
    monkeypatch.setattr(clients, "HOST_MODULE", "imageguard_daemon.no_such_module")
    with pytest.raises(UnavailableError, match="ends before it has done anything"):
        _client(made).ask(IMAGE)


def test_a_host_ends_with_whoever_asks(made: list[Client]) -> None:
    """Nothing of it is left when the other end of its line is closed."""
    client = _client(made)
    client.ask(IMAGE)
    assert client._process is not None
    client._line.close()
    assert client._process.wait(60) == 0


def test_each_task_loads_only_what_it_needs() -> None:
    """Who makes thumbnails has no measuring in memory; who only asks has no image library."""

    def loaded(module: str) -> set[str]:
        program = f"import sys, {module}\nprint(*sys.modules)"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        return set(done.stdout.split())

    heavy = {"cv2", "simplejpeg", "pydantic", "sqlalchemy", "structlog"}
    assert not heavy & loaded(f"{host.__name__}, imageguard_daemon.sandbox.tasks.thumbnail")
    assert not heavy & loaded("imageguard_daemon.sandbox.answers")


def test_what_is_lost_beside_a_message_is_not_taken_for_nothing():
    """Without room for one more descriptor the kernel drops it, and a readout of one's own would be forgotten."""
    ours, theirs = wire.pair()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ours, theirs:
        wire.send_with_copy(ours, {"task": "measure"}, b"a readout")
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
        try:
            with pytest.raises(ConnectionError, match="lost on the way"):
                wire.receive_request(theirs)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
