"""Ctrl-C and SIGTERM between two images, never in the middle of writing one."""

import os
import signal
import time
from types import FrameType
from typing import Self

PATIENCE_SECONDS = 2.0
"""Signals that come together, as from a terminal that is closed, are one."""


class InterruptedRunError(BaseException):
    """A person or the system asked for an end; like KeyboardInterrupt, it is not an error to be handled on the way."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def exit_code(self) -> int:
        """The shell's code for a process that a stop signal ended."""
        return 128 + self.number


class Interrupts:
    """Notes stop signals; `check` raises InterruptedRunError once one has come.

    A handler that raised would do so wherever the program is, in a library's lock for instance, which then stays held.
    A second signal, some time after the first, ends the process at once, should no `check` be reached any more.
    """

    _NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self._came: int | None = None
        self._came_at = 0.0
        self._before: dict[int, object] = {}

    def __enter__(self) -> Self:
        for number in self._NUMBERS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup wants it
                self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def check(self) -> None:
        """Raise InterruptedRunError if a stop signal has come; call it between images and while waiting."""
        if self._came is not None:
            raise InterruptedRunError(self._came)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self._came is None:
            self._came, self._came_at = number, time.monotonic()
        elif time.monotonic() - self._came_at > PATIENCE_SECONDS:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
