"""One thing to wait on for everything that can happen: events, finished workers, stop signals, time."""

import os
import select


class Waker:
    """Wakes the main loop from any thread or signal handler; waking twice is waking once."""

    def __init__(self) -> None:
        self._descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLIN)

    def wake(self) -> None:
        """End the current or the next wait."""
        os.eventfd_write(self._descriptor, 1)

    def wait(self, seconds: float) -> None:
        """Wait until woken, for at most `seconds`."""
        if self._poll.poll(max(0.0, seconds) * 1000):
            os.eventfd_read(self._descriptor)

    def close(self) -> None:
        """Let go of the descriptor."""
        os.close(self._descriptor)
