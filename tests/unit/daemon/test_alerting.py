"""The daemon's alerts, with a real log, a real thread and real commands."""

import http.server
import json
import socket
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from imageguard_daemon.audit.alerts import Alert, recorded_alerts
from imageguard_daemon.audit.chain_check import ChainCheck
from imageguard_daemon.audit.opening import open_log, open_log_for_checking
from imageguard_daemon.audit.writer import AuditWriter
from imageguard_daemon.config import Metrics
from imageguard_daemon.config_file import load
from imageguard_daemon.daemon.alerting import Alerting, Command, DeliveryError, Webhook, content_of
from tests.helpers.audit_logs import Judged, write_log

TELL = "import sys; open(sys.argv[1], 'a').write(sys.stdin.read() + '\\n'); sys.exit(int(open(sys.argv[2]).read()))"
BAD_CLASS = (
    Judged("lynx", "low_resolution", 12, decided_at=datetime.now(UTC)),
    Judged("cat", "", 30, decided_at=datetime.now(UTC)),
)


class Site:
    """A root with a log in which one class is bad, and a command that keeps what it is told."""

    def __init__(self, root: Path, **alerts: object) -> None:
        self.told_file, self.code_file = root / "told", root / "code"
        self.code_file.write_text("0")
        self.database = write_log(root / "audit.db", BAD_CLASS)
        command = (sys.executable, "-c", TELL, str(self.told_file), str(self.code_file))
        settings = load(None, root)
        changes = {"command": command, "check_seconds": 0.01, "timeout_seconds": 20.0} | alerts
        changed = settings.alerts.model_copy(update=changes)
        self.settings = settings.model_copy(update={"alerts": changed})
        self.now = datetime.now(UTC)
        self._open: list[tuple[Alerting, AuditWriter]] = []

    def start(self) -> Alerting:
        """Begin as a daemon does at its start."""
        audit = AuditWriter(self.database, self.settings.root)
        made = Alerting(self.settings, audit, lambda: None, lambda: self.now)
        self._open.append((made, audit))
        return made

    def stop(self) -> None:
        """End as a daemon does."""
        while self._open:
            alerting, audit = self._open.pop()
            alerting.stop()
            audit.close()

    def told(self) -> list[dict]:
        """Give what the command was told."""
        return [json.loads(line) for line in self.told_file.read_text().splitlines()] if self.told_file.exists() else []

    def recorded(self) -> list[tuple[str, bool, int]]:
        """Give what the log says: kind, whether somebody was told, and in how many tries."""
        with open_log(self.database) as log:
            return [(one.kind, one.succeeded, one.attempts) for one in recorded_alerts(log)]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A site whose threads end with the test."""
    made = Site(tmp_path)
    yield made
    made.stop()


def turn_until(alerting: Alerting, condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Turn the loop until something is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        alerting.step(time.monotonic())
        time.sleep(0.01)


def turn(alerting: Alerting, seconds: float) -> None:
    """Turn the loop for a while."""
    end = time.monotonic() + seconds
    turn_until(alerting, lambda: time.monotonic() > end)


def all_told(site: Site, count: int = 3) -> Callable[[], bool]:
    """Say when so many alerts have been recorded as delivered."""
    return lambda: sum(succeeded for _, succeeded, _ in site.recorded()) == count


def test_each_finding_is_told_once_and_recorded(site: Site) -> None:
    """One bad class makes three findings: each told once, with a record of alert and try in the hash chain."""
    alerting = site.start()
    turn_until(alerting, all_told(site))
    turn(alerting, 0.3)
    kinds = {"high_rejection_rate", "class_consistently_rejected", "mostly_low_resolution"}
    assert {one["kind"] for one in site.told()} == kinds
    assert len(site.told()) == 3
    assert {(succeeded, attempts) for _, succeeded, attempts in site.recorded()} == {(True, 1)}
    with open_log_for_checking(site.database) as log:
        assert list(ChainCheck(log).faults()) == []


def test_a_restart_tells_nothing_twice_and_what_is_gone_is_told_to_be_over(site: Site) -> None:
    """What was told is known after a restart and while it goes on; a day after it is gone, people hear that."""
    turn_until(site.start(), all_told(site))
    site.stop()
    again = site.start()
    turn(again, 0.4)
    assert len(site.told()) == 3
    site.stop()
    site.now += timedelta(days=3)
    later = site.start()
    turn(later, 0.4)
    assert len(site.told()) == 3
    site.now += timedelta(days=28)  # out of the period
    turn(later, 0.5)
    site.now += timedelta(days=2)
    turn_until(later, all_told(site, 6))
    assert [one["state"] for one in site.told()] == ["new"] * 3 + ["over"] * 3


def test_a_failure_is_recorded_and_tried_again(site: Site) -> None:
    """While the command fails each try is recorded with its reason; after the pause it reaches somebody."""
    site.code_file.write_text("1")
    alerting = site.start()
    turn_until(alerting, lambda: [one[1:] for one in site.recorded()] == [(False, 1)] * 3)
    turn(alerting, 0.2)
    assert [one[1:] for one in site.recorded()] == [(False, 1)] * 3  # not before the pause is over
    site.stop()
    site.code_file.write_text("0")
    site.now += timedelta(minutes=2)
    turn_until(site.start(), all_told(site))
    assert {one[1:] for one in site.recorded()} == {(True, 2)}


def test_a_slow_command_stops_nobody(site: Site) -> None:
    """The loop's step takes no time while a command hangs, and a stop does not wait for it."""
    site.settings = site.settings.model_copy(
        update={"alerts": site.settings.alerts.model_copy(update={"command": ("sleep", "60"), "timeout_seconds": 60.0})}
    )
    alerting = site.start()
    turn_until(alerting, lambda: len(site.recorded()) == 3)
    for _ in range(20):
        alerting.step(time.monotonic())
    site.stop()
    assert {one[1:] for one in site.recorded()} == {(False, 0)}, "whoever had waited would know how it ended"


def test_a_slow_receiver_holds_up_no_other(site: Site) -> None:
    """While a web server accepts and says nothing, all is told by command, and looks go on."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        webhook = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        changes = {"webhook": webhook, "timeout_seconds": 60.0}
        site.settings = site.settings.model_copy(update={"alerts": site.settings.alerts.model_copy(update=changes)})
        alerting = site.start()
        turn_until(alerting, lambda: len(site.told()) == 3)
        site.stop()


def test_a_locked_log_loses_no_try(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be recorded now is recorded when the log is free; nobody is told twice for it."""
    monkeypatch.setattr("imageguard_daemon.audit.database.BUSY_TIMEOUT_MS", 10)
    monkeypatch.setattr("imageguard_daemon.daemon.alerting.RECORD_AGAIN_SECONDS", 0.05)
    alerting = site.start()
    turn_until(alerting, lambda: len(site.recorded()) == 3)
    other = sqlite3.connect(site.database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    turn_until(alerting, lambda: len(site.told()) == 3)
    turn(alerting, 0.2)
    other.execute("ROLLBACK")
    other.close()
    turn_until(alerting, all_told(site))
    assert len(site.told()) == 3


def test_without_a_channel_nothing_runs(tmp_path: Path) -> None:
    """No thread, no look, nothing in the log."""
    site = Site(tmp_path, command=())
    alerting = site.start()
    turn(alerting, 0.2)
    assert alerting._messenger._looks._thread is None
    assert site.recorded() == []
    site.stop()


def test_metrics_alone_have_findings_looked_for(tmp_path: Path) -> None:
    """Where nobody is told of findings but monitoring is, they are counted, and nothing is recorded."""
    made = Site(tmp_path, command=())
    made.settings = made.settings.model_copy(update={"metrics": Metrics(enabled=True)})
    try:
        alerting = made.start()
        for _ in range(1_000):
            alerting.step(time.monotonic())
            if alerting.found:
                break
            time.sleep(0.01)
        assert alerting.found is not None
        assert alerting.found.kinds["class_consistently_rejected"] == 1
        assert made.recorded() == []
    finally:
        made.stop()


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
    script = 'sleep 60 & echo $! >"$0"; wait'  # of a shell, which is there at once
    with pytest.raises(DeliveryError):
        Command(["sh", "-c", script, str(tmp_path / "pid")], 1.5).send({})
    child = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 60
    while _lives(child):
        assert time.monotonic() < deadline, "the child lives on"
        time.sleep(0.01)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


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
