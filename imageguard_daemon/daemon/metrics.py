"""The metrics: counted where it happens, the rest computed from the snapshot of each second.

Names and units follow the conventions of Prometheus. No path, class or camera is a label: labels have few values.
/metrics, /healthz and /readyz are answered from threads of their own, which read a snapshot and touch nothing else.
"""

import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import structlog
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric

from imageguard_daemon import __version__
from imageguard_daemon.config import Metrics
from imageguard_daemon.core.model import ISSUES, JudgedFile
from imageguard_daemon.daemon.parts import Snapshot, liveness_failure, readiness_failure
from imageguard_daemon.quality.version import SCORER_VERSION, loops_here

disable_created_metrics()  # type: ignore[no-untyped-call]  # half as many lines again, which no query of ours asks for

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_WAIT_BUCKETS = (1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0, 21_600.0, 86_400.0)
_STAGES = ("measure", "record", "move")

REQUESTS_AT_ONCE = 8
_TIMEOUT_SECONDS = 5.0
_PLAIN = "text/plain; charset=utf-8"

log = structlog.get_logger(__name__)

Answer = tuple[int, str, bytes]


class DaemonMetrics:
    """All numbers of one daemon. The loop counts and publishes; other threads only read."""

    def __init__(self, scorer_version: str = SCORER_VERSION, sources: Iterable[str] = ()) -> None:
        self._build = {"version": __version__, "scorer_version": scorer_version, "code": loops_here()}
        self.registry = CollectorRegistry(auto_describe=True)
        self.snapshot: Snapshot | None = None
        ProcessCollector(registry=self.registry)
        self._decisions = Counter(
            "imageguard_decisions",
            "Images judged and moved since the start, by source, verdict and reason.",
            ["source", "verdict", "reason"],
            registry=self.registry,
        )
        self._stages = Histogram(
            "imageguard_stage_duration_seconds",
            "Time for one image (measure) or one group of images (record, move).",
            ["stage"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._waits = Histogram(
            "imageguard_arrival_to_filed_seconds",
            "Time from an image's last change in the inbox to its move, settling included.",
            buckets=_WAIT_BUCKETS,
            registry=self.registry,
        )
        self.registry.register(self)
        self._begin_at_zero(sources)

    def _begin_at_zero(self, sources: Iterable[str]) -> None:
        """Have all series from the start: Prometheus sees no increase in one that appears with its first events."""
        for source in sources:
            self._decisions.labels(source, "accepted", "")
            for reason in ISSUES:
                self._decisions.labels(source, "quarantined", reason)
        for stage in _STAGES:
            self._stages.labels(stage)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Measure how long a stage takes, also when it fails."""
        with self._stages.labels(stage).time():
            yield

    def count(self, file: JudgedFile) -> None:
        """Count an image that has moved."""
        decision, settled = file.decision, file.candidate.settled
        self._decisions.labels(file.candidate.source, decision.verdict, decision.reason).inc()
        self._stages.labels("measure").observe(file.measurement.duration_ms / 1000)
        if settled is not None:
            self._waits.observe(max(0.0, time.time() - settled.ctime_ns / 1e9))

    def collect(self) -> Iterator[Metric]:
        """Give the numbers of the last snapshot; `prometheus_client` asks, from any thread."""
        yield InfoMetricFamily("imageguard_build", "Versions, and which code takes the features.", self._build)
        snapshot = self.snapshot  # once: the loop may publish another one meanwhile
        if snapshot is not None:
            yield from _gauges(snapshot)
            yield from _source_gauges(snapshot)
            if snapshot.forwarding is not None:
                yield from _forwarding_metrics(snapshot.forwarding)
            yield from _finding_metrics(snapshot)

    def exposition(self) -> bytes:
        """Give everything in the text format of Prometheus."""
        return generate_latest(self.registry)


def _gauges(snapshot: Snapshot) -> Iterator[Metric]:
    oldest = snapshot.oldest_arrived_at
    waited = max(0.0, time.time() - oldest) if oldest is not None else 0.0
    for name, text, value in (
        ("backlog_files", "Files that have settled and wait for their verdict or are in work.", snapshot.backlog),
        ("in_work_files", "Files that are with the workers.", snapshot.in_work),
        ("oldest_waiting_seconds", "How long ago the file that has waited longest arrived; 0 for none.", waited),
        ("set_aside_files", "Files left in the inbox that will be tried again.", snapshot.set_aside),
        ("given_up_files", "Files left in the inbox after the last attempt; they need a person.", snapshot.given_up),
        (
            "configuration_refused",
            "1 while the configuration has mistakes, found by a reload: the next start would fail.",
            bool(snapshot.configuration_refused),
        ),
        ("last_step_timestamp_seconds", "When the loop last ran, in seconds since 1970.", snapshot.at),
    ):
        yield GaugeMetricFamily(f"imageguard_{name}", text, value)
    for name, text, value in (
        ("retries", "Times a file that had been set aside was looked at again.", snapshot.retries),
        ("worker_restarts", "Worker processes ended by an image and replaced.", snapshot.worker_failures),
        ("worker_pool_restarts", "Times all worker processes were replaced.", snapshot.pools_lost),
    ):
        yield CounterMetricFamily(f"imageguard_{name}", text, value)


def _source_gauges(snapshot: Snapshot) -> Iterator[Metric]:
    paused = GaugeMetricFamily("imageguard_source_paused", "1 while a source is paused.", labels=["source"])
    present = GaugeMetricFamily("imageguard_source_inbox_present", "1 while the inbox is there.", labels=["source"])
    settling = GaugeMetricFamily("imageguard_source_settling_files", "Files not quiet long enough.", labels=["source"])
    canary = GaugeMetricFamily(
        "imageguard_source_canary_age_seconds", "Time since an event last proved that events arrive.", labels=["source"]
    )
    for source in snapshot.sources:
        paused.add_metric([source.name], float(bool(source.paused_because)))
        present.add_metric([source.name], float(source.present))
        settling.add_metric([source.name], source.settling)
        if source.canary_age_seconds is not None:
            canary.add_metric([source.name], source.canary_age_seconds)
    yield from (paused, present, settling, canary)


def _finding_metrics(snapshot: Snapshot) -> Iterator[Metric]:
    if snapshot.pages_up is not None:
        yield GaugeMetricFamily("imageguard_pages_up", "1 while the process with the pages runs.", snapshot.pages_up)
    if snapshot.findings_at is None:
        return
    findings = GaugeMetricFamily("imageguard_findings", "Findings at the last look, by kind.", labels=["kind"])
    for kind, number in snapshot.findings.items():
        findings.add_metric([kind], number)
    yield findings
    text = "When findings were last looked for, in seconds since 1970."
    yield GaugeMetricFamily("imageguard_findings_look_timestamp_seconds", text, snapshot.findings_at)


def _forwarding_metrics(status: Mapping[str, Any]) -> Iterator[Metric]:
    """Compute them from what the forwarder last wrote of itself."""
    oldest, success = (_seconds(status[name]) for name in ("oldest_behind_at", "last_success_at"))
    waited = max(0.0, time.time() - oldest) if oldest is not None else 0.0
    for name, text, value in (
        ("behind_records", "Records that the fleet's database does not have yet.", status["records_behind"]),
        ("behind_seconds", "How long ago the oldest of those was recorded; 0 for none.", waited),
        ("last_success_timestamp_seconds", "When the database last answered well.", success or 0.0),
    ):
        yield GaugeMetricFamily(f"imageguard_forward_{name}", text, value)
    for name, text, value in (
        ("records", "Records that were sent since the forwarder's start.", status["records_sent"]),
        ("odd_records", "Records among them that are kept in another form.", status["odd_records"]),
        ("failures", "Attempts that failed since the forwarder's start.", status["failures"]),
    ):
        yield CounterMetricFamily(f"imageguard_forward_{name}", text, value)


def _seconds(text: str) -> float | None:
    return datetime.fromisoformat(text).timestamp() if text else None


class MetricsServer:
    """The server of one daemon; an address that cannot be had costs the metrics, never the daemon."""

    def __init__(self, settings: Metrics, metrics: DaemonMetrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int | None:
        """The port it listens on, if it does."""
        return self._server.server_address[1] if self._server else None

    def start(self) -> None:
        """Begin to listen if the settings say so."""
        if not self._settings.enabled:
            return
        address = (self._settings.host, self._settings.port)
        try:
            self._server = _Server(address, _answers(self._metrics))
        except OSError as error:  # the name of the host, the port taken, no permission
            log.error("no metrics", address=f"{address[0]}:{address[1]}", why=error.strerror or str(error))  # noqa: TRY400
            return
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()
        log.info("answers /metrics, /healthz and /readyz", address=f"{address[0]}:{self.port}")

    def stop(self) -> None:
        """Stop listening; what is being answered is not waited for."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            self._server = None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], answers: Mapping[str, Callable[[], Answer]]) -> None:
        self.answers = answers
        self._capacity = threading.BoundedSemaphore(REQUESTS_AT_ONCE)
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Refuse by closing when too many are being answered, so that threads stay few."""
        if self._capacity.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer in a thread, then make room."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._capacity.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the base class's parameters
        """Say nothing of clients that went away or dawdle."""
        log.debug("a request for metrics failed")


class _Handler(BaseHTTPRequestHandler):
    timeout = _TIMEOUT_SECONDS
    server: _Server
    server_version = "imageguard-daemon"
    sys_version = ""

    def do_GET(self) -> None:
        answer = self.server.answers.get(self.path.partition("?")[0])
        status, kind, body = answer() if answer else (404, _PLAIN, b"/metrics, /healthz or /readyz\n")
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Write nothing: a scrape is not news."""


def _answers(metrics: DaemonMetrics) -> dict[str, Callable[[], Answer]]:
    def answer(why_not: str) -> Answer:
        return (503, _PLAIN, f"{why_not}\n".encode()) if why_not else (200, _PLAIN, b"ok\n")

    return {
        "/metrics": lambda: (200, CONTENT_TYPE_LATEST, metrics.exposition()),
        "/healthz": lambda: answer(liveness_failure(metrics.snapshot, time.time())),
        "/readyz": lambda: answer(readiness_failure(metrics.snapshot, time.time())),
    }
