"""Listens and serves until asked to stop; who connects and does not ask makes room for those who do."""

import asyncio
import gc
import os
import socket
from contextlib import suppress
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from imageguard_daemon.core.errors import UnavailableError
from imageguard_daemon.core.processes import PAGES_STEP, end_with_parent, go_before_others
from imageguard_daemon.web.app import make_app
from imageguard_daemon.web.site import Site

_WAITING_CONNECTIONS = 512
_LESS_URGENT = 5
MAX_CONNECTIONS = 400
"""A browser opens up to six."""
REQUEST_SECONDS = 15.0
"""A request that has not arrived with all its headers by then does not come any more."""
KEEP_ALIVE_SECONDS = 75.0


def listen(host: str, port: int) -> socket.socket:
    """Give a socket that listens.

    Raises:
        UnavailableError: the address is not to be had.
    """
    is_six = ":" in host
    # With its protocol named: only then asyncio switches Nagle's algorithm off, and every answer is 40 ms quicker.
    listening = socket.socket(socket.AF_INET6 if is_six else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_six:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind((host, port))
        listening.listen(_WAITING_CONNECTIONS)
    except OSError as error:
        listening.close()
        raise UnavailableError(f"cannot listen on {host} port {port}: {error.strerror or error}") from error
    return listening


def serve(site: Site, listening: socket.socket) -> None:
    """Answer requests until a stop signal."""
    proxies = site.settings.web.trusted_proxies
    config = uvicorn.Config(
        make_app(site),
        log_level="error",
        access_log=False,
        server_header=False,
        http=BoundedConnection,
        limit_concurrency=MAX_CONNECTIONS + 100,  # requests at once: connections that only wait make room before
        timeout_graceful_shutdown=5,
        timeout_keep_alive=int(KEEP_ALIVE_SECONDS),
        proxy_headers=bool(proxies),
        forwarded_allow_ips=list(proxies),
    )
    server = uvicorn.Server(config)
    _keep_what_is_loaded()
    server.run(sockets=[listening])


def _keep_what_is_loaded() -> None:
    """Have the search for garbage leave out modules and routes: to look through them stops all pages for 40 ms."""
    gc.collect()  # or what is garbage by now would stay for good
    gc.freeze()


def follow(process_id: int) -> None:
    """End when this parent does, however it does; let it have the processor first, and memory longer."""
    go_before_others(PAGES_STEP)
    with suppress(PermissionError):  # a service may be forbidden even this
        os.nice(_LESS_URGENT)
    if not end_with_parent(process_id):
        raise SystemExit(os.EX_OK)


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
