"""A client that loads pages as a browser does: the page, then everything it shows, over connections that stay open."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Self

CONNECTIONS = 6
"""As many as browsers open to one server."""
_SHOWN = re.compile(r'(?:src|href)="(/(?:static|decisions/\d+/(?:thumbnail|image|\w+\.svg))[^"]*)"')


@dataclass(frozen=True, slots=True)
class Load:
    """One page: seconds until its HTML was there, and until all that it shows was; how many requests that took."""

    path: str
    html_seconds: float
    whole_seconds: float
    requests: int


class _Connection:
    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, path: str) -> str:
        was_open = self._streams is not None
        try:
            return await self._get(path)
        except (asyncio.IncompleteReadError, ConnectionError):
            if not was_open:
                raise
        await self.close()  # the server had closed what nobody used for a while: browsers ask again, too
        return await self._get(path)

    async def _get(self, path: str) -> str:
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._address)
        reader, writer = self._streams
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {self._address[0]}:{self._address[1]}\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = re.search(r"content-length: (\d+)", head)
        body = await reader.readexactly(int(length[1])) if length else b""
        # The log's images were never there: a drawing says so, with status 404.
        if " 5" in head[:12] or (" 4" in head[:12] and not path.startswith("/decisions/")):
            raise RuntimeError(f"{path}: {head.splitlines()[0]}")
        return body.decode("utf-8", "replace")

    async def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


@dataclass
class Browser:
    """One client with nothing in its cache but what it loaded for the same page."""

    host: str
    port: int
    _connections: list[_Connection] = field(default_factory=list)

    @classmethod
    @asynccontextmanager
    async def opened(cls, host: str, port: int) -> AsyncIterator[Self]:
        """Give one whose connections are closed in the end."""
        browser = cls(host, port, [_Connection(host, port) for _ in range(CONNECTIONS)])
        try:
            yield browser
        finally:
            for one in browser._connections:
                await one.close()

    async def load(self, path: str) -> Load:
        """Load a page and everything it shows."""
        started = time.perf_counter()
        html = await self._connections[0].get(path)
        html_seconds = time.perf_counter() - started
        shown = list(dict.fromkeys(_SHOWN.findall(html)))
        await asyncio.gather(
            *(
                self._all(one, shown[at::CONNECTIONS])
                for at, one in enumerate(self._connections)
                if shown[at::CONNECTIONS]
            )
        )
        return Load(path, html_seconds, time.perf_counter() - started, 1 + len(shown))

    async def get(self, path: str) -> float:
        """Ask for one thing, and give the seconds until it was there."""
        started = time.perf_counter()
        await self._connections[0].get(path)
        return time.perf_counter() - started

    @staticmethod
    async def _all(connection: _Connection, paths: Sequence[str]) -> None:
        for path in paths:
            await connection.get(path)
