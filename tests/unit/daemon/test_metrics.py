"""What monitoring is told, and that asking costs the daemon nothing."""

import http.client
import json
import re
import shutil
import socket
import subprocess
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from imageguard_daemon.config import Metrics
from imageguard_daemon.core.model import ISSUES
from imageguard_daemon.daemon.metrics import REQUESTS_AT_ONCE, DaemonMetrics, MetricsServer
from imageguard_daemon.daemon.parts import Snapshot, SourceSnapshot, liveness_failure, readiness_failure, summary
from tests.helpers.records import Tree, intent, judged

ROOT = Path(__file__).parents[3]
SOURCE = SourceSnapshot("scraper", "/inbox", present=True, settling=3, paused_because="", canary_age_seconds=4.0)
FORWARDING = {
    "records_behind": 12,
    "oldest_behind_at": "1970-01-01T00:15:00+00:00",
    "records_sent": 34,
    "odd_records": 1,
    "failures": 2,
    "last_success_at": "1970-01-01T00:16:30+00:00",
}
WELL = Snapshot(
    at=1000.0,
    state="watching",
    backlog=7,
    oldest_arrived_at=900.0,
    set_aside=1,
    retries=5,
    sources=(SOURCE,),
    in_work=2,
    worker_failures=6,
    pools_lost=1,
    forwarding=FORWARDING,
)


@pytest.fixture
def metrics(tmp_path):
    """Metrics that have counted one rejected image and know a daemon that is well."""
    tree = Tree(tmp_path)
    made = DaemonMetrics()
    made.count(judged(intent(tree.arrive(), tree.accepted / "1.jpg"), ok=False))
    with made.timed("record"):
        pass
    made.snapshot = replace(WELL, at=time.time(), findings={"just_below": 2}, findings_at=990.0, pages_up=True)
    made.snapshot = replace(made.snapshot, configuration_refused="a mistake")
    return made


@pytest.fixture
def server(metrics):
    """A server on a port of its own."""
    settings = Metrics.model_construct(enabled=True, host="127.0.0.1", port=0)
    made = MetricsServer(settings, metrics)
    made.start()
    yield made
    made.stop()


def _get(server, path):
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), dict(answer.headers)


def _samples(text):
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_decisions_and_gauges_are_told(server):
    """What was counted and what the loop last published is what a scrape reads."""
    status, text, headers = _get(server, "/metrics")
    samples = _samples(text)
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain; version=")
    assert samples["imageguard_decisions_total", "blurry", "default", "quarantined"] == 1
    assert samples[("imageguard_backlog_files",)] == 7
    assert samples["imageguard_source_settling_files", "scraper"] == 3
    assert samples["imageguard_source_canary_age_seconds", "scraper"] == 4
    assert samples[("imageguard_worker_restarts_total",)] == 6
    assert samples["imageguard_stage_duration_seconds_count", "record"] == 1


def test_no_path_or_class_is_told(metrics):
    """Labels are sources, verdicts, reasons, stages and versions only."""
    text = metrics.exposition().decode()
    labels = {name for found in re.findall(r"\{(.*?)\} ", text) for name in re.findall(r'(\w+)="', found)}
    assert labels <= {"source", "verdict", "reason", "stage", "le", "version", "scorer_version", "code", "kind"}
    assert "cat" not in re.sub("#.*", "", text)


def test_a_stage_that_fails_is_measured_too(metrics):
    """A slow failure is not hidden from the histogram."""
    with pytest.raises(OSError, match="full"), metrics.timed("move"):
        raise OSError("full")
    assert _samples(metrics.exposition().decode())["imageguard_stage_duration_seconds_count", "move"] == 1


@pytest.mark.parametrize(
    ("change", "ill", "hindered"),
    [
        ({}, "", ""),
        ({"at": 900.0}, "has not run for 100 s", "has not run for 100 s"),
        ({"makes_progress": False}, "no image has finished", "no image has finished"),
        ({"state": "stopping"}, "", "stopping"),
        ({"sources": (replace(SOURCE, paused_because="no space"),)}, "", "source scraper: paused"),
        ({"sources": (replace(SOURCE, present=False),)}, "", "source scraper: its inbox is gone"),
    ],
)
def test_health_and_readiness_say_why_not(change, ill, hindered):
    """A hanging daemon is ill; one that only waits for a disk is well, but not ready."""
    snapshot = replace(WELL, **change)
    for found, expected in ((liveness_failure(snapshot, 1000.0), ill), (readiness_failure(snapshot, 1000.0), hindered)):
        assert expected in found
        assert bool(found) == bool(expected)


def test_before_the_first_step_it_is_neither_well_nor_ready():
    """Who asks too early is not told that all is well."""
    assert liveness_failure(None, 0.0) == readiness_failure(None, 0.0) == "has not begun"


def test_systemd_hears_of_trouble_before_the_counts():
    """The line is cut off where it is long: what needs a person stands first."""
    counts = "0 accepted, 0 quarantined, 7 waiting"
    assert summary(WELL) == counts
    paused = replace(WELL, sources=(replace(SOURCE, paused_because="no space"),), configuration_refused="a mistake")
    assert summary(replace(paused, makes_progress=False)) == (
        "no image has finished for a long time; scraper paused: no space; "
        f"configuration not reloaded: a mistake; {counts}"
    )


def test_answers_have_their_status(server, metrics):
    """200 when well, 503 with a reason when not, 404 for anything else, also for paths that climb."""
    assert _get(server, "/healthz")[:2] == (200, "ok\n")
    metrics.snapshot = replace(metrics.snapshot, sources=(replace(SOURCE, paused_because="no space"),))
    assert _get(server, "/healthz")[0] == 200
    assert _get(server, "/readyz")[:2] == (503, "source scraper: paused\n")
    assert [_get(server, path)[0] for path in ("/", "/../etc/passwd", "/metrics/x")] == [404, 404, 404]


def test_silent_clients_cost_neither_threads_nor_the_daemon(server):
    """However many connect and say nothing, there are never more than a few threads."""
    before = threading.active_count()
    silent = [socket.create_connection(("127.0.0.1", server.port), timeout=60) for _ in range(3 * REQUESTS_AT_ONCE)]
    refused = [one for one in silent[REQUESTS_AT_ONCE:] if one.recv(1) == b""]
    assert len(refused) == 2 * REQUESTS_AT_ONCE
    assert threading.active_count() <= before + REQUESTS_AT_ONCE
    for one in silent:
        one.close()


def test_a_port_that_is_taken_costs_only_the_metrics(server, metrics):
    """A second daemon on the same port runs, without metrics."""
    second = MetricsServer(Metrics(enabled=True, port=server.port), metrics)
    second.start()
    assert second.port is None
    second.stop()


def test_it_does_not_listen_unless_asked(metrics):
    """Nothing listens by default."""
    quiet = MetricsServer(Metrics(), metrics)
    quiet.start()
    assert quiet.port is None


def test_the_document_lists_every_metric(metrics):
    """docs/monitoring.md, the alerts and the dashboard know the same metrics as the code."""
    told = {family.name for family in text_string_to_metric_families(metrics.exposition().decode())}
    told = {name for name in told if name.startswith("imageguard_")}
    document = (ROOT / "docs/monitoring.md").read_text()
    listed = {re.sub("_total$", "", name) for name in re.findall(r"^\| `(imageguard_\w+)`", document, re.MULTILINE)}
    assert {re.sub("_total$", "", name) for name in told} == listed
    used = (ROOT / "contrib/prometheus-rules.yaml").read_text() + (ROOT / "contrib/grafana-dashboard.json").read_text()
    for name in set(re.findall(r"\bimageguard_\w+", used)):
        assert re.sub("_(total|bucket|count|sum)$", "", name) in listed, name


def _promtool(*arguments, **kwargs):
    if shutil.which("promtool") is None:
        pytest.skip("promtool (Debian package prometheus) is not installed")
    return subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False, **kwargs)


def test_every_source_verdict_and_reason_is_there_at_0_from_the_start():
    """Prometheus sees no increase in a series that appears with its first burst, and an alert would miss it."""
    told = _samples(DaemonMetrics(sources=["a", "b"]).exposition().decode())
    decisions = {key: value for key, value in told.items() if key[0] == "imageguard_decisions_total"}
    assert decisions == dict.fromkeys(
        [
            ("imageguard_decisions_total", *sorted((reason, source, verdict)))
            for source in ("a", "b")
            for verdict, reason in [("accepted", ""), *(("quarantined", issue) for issue in ISSUES)]
        ],
        0,
    )
    assert told["imageguard_stage_duration_seconds_count", "move"] == 0


def test_promtool_finds_the_alert_rules_valid():
    """The rules load, and fire when and only when they should."""
    for arguments in (("check", "rules", "prometheus-rules.yaml"), ("test", "rules", "prometheus-rules-test.yaml")):
        found = _promtool(*arguments, cwd=ROOT / "contrib")
        assert found.returncode == 0, found.stdout + found.stderr


def test_promtool_finds_names_and_units_as_they_should_be(metrics):
    """Prometheus' own linter has nothing to say about the metrics."""
    found = _promtool("check", "metrics", input=metrics.exposition().decode())
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


def _dashboard():
    return json.loads((ROOT / "contrib/grafana-dashboard.json").read_text())


def test_the_dashboard_is_one():
    """Panels have what Grafana's schema asks of them, a place of their own on its 24 columns, and a query."""
    dashboard = _dashboard()
    assert {"title", "uid", "schemaVersion", "panels", "templating", "time"} <= dashboard.keys()
    variables = {one["name"]: one["type"] for one in dashboard["templating"]["list"]}
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        assert {"id", "type", "title", "gridPos", "targets", "datasource", "fieldConfig", "options"} <= panel.keys()
        assert panel["type"] in {"stat", "timeseries"}
        assert "defaults" in panel["fieldConfig"]
        source = panel["datasource"]
        assert source["type"] == "prometheus"
        assert variables[source["uid"].strip("${}")] == "datasource"
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert max(x for x, _ in cells) < 24
        assert not cells & taken
        taken |= cells
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        used = set(re.findall(r"\$(\w+)", " ".join(target["expr"] for target in panel["targets"])))
        assert used <= {*variables, "__rate_interval", "__interval", "__range"}
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"]) == 14


def test_promtool_can_read_every_query_of_the_dashboard(tmp_path):
    """Each is PromQL; that the metrics it names exist is held against the document above."""
    queries = [target["expr"] for panel in _dashboard()["panels"] for target in panel["targets"]]
    rules = [{"record": f"query:{number}", "expr": query.replace("$", "")} for number, query in enumerate(queries)]
    (tmp_path / "rules.yaml").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    found = _promtool("check", "rules", tmp_path / "rules.yaml")
    assert found.returncode == 0, found.stdout + found.stderr
    assert f"{len(queries)} rules found" in found.stdout
