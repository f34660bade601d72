"""A web server on loopback that gives half of what is asked for, and the rest only when it is told to."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class SlowWeb:
    """One file of a web server; `go_on` lets its second half through."""

    data: bytes
    go_on: threading.Event = field(default_factory=threading.Event)
    address: str = ""


@contextmanager
def slow_web(data: bytes) -> Iterator[SlowWeb]:
    """Serve one file until the context is left."""
    web = SlowWeb(data)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(web))
    server.daemon_threads = True
    web.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield web
    finally:
        web.go_on.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(web: SlowWeb) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            part = self._answer()
            with suppress(OSError):
                self.wfile.write(part[: len(part) // 2])
                self.wfile.flush()
                web.go_on.wait()
                self.wfile.write(part[len(part) // 2 :])

        def _answer(self) -> bytes:
            whole, asked = len(web.data), self.headers.get("Range", "")
            first, _, last = asked.removeprefix("bytes=").partition("-")
            begin, end = int(first or 0), int(last or whole - 1) + 1
            self.send_response(206 if asked else 200)
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Type", "image/jpeg")
            self.send_header("Content-Length", str(end - begin))
            if asked:
                self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{whole}")
            self.end_headers()
            return web.data[begin:end]

        def log_message(self, *_arguments: object) -> None:
            pass

    return Handler
