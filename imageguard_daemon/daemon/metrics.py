"""What monitoring is told: counted where it happens, the rest copied once a second from what the loop knows.

Names and units follow the conventions of Prometheus. No path, class or camera is a label: labels have few values.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import (
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
from imageguard_daemon.core.model import ISSUES, JudgedFile
from imageguard_daemon.core.timestamps import parse_timestamp
from imageguard_daemon.quality.version import SCORER_VERSION, loops_here

disable_created_metrics()  # type: ignore[no-untyped-call]  # half as many lines again, which no query of ours asks for

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_WAIT_BUCKETS = (1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0, 21_600.0, 86_400.0)
_STAGES = ("measure", "record", "move")
UNHEALTHY_SECONDS = 30.0
"""A loop that has not run for so long hangs; it runs every second."""


@dataclass(frozen=True, slots=True)
class SourceVitals:
    """One source at one moment."""

    name: str
    present: bool
    paused: bool
    settling: int
    canary_age_seconds: float | None


@dataclass(frozen=True, slots=True)
class ForwardingVitals:
    """What the forwarder last said: how far behind it is, and how often it failed."""

    records_behind: int
    oldest_behind_at: float | None
    records_sent: int
    odd_records: int
    failures: int
    last_success_at: float | None


def forwarding_vitals(status: Mapping[str, Any] | None) -> ForwardingVitals | None:
    """Take the numbers from a forwarder's status; None where there is none."""
    if status is None:
        return None
    oldest, success = (_seconds(status[name]) for name in ("oldest_behind_at", "last_success_at"))
    sent, odd, failures = (int(status[name]) for name in ("records_sent", "odd_records", "failures"))
    return ForwardingVitals(status["records_behind"], oldest, sent, odd, failures, success)


def _seconds(text: str) -> float | None:
    return parse_timestamp(text).timestamp() if text else None


@dataclass(frozen=True, slots=True)
class Vitals:
    """The daemon at one moment; never changed, so that any thread may read it.

    `at` is the wall clock in seconds since 1970, `oldest_arrived_at` that of the file that has waited longest.
    """

    at: float
    state: str
    makes_progress: bool
    backlog: int
    in_work: int
    oldest_arrived_at: float | None
    set_aside: int
    given_up: int
    retries: int
    worker_mishaps: int
    pools_lost: int
    sources: tuple[SourceVitals, ...]
    forwarding: ForwardingVitals | None = None
    findings: Mapping[str, int] = field(default_factory=dict)
    """How many there were of each kind at the last look."""
    findings_at: float | None = None
    pages_up: bool | None = None
    """None where the daemon brings no pages along."""
    configuration_refused: bool = False


class Meters:
    """All numbers of one daemon. The loop counts and publishes; other threads only read."""

    def __init__(self, scorer_version: str = SCORER_VERSION, sources: Iterable[str] = ()) -> None:
        self._build = {"version": __version__, "scorer_version": scorer_version, "code": loops_here()}
        self.registry = CollectorRegistry(auto_describe=True)
        self.vitals: Vitals | None = None
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
        """Give the numbers of the last moment published; `prometheus_client` asks, from any thread."""
        yield InfoMetricFamily("imageguard_build", "Versions, and which code takes the features.", self._build)
        if self.vitals is not None:
            yield from _gauges(self.vitals)
            yield from _source_gauges(self.vitals)
            if self.vitals.forwarding is not None:
                yield from _forwarding_metrics(self.vitals.forwarding)
            yield from _finding_metrics(self.vitals)

    def exposition(self) -> bytes:
        """Give everything in the text format of Prometheus."""
        return generate_latest(self.registry)

    def illness(self, now: float) -> str:
        """Say why the daemon is not alive and well; empty when it is. `now` is the wall clock."""
        if self.vitals is None:
            return "has not begun"
        if now - self.vitals.at > UNHEALTHY_SECONDS:
            return f"the loop has not run for {now - self.vitals.at:.0f} s"
        return "" if self.vitals.makes_progress else "no image has finished for a long time"

    def hindrance(self, now: float) -> str:
        """Say why images that arrive now would not be judged; empty when they would."""
        if self.vitals is None or self.illness(now):
            return self.illness(now)
        if self.vitals.state != "watching":
            return self.vitals.state
        lost = [f"source {one.name}: its inbox is gone" for one in self.vitals.sources if not one.present]
        paused = [f"source {one.name}: paused" for one in self.vitals.sources if one.paused]
        return "; ".join(lost + paused)


def _gauges(vitals: Vitals) -> Iterator[Metric]:
    oldest = vitals.oldest_arrived_at
    waited = max(0.0, time.time() - oldest) if oldest is not None else 0.0
    for name, told, value in (
        ("backlog_files", "Files that have settled and wait for their verdict or are in work.", vitals.backlog),
        ("in_work_files", "Files that are with the workers.", vitals.in_work),
        ("oldest_waiting_seconds", "How long ago the file that has waited longest arrived; 0 for none.", waited),
        ("set_aside_files", "Files left in the inbox that will be tried again.", vitals.set_aside),
        ("given_up_files", "Files left in the inbox after the last attempt; they need a person.", vitals.given_up),
        (
            "configuration_refused",
            "1 while the configuration has mistakes, found by a reload: the next start would fail.",
            vitals.configuration_refused,
        ),
        ("last_step_timestamp_seconds", "When the loop last ran, in seconds since 1970.", vitals.at),
    ):
        yield GaugeMetricFamily(f"imageguard_{name}", told, value)
    for name, told, value in (
        ("retries", "Times a file that had been set aside was looked at again.", vitals.retries),
        ("worker_restarts", "Worker processes ended by an image and replaced.", vitals.worker_mishaps),
        ("worker_pool_restarts", "Times all worker processes were replaced.", vitals.pools_lost),
    ):
        yield CounterMetricFamily(f"imageguard_{name}", told, value)


def _source_gauges(vitals: Vitals) -> Iterator[Metric]:
    paused = GaugeMetricFamily("imageguard_source_paused", "1 while a source is paused.", labels=["source"])
    present = GaugeMetricFamily("imageguard_source_inbox_present", "1 while the inbox is there.", labels=["source"])
    settling = GaugeMetricFamily("imageguard_source_settling_files", "Files not quiet long enough.", labels=["source"])
    canary = GaugeMetricFamily(
        "imageguard_source_canary_age_seconds", "Time since an event last proved that events arrive.", labels=["source"]
    )
    for one in vitals.sources:
        paused.add_metric([one.name], float(one.paused))
        present.add_metric([one.name], float(one.present))
        settling.add_metric([one.name], one.settling)
        if one.canary_age_seconds is not None:
            canary.add_metric([one.name], one.canary_age_seconds)
    yield from (paused, present, settling, canary)


def _finding_metrics(vitals: Vitals) -> Iterator[Metric]:
    if vitals.pages_up is not None:
        yield GaugeMetricFamily("imageguard_pages_up", "1 while the process with the pages runs.", vitals.pages_up)
    if vitals.findings_at is None:
        return
    findings = GaugeMetricFamily("imageguard_findings", "Findings at the last look, by kind.", labels=["kind"])
    for kind, number in vitals.findings.items():
        findings.add_metric([kind], number)
    yield findings
    told = "When findings were last looked for, in seconds since 1970."
    yield GaugeMetricFamily("imageguard_findings_look_timestamp_seconds", told, vitals.findings_at)


def _forwarding_metrics(vitals: ForwardingVitals) -> Iterator[Metric]:
    oldest = vitals.oldest_behind_at
    waited = max(0.0, time.time() - oldest) if oldest is not None else 0.0
    for name, told, value in (
        ("behind_records", "Records that the fleet's database does not have yet.", vitals.records_behind),
        ("behind_seconds", "How long ago the oldest of those was recorded; 0 for none.", waited),
        ("last_success_timestamp_seconds", "When the database last answered well.", vitals.last_success_at or 0.0),
    ):
        yield GaugeMetricFamily(f"imageguard_forward_{name}", told, value)
    for name, told, value in (
        ("records", "Records that were sent since the forwarder's start.", vitals.records_sent),
        ("odd_records", "Records among them that are kept in another form.", vitals.odd_records),
        ("failures", "Attempts that failed since the forwarder's start.", vitals.failures),
    ):
        yield CounterMetricFamily(f"imageguard_forward_{name}", told, value)
