"""What systemd's journal needs to know of each line, and how many lines it takes before it drops some, errors too."""

import logging
import os
from typing import TextIO

_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
_DEBUG = 7
WINDOW_SECONDS = 30.0
LINES_IN_A_WINDOW = 5_000
"""About images, that is half of what journald takes of one service by default (RateLimitBurst= in journald.conf(5))."""


def leads_to_journal(stream: TextIO) -> bool:
    """Tell whether a stream is the one that systemd connected to its journal (systemd.exec(5), JOURNAL_STREAM)."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return (str(status.st_dev), str(status.st_ino)) == (device, inode)


def with_priority(level: int, text: str) -> str:
    """Mark each line of a message with its priority (sd-daemon(3)), so that `journalctl -p warning` finds it."""
    priority = next((number for least, number in _PRIORITIES if level >= least), _DEBUG)
    return "\n".join(f"<{priority}>{line}" for line in text.split("\n"))


class LineBudget:
    """Lets so many lines about images through in a window, and counts the others. `now` is a monotonic clock."""

    def __init__(self, lines: int = LINES_IN_A_WINDOW, window_seconds: float = WINDOW_SECONDS) -> None:
        self._lines = lines
        self._window_seconds = window_seconds
        self._begun_at = float("-inf")
        self._told = 0
        self._left_out = 0

    def take(self, now: float) -> bool:
        """Tell whether one more line may be written."""
        if now - self._begun_at >= self._window_seconds:
            self._begun_at, self._told = now, 0
        self._told += 1
        if self._told > self._lines:
            self._left_out += 1
        return self._told <= self._lines

    def take_left_out(self, now: float) -> int:
        """Give how many were left out in a window that is over, and forget them."""
        if not self._left_out or now - self._begun_at < self._window_seconds:
            return 0
        left_out, self._left_out = self._left_out, 0
        return left_out
