"""What the operator asks of a running daemon: the only place that knows the operating system's signals."""

import signal
from collections.abc import Callable
from types import FrameType


class StopSignals:
    """Flags that SIGTERM, SIGINT and SIGHUP set; the handlers do nothing else, the loop acts on them."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self.should_exit = False
        self.should_exit_at_once = False
        self.should_reload = False

    def listen(self, *, reload: bool = True) -> None:
        """Install the handlers for the whole process; without `reload` SIGHUP keeps its meaning."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        if reload:
            signal.signal(signal.SIGHUP, self._on_reload)

    def _on_stop(self, _number: int, _frame: FrameType | None) -> None:
        self.should_exit_at_once = self.should_exit
        self.should_exit = True
        self._wake()

    def _on_reload(self, _number: int, _frame: FrameType | None) -> None:
        self.should_reload = True
        self._wake()
