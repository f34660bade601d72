"""What every test of the intake is held to."""

import os
import threading
from collections.abc import Iterator

import pytest


def inotify_instances() -> int:
    """Count the inotify descriptors of this process."""
    links = []
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            links.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        except FileNotFoundError:  # the listing's own
            continue
    return sum("inotify" in link for link in links)


@pytest.fixture(autouse=True)
def _nothing_leaks() -> Iterator[None]:
    """Fail a test that leaves a thread or an inotify instance behind."""
    threads, instances = set(threading.enumerate()), inotify_instances()
    yield
    left = [thread for thread in threading.enumerate() if thread not in threads]
    assert not left
    assert inotify_instances() == instances
