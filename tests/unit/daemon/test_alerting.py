"""The daemon's alerts, with a real log, a real thread and real commands."""

import json
import socket
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from imageguard_daemon.audit.alerts import recorded_alerts
from imageguard_daemon.audit.chain_check import ChainCheck
from imageguard_daemon.audit.opening import open_log, open_log_for_checking
from imageguard_daemon.audit.writer import AuditWriter
from imageguard_daemon.config import Metrics
from imageguard_daemon.config_file import load
from imageguard_daemon.daemon.alerting import Alerting
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


def turn_until(alerting: Alerting, condition: Callable[[], object], seconds: float = 30.0) -> None:
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
