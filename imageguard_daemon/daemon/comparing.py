"""Compares filed files of which only the time has changed with what was judged, beside all other work of the loop.

Whoever still has a large file open can set its time again and again: hashed as a whole each time, it would keep
everybody waiting.
"""

import time
from collections import deque
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from imageguard_daemon.core.model import Intent
from imageguard_daemon.filing.judged_file import compare_bytes

SECONDS_PER_STEP = 0.02

K = TypeVar("K")


@dataclass(slots=True)
class Comparing(Generic[K]):
    """Files in a line, by a key of the caller's; the first is read a little further at each step."""

    _line: deque[tuple[K, Generator[None, None, bool]]] = field(default_factory=deque)

    def __len__(self) -> int:
        return len(self._line)

    def begin(self, key: K, path: str, intent: Intent) -> None:
        """Put a file at the end of the line."""
        self._line.append((key, compare_bytes(path, intent)))

    def step(self) -> list[tuple[K, bool | OSError]]:
        """Read on for a moment; give what has been found out: whether the bytes are the judged ones, or why not."""
        found: list[tuple[K, bool | OSError]] = []
        until = time.monotonic() + SECONDS_PER_STEP
        while self._line:
            key, steps = self._line[0]
            answer = _next(steps)
            if answer is not None:
                self._line.popleft()
                found.append((key, answer))
            if time.monotonic() >= until:
                break
        return found


def _next(steps: Generator[None, None, bool]) -> bool | OSError | None:
    try:
        next(steps)
    except StopIteration as end:
        return bool(end.value)
    except OSError as error:
        return error
    return None
