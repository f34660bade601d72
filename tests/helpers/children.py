"""The processes that another one has started, from /proc, where any of them may end while one looks."""

import os
from contextlib import suppress
from pathlib import Path


def children(pid: int) -> list[int]:
    """Give the processes that any thread of it has started and not waited for; none when it has ended."""
    found: list[int] = []
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with suppress(OSError):
                found += map(int, Path(f"/proc/{pid}/task/{thread}/children").read_text().split())
    return found


def all_below(pid: int) -> list[int]:
    """Give its children and theirs."""
    return [one for child in children(pid) for one in (child, *all_below(child))]
