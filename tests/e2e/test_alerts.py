"""Alerts of the real daemon."""

import json
import sys
import time

from tests.e2e.daemon_process import command, wait_until
from tests.helpers.images import jpeg, photo

TELL = "import sys; open(sys.argv[1], 'a').write(sys.stdin.read() + chr(10))"


def put_thumbnails(made, count=14):
    """Let images arrive that are too small."""
    for number in range(count):
        made.put(f"lynx/{number}.jpg", jpeg(photo(80, 60, seed=number)))


def test_a_new_finding_runs_the_command_once_across_restarts(ingest):
    """Thumbnails arrive: the command is told what `report` finds; a restart repeats nothing; `alerts list` knows."""
    made = ingest()
    told = made.root / "told"
    alerts = {"command": [sys.executable, "-c", TELL, str(told)], "check_seconds": 0.3, "cooldown_hours": 5}
    made.configure(alerts=alerts)
    made.start()
    put_thumbnails(made)
    made.wait_for_decisions(14)
    wait_until(lambda: told.exists() and len(told.read_text().splitlines()) >= 2, "the command is told")
    time.sleep(1)
    assert made.stop() == 0
    before = told.read_text().splitlines()
    report = json.loads(command("report", "--config", made.config_file, "--format", "json").stdout)
    kinds = {(one["kind"], one["subject"]) for one in report["findings"]}
    assert {(one["kind"], one["subject"]) for one in map(json.loads, before)} >= kinds
    assert len(before) == len({(json.loads(one)["kind"], json.loads(one)["subject"]) for one in before})
    made.start()
    time.sleep(1.5)
    assert made.stop() == 0
    assert told.read_text().splitlines() == before
    listed = json.loads(command("alerts", "list", "--config", made.config_file, "--format", "json").stdout)
    assert {one["succeeded"] for one in listed} == {True}
    assert len(listed) == len(before)
    assert command("verify", "--config", made.config_file).returncode == 0


def test_a_hanging_command_keeps_no_image_waiting_and_no_stop(ingest):
    """While the command sleeps, images are filed; a stop ends it."""
    made = ingest(alerts={"command": ["sleep", "300"], "check_seconds": 0.3, "timeout_seconds": 600})
    made.start()
    put_thumbnails(made)
    made.wait_for_decisions(14)
    time.sleep(1)
    made.put("cat/late.jpg", jpeg(photo(320, 240, seed=99)))
    made.wait_for_decisions(15)
    assert made.stop() == 0


def test_a_test_alert_says_whether_it_arrives(ingest):
    """`alerts test` tells a made-up finding at once and records nothing; without a channel it says what to set."""
    made = ingest()
    told = made.root / "told"
    assert command("run", "--config", made.config_file, "--once").returncode == 0
    result = command("alerts", "test", "--config", made.config_file)
    assert (result.returncode, "alerts.command" in result.stderr) == (78, True), result.stderr
    made.configure(alerts={"command": [sys.executable, "-c", TELL, str(told)]})
    assert command("alerts", "test", "--config", made.config_file).returncode == 0
    assert json.loads(told.read_text())["kind"] == "test"
    made.configure(alerts={"command": ["/no/such/program"], "webhook": "http://127.0.0.1:9/"})
    result = command("alerts", "test", "--config", made.config_file)
    assert result.returncode == 69
    assert "cannot run /no/such/program" in result.stderr
    assert "webhook" in result.stderr
    assert command("alerts", "list", "--config", made.config_file).stdout == "No alerts have been sent yet.\n"
