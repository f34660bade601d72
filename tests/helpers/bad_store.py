"""A web server that gives images as stores do on their bad days."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class BadStore(ThreadingHTTPServer):
    """Gives `image` at /ok; other paths say in which way they fail. `asked` counts requests by path."""

    daemon_threads = True

    def __init__(self, image: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.image = image
        self.asked: Counter[str] = Counter()
        self.let_go = threading.Event()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def serving(image: bytes) -> Iterator[BadStore]:
    """Serve until the end of the block."""
    store = BadStore(image)
    thread = threading.Thread(target=store.serve_forever)
    thread.start()
    try:
        yield store
    finally:
        store.let_go.set()
        store.shutdown()
        thread.join()
        store.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: BadStore

    def do_GET(self) -> None:
        self.server.asked[self.path] += 1
        with suppress(ConnectionError):
            getattr(self, f"_{self.path.strip('/').partition('.')[0]}", self._missing)()

    def log_message(self, *arguments: object) -> None:
        pass

    def _answer(self, status: int, body: bytes, length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def _ok(self) -> None:
        self._answer(200, self.server.image)

    def _missing(self) -> None:
        self._answer(404, b"")

    def _forbidden(self) -> None:
        self._answer(403, b"")

    def _empty(self) -> None:
        self._answer(200, b"")

    def _flaky(self) -> None:
        if self.server.asked[self.path] < 3:
            self._answer(503, b"slow down")
        else:
            self._ok()

    def _down(self) -> None:
        self._answer(500, b"")

    def _cut(self) -> None:
        self._answer(200, self.server.image[:1000], len(self.server.image))
        self.close_connection = True

    def _hanging(self) -> None:
        self.server.let_go.wait(60)

    def _stalled(self) -> None:
        self._answer(200, self.server.image[:1000], len(self.server.image))
        self.server.let_go.wait(60)

    def _endless(self) -> None:
        self.send_response(200)
        self.end_headers()
        while not self.server.let_go.is_set():
            self.wfile.write(bytes(1 << 16))
