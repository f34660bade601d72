"""Listens and serves until told to stop."""

import os
import socket
from contextlib import suppress

import uvicorn

from imageguard_daemon.core.errors import UnavailableError
from imageguard_daemon.core.oom_score import PAGES_STEP, go_before_others
from imageguard_daemon.core.processes import end_with_parent
from imageguard_daemon.web.app import make_app
from imageguard_daemon.web.site import Site
from imageguard_daemon.web.uvicorn_connections import KEEP_ALIVE_SECONDS, MAX_CONNECTIONS, BoundedConnection

_WAITING_CONNECTIONS = 512
_LESS_URGENT = 5


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
    uvicorn.Server(config).run(sockets=[listening])


def follow(process_id: int) -> None:
    """End when this parent does, however it does; let it have the processor first, and memory longer."""
    go_before_others(PAGES_STEP)
    with suppress(PermissionError):  # a service may be forbidden even this
        os.nice(_LESS_URGENT)
    if not end_with_parent(process_id):
        raise SystemExit(os.EX_OK)
