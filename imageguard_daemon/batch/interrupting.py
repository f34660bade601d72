"""Ctrl-C and SIGTERM between two images, never in the middle of writing one."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Self


class InterruptedRunError(BaseException):
    """A person or the system asked for an end; like KeyboardInterrupt, it is no error to be handled on the way."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def exit_code(self) -> int:
        """The shell's code for a process that a stop signal ended."""
        return 128 + self.number


class Interrupts:
    """Raises InterruptedRunError when a stop signal comes: at once while waiting, afterwards within `held_off`."""

    _NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self._held_off = False
        self._came: int | None = None
        self._before: dict[int, object] = {}

    def __enter__(self) -> Self:
        for number in self._NUMBERS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup wants it
                self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    @contextmanager
    def held_off(self) -> Iterator[None]:
        """Let no stop signal interrupt what is done here."""
        self._held_off = True
        try:
            yield
        finally:
            self._held_off = False
        if self._came is not None:
            raise InterruptedRunError(self._came)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._came = number
        if not self._held_off:
            raise InterruptedRunError(number)
