"""Uvicorn's connections with an end to waiting: who connects and does not ask makes room for those who do."""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_CONNECTIONS = 400
"""A browser opens up to six."""
REQUEST_SECONDS = 15.0
"""A request that has not arrived with all its headers by then does not come any more."""
KEEP_ALIVE_SECONDS = 75.0


class BoundedConnection(H11Protocol):
    """One connection. Uvicorn itself waits for ever for the first request, and for the rest of one that has begun."""

    connections: set[Any]
    _waits_since = 0.0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, and let the one go that has waited longest when there are too many."""
        super().connection_made(transport)
        self._waits_since = self.loop.time()
        self._look_again(REQUEST_SECONDS)
        if len(self.connections) > MAX_CONNECTIONS:
            waiting = [one for one in self.connections if one is not self and not one.is_asking]
            if waiting:
                min(waiting, key=lambda one: one._waits_since).give_up()  # noqa: SLF001 - one of our own

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Begin to wait for the next request."""
        super().on_response_complete()
        self._waits_since = self.loop.time()

    @property
    def is_asking(self) -> bool:
        """Whether a request is being answered."""
        return self.cycle is not None and not self.cycle.response_complete

    def give_up(self) -> None:
        """Close it; it counts no more at once, since many may come before the loop has closed it."""
        self.connections.discard(self)
        self.transport.close()

    def _look_again(self, seconds: float) -> None:
        self._timer = self.loop.call_later(seconds, self._close_if_overdue)

    def _close_if_overdue(self) -> None:
        # The first request is due soon; a kept connection may rest, but not with half a request for longer.
        patience = REQUEST_SECONDS if self.cycle is None else KEEP_ALIVE_SECONDS + REQUEST_SECONDS
        if not self.is_asking and self.loop.time() - self._waits_since >= patience - 0.1:
            self.give_up()
        else:
            self._look_again(REQUEST_SECONDS)
