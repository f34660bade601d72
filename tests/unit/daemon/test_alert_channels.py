"""Telling people by a real command and by a real web server."""

import http.server
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from imageguard_daemon.audit.alerts import Alert
from imageguard_daemon.daemon.alert_channels import Command, DeliveryError, Webhook, content_of

ALERT = Alert(
    datetime(2025, 3, 1, 12, tzinfo=UTC),
    "mostly_blurry",
    "<!channel>",
    "Class '<!channel>' & @all",
    "command",
    {"n": 3},
)


def python(script: str, *arguments: object) -> list[str]:
    """Give a command that runs a script."""
    return [sys.executable, "-c", script, *map(str, arguments)]


def test_a_command_gets_the_finding_as_json_and_no_shell(tmp_path: Path) -> None:
    """What it is told comes on standard input; arguments with blanks, quotes and $ come through as they are."""
    script = "import json, sys; json.dump([json.load(sys.stdin), sys.argv[2:]], open(sys.argv[1], 'w'))"
    hostile = "a b; touch x && $(id) 'q'"
    Command(python(script, tmp_path / "told", hostile), 20).send(content_of(ALERT, tmp_path))
    told, arguments = json.loads((tmp_path / "told").read_text())
    assert arguments == [hostile]
    assert (told["kind"], told["subject"], told["evidence"]) == ("mostly_blurry", "<!channel>", {"n": 3})
    assert (told["root"], told["host"]) == (str(tmp_path), socket.gethostname())
    assert told["found_at"] == "2025-03-01T12:00:00+00:00"


def test_what_chat_programs_interpret_is_taken_out_of_the_text(tmp_path: Path) -> None:
    """A class named like a mention calls nobody; `message` keeps its letters for programs."""
    content = content_of(ALERT, tmp_path)
    assert not set("<>@`*") & set(content["text"])
    assert content["message"] == ALERT.message


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["/no/such/program"], "cannot run /no/such/program: No such file"),
        (["/dev/null"], "cannot run"),
        (python("import sys; sys.exit('mail server is down')"), "exit code 1: mail server is down"),
        (python("import os; os.kill(os.getpid(), 9)"), "exit code -9"),
        (python("import time; time.sleep(60)"), "took longer than 0.5 s"),
        (python("pass"), None),  # reads nothing of what it is told
    ],
    ids=["missing", "no program", "failing", "killed", "hanging", "not reading"],
)
def test_what_becomes_of_a_command_is_known(tmp_path: Path, arguments: list[str], told: str | None) -> None:
    """A failure says why; a command that does not care for its input succeeds all the same."""
    command = Command(arguments, 0.5 if told and "longer" in told else 20)
    if told is None:
        command.send(content_of(ALERT, tmp_path) | {"filler": "x" * 1_000_000})
        return
    with pytest.raises(DeliveryError) as error:
        command.send(content_of(ALERT, tmp_path))
    assert told in str(error.value)


def test_a_hanging_command_goes_with_all_it_has_started(tmp_path: Path) -> None:
    """No child of it is left behind."""
    script = (
        "import subprocess, sys; p = subprocess.Popen(['sleep', '60']); "
        "open(sys.argv[1], 'w').write(str(p.pid)); p.wait()"
    )
    with pytest.raises(DeliveryError):
        Command(python(script, tmp_path / "pid"), 1.5).send({})
    child = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 20
    while os.path.exists(f"/proc/{child}") and "Z" not in Path(f"/proc/{child}/stat").read_text().split()[2]:
        assert time.monotonic() < deadline, "the child lives on"


class _Handler(http.server.BaseHTTPRequestHandler):
    status = 200
    garbage = False

    def do_GET(self) -> None:
        self.server.told.append(("GET", None))  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.told.append((self.headers["Content-Type"], json.loads(body)))  # type: ignore[attr-defined]
        if self.garbage:
            self.wfile.write(b"what?\r\n\r\n")
            return
        self.send_response(self.status)
        if 300 <= self.status < 400:
            self.send_header("Location", "/elsewhere")
        self.end_headers()
        self.wfile.write(b"no such channel")

    def log_message(self, *_args: object) -> None:
        """Print nothing."""


@pytest.fixture
def server() -> Iterator[http.server.HTTPServer]:
    """A web server on loopback that keeps what it is told."""
    made = http.server.HTTPServer(("127.0.0.1", 0), _Handler)
    made.told = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def test_a_webhook_is_posted_as_json(server, tmp_path: Path) -> None:
    """What arrives is what was told."""
    Webhook(f"http://127.0.0.1:{server.server_port}/hook?key=1", 20).send(content_of(ALERT, tmp_path))
    [(content_type, told)] = server.told
    assert content_type == "application/json"
    assert told["subject"] == "<!channel>"


@pytest.mark.parametrize(
    ("status", "garbage", "words"),
    [(500, False, "answered 500"), (404, False, "no such channel"), (200, True, "BadStatusLine|HTTP")],
)
def test_an_answer_that_is_no_success_is_a_failure(server, monkeypatch, status, garbage, words) -> None:
    """Refused, not found, or no web server at all: it says so."""
    monkeypatch.setattr(_Handler, "status", status)
    monkeypatch.setattr(_Handler, "garbage", garbage)
    with pytest.raises(DeliveryError, match=words):
        Webhook(f"http://127.0.0.1:{server.server_port}/", 20).send({})


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_named_and_not_followed(server, monkeypatch, status) -> None:
    """What is told by POST would arrive elsewhere as a GET without a word of it: that is no delivery."""
    monkeypatch.setattr(_Handler, "status", status)
    with pytest.raises(DeliveryError, match=rf"answered {status} .*redirects are not followed.*/elsewhere"):
        Webhook(f"http://127.0.0.1:{server.server_port}/", 20).send({})
    assert [content_type for content_type, _ in server.told] == ["application/json"]


def test_the_whole_exchange_has_one_deadline() -> None:
    """A receiver that answers byte by byte, each in time, is given up all the same, and asked for nothing more."""
    with socket.socket() as dripping:
        dripping.bind(("127.0.0.1", 0))
        dripping.listen()
        enough = threading.Event()

        def drip() -> None:
            receiver, _ = dripping.accept()
            with receiver, suppress(OSError):
                while not enough.wait(0.05):
                    receiver.sendall(b"H")

        thread = threading.Thread(target=drip)
        thread.start()
        webhook = Webhook(f"http://127.0.0.1:{dripping.getsockname()[1]}/", 0.5)
        with pytest.raises(DeliveryError, match=r"took longer than 0\.5 s"):
            webhook.send({})
        with pytest.raises(DeliveryError, match="has not ended yet"):
            webhook.send({})
        enough.set()
        thread.join()


def test_nobody_there_is_a_failure() -> None:
    """A port on which nobody listens, and one that accepts and says nothing."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        with pytest.raises(DeliveryError, match="refused"):
            Webhook(f"http://127.0.0.1:{port}/", 5).send({})
        silent.listen()
        with pytest.raises(DeliveryError, match="timed out"):
            Webhook(f"http://127.0.0.1:{port}/", 0.2).send({})
