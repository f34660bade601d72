"""The loop: one thread that lets every part do its next step and waits for whatever comes first."""

import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog

from imageguard_daemon.config import Settings
from imageguard_daemon.core import logs
from imageguard_daemon.core.errors import ImageguardError
from imageguard_daemon.core.locks import ActingLock, DaemonLocks, told_taken
from imageguard_daemon.core.model import JudgedFile
from imageguard_daemon.core.names import printable
from imageguard_daemon.core.systemd import notify
from imageguard_daemon.core.wakeup import Waker
from imageguard_daemon.daemon import setup_folders, status
from imageguard_daemon.daemon.alerting import Alerting
from imageguard_daemon.daemon.forwarder_process import ForwarderProcess
from imageguard_daemon.daemon.image_log import ImageLines
from imageguard_daemon.daemon.metrics import DaemonMetrics
from imageguard_daemon.daemon.metrics_server import MetricsServer
from imageguard_daemon.daemon.page_process import PageProcess
from imageguard_daemon.daemon.pipeline import Pipeline, Stages
from imageguard_daemon.daemon.recovery import LeftOpen, Recovery
from imageguard_daemon.daemon.rules.totals import Totals
from imageguard_daemon.daemon.snapshot import (
    FAILURES_SHOWN,
    LEFT_OPEN_SHOWN,
    FailedFile,
    Snapshot,
    SourceSnapshot,
    summary,
)
from imageguard_daemon.daemon.sources import ServedSource, remove_emptied_folders
from imageguard_daemon.daemon.stall_watch import Touching
from imageguard_daemon.daemon.status_line import StatusLine
from imageguard_daemon.daemon.stop_signals import StopSignals
from imageguard_daemon.intake.inbox import SECONDS_PER_STEP, Inbox
from imageguard_daemon.intake.rules.backlog import Backlog, Failure
from imageguard_daemon.quality.readout import Readout, scorer_of
from imageguard_daemon.quality.version import loops_here
from imageguard_daemon.sandbox import confinement
from imageguard_daemon.sandbox.workers import Workers

REPORT_SECONDS = 1.0
"""How often status file, metrics, status line and systemd are brought up to date."""
REVIEW_SECONDS = 15.0
"""How often files left behind are looked at: whether they went, or changed without an event."""
STUCK_AFTER_TIMEOUTS = 4
"""When nothing at all finished for so many time limits of one image, systemd is no longer told that all is well."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a daemon has made and taken hold of before it serves."""

    signals: StopSignals
    waker: Waker
    pages: PageProcess
    locks: DaemonLocks
    touching: Touching
    readout: Readout | None = None


class Serving:
    """All parts of a running daemon, put together. One thread only; nothing else touches their state."""

    def __init__(self, settings: Settings, recovery: Recovery, surroundings: Surroundings) -> None:
        self._touching = touching = surroundings.touching
        self._settings = settings
        self._pages, self._locks = surroundings.pages, surroundings.locks
        self._signals = surroundings.signals
        self._waker = waker = surroundings.waker
        self._totals = Totals()
        room = max(settings.intake.backlog_limit, len(settings.sources))  # or no source would have a share of it
        self._backlog = Backlog(room, settings.filing.max_attempts)
        checks = settings.intake.checksums
        self._workers = Workers(settings.scoring, waker.wake, checks=checks, readout=surroundings.readout)
        self._sources = {
            source.name: ServedSource(source, Inbox(source, settings.intake, self._backlog, waker.wake))
            for source in settings.sources
        }
        self._metrics = DaemonMetrics(self._workers.scorer_version, self._sources)
        self._image_lines = ImageLines(settings.logging)
        self._metrics_server = MetricsServer(settings.metrics, self._metrics)
        self._recovery = recovery
        lock = ActingLock(settings.state_folder)
        around = (lock, touching.of, self._remove_emptied)
        stages = Stages(self._backlog, self._workers, recovery, self._metrics, *around)
        self._pipeline = Pipeline(
            self._sources,
            stages,
            self._on_filed,
            settings.filing.group_seconds,
            settings.intake.settle_unknown_seconds,
        )
        self._alerting = Alerting(settings, recovery.audit, waker.wake)
        self._forwarding = ForwarderProcess(settings)
        self._started_at = datetime.now(UTC)
        self._state = "watching"
        self._confinement_lacks = tuple(confinement.lacking())
        self._log_unsafe_because = setup_folders.why_log_is_unsafe(settings)
        self._configuration_refused = ""
        self._next_report_at = 0.0
        self._next_review_at = 0.0
        self._to_review: deque[Failure] = deque()
        self._last_progress_at = 0.0

    def run(self, reload: Callable[[], Settings], status_line: StatusLine, *, once: bool) -> int:
        """Serve, then stop in order; give the exit code."""
        measured_by = {"scorer": self._workers.scorer_version, "code": loops_here()}
        inboxes = ", ".join(str(source.inbox) for source in self._settings.sources)
        log.info("started", root=str(self._settings.root), inbox=inboxes, process_id=os.getpid(), **measured_by)
        self._workers.tell_plan()
        if self._confinement_lacks:
            log.warning("image decoders are not fully confined", lacking=", ".join(self._confinement_lacks))
        self._pipeline.probe_destinations(time.monotonic())
        self._step(status_line)
        self._metrics_server.start()
        notify(READY=1, STATUS="watching")
        while not (self._signals.should_exit or (once and self._nothing_to_do())):
            self._waker.wait(self._seconds_to_wait())
            if self._signals.should_reload:
                self._signals.should_reload = False
                self._apply_new_settings(reload)
            self._step(status_line)
        came_back = self._pipeline.keep_nothing() if once else 0
        left = self._left() if once else {}
        if came_back:
            left["came back"] = f"{came_back} files were written to after they had been filed as copies"
        self._drain()
        if once and (lacking := self._forward_the_rest()):
            left["not forwarded"] = lacking
        for what, how in left.items():
            log.warning("not all is done", what=what, how=how)
        return os.EX_TEMPFAIL if left else os.EX_OK

    def release(self) -> None:
        """End everything that was started; what is unfinished is in the inbox or in the log."""
        self._metrics_server.stop()
        self._pages.stop()
        for source in self._sources.values():
            source.inbox.stop()
        self._workers.stop()
        self._alerting.stop()
        self._forwarding.stop()
        self._state = "stopped"
        status.write(self._snapshot(time.monotonic()), self._settings.state_folder)

    def _step(self, status_line: StatusLine) -> None:
        now = time.monotonic()
        self._retry(now)
        self._review_failures()
        if now >= self._next_review_at:
            self._next_review_at = now + REVIEW_SECONDS
            self._to_review = self._to_review or deque(self._backlog.failures)
            self._pipeline.settle_again(now)
        room = self._backlog.room // len(self._sources)
        for name, source in self._sources.items():
            with self._touching.of(name, str(source.settings.inbox)):
                self._require_inbox(source, now)
                for candidate in source.inbox.step(now, source.room(room, now)):
                    self._backlog.offer(candidate)
        self._pipeline.step(now)
        self._alerting.step(now)
        self._forwarding.step(now)
        if now >= self._next_report_at:
            self._next_report_at = now + REPORT_SECONDS
            self._pages.step(now)
            self._locks.keep()
            self._recovery.audit.require_same_files()
            self._report(status_line, now)

    def _require_inbox(self, source: ServedSource, now: float) -> None:
        """Take nothing from an inbox that was recreated and locked by a daemon of another root meanwhile."""
        if not source.is_paused(now) and not self._locks.holds(source.settings.inbox):
            source.pause(told_taken(source.settings.inbox), now)

    def _retry(self, now: float) -> None:
        until = time.monotonic() + SECONDS_PER_STEP
        for candidate in self._backlog.take_retries(now):
            source = self._sources[candidate.source]
            with self._touching.of(candidate.source, str(source.settings.inbox)):
                source.inbox.look_again_at(candidate, now)
            if time.monotonic() >= until:
                return  # the others are as due at the next step

    def _review_failures(self) -> None:
        until = time.monotonic() + SECONDS_PER_STEP
        while self._to_review:
            failure = self._to_review.popleft()
            source = self._sources[failure.candidate.source]
            if source.inbox.present and self._backlog.still_waits(failure):
                with self._touching.of(source.settings.name, str(source.settings.inbox)):
                    source.inbox.review(failure.candidate)
                if time.monotonic() >= until:
                    return  # on a slow disk the rest is for the next steps

    def _seconds_to_wait(self) -> float:
        now = time.monotonic()
        room = self._backlog.room // len(self._sources)
        times = [self._next_report_at, self._alerting.next_step(now)]
        for source in self._sources.values():
            probe_at = source.next_probe()
            times.append(source.inbox.next_step(now, source.room(room, now)))
            if probe_at is not None and probe_at > now:
                times.append(probe_at)
        times += [at for at in (self._backlog.next_retry(), self._pipeline.next_step()) if at is not None]
        return max(0.0, min(times) - now)

    def _nothing_to_do(self) -> bool:
        if self._backlog.held or self._pipeline.busy or self._pipeline.doubts(time.monotonic()):
            return False
        return all(
            source.inbox.exhausted or source.paused_because or not source.inbox.present
            for source in self._sources.values()
        )

    def _left(self) -> dict[str, str]:
        """Say what stays in the inboxes, by what keeps it there."""
        sources = self._sources.values()
        failed, unfinished = len(self._failures_to_show()), len(self._recovery.left_open)
        settling = sum(source.inbox.settling_now() for source in sources)
        unreadable = sum(source.inbox.unreadable for source in sources)
        left = {
            "failed": f"{failed} files are left in the inbox: see `status`" if failed else "",
            "unreadable": f"{unreadable} folders cannot be read, or not to their end" if unreadable else "",
            "unfinished": f"{unfinished} moves of an earlier run" if unfinished else "",
            "still changing": f"{settling} files are being written, changed or have just come" if settling else "",
            "paused": "; ".join(source.paused_because for source in sources if source.paused_because),
            "gone": "; ".join(str(source.settings.inbox) for source in sources if not source.inbox.present),
        }
        return {what: how for what, how in left.items() if how}

    def _forward_the_rest(self) -> str:
        """Wait until all that was recorded has reached the fleet's database, or will not; say what has not."""
        while not self._signals.should_exit and self._forwarding.is_at_work(time.monotonic()):
            notify(WATCHDOG=1, STATUS="forwarding what was recorded")
            self._waker.wait(0.2)
        self._forwarding.stop()  # sends what was recorded since it last looked
        return self._forwarding.missing()

    def _apply_new_settings(self, reload: Callable[[], Settings]) -> None:
        """Take over what can change while running; a configuration with mistakes changes nothing."""
        try:
            fresh = reload()
            scorer_version = scorer_of(fresh.scoring.readout)
        except ImageguardError as error:
            log.error("configuration not reloaded", why=str(error))  # noqa: TRY400 - the mistake is the user's
            self._configuration_refused = " ".join(str(error).split())
            return
        self._configuration_refused = ""
        for settings in fresh.sources:
            if settings.name in self._sources:
                self._sources[settings.name].apply(settings)
        logs.set_level(fresh.logging.level)
        self._image_lines.apply(fresh.logging)
        self._backlog.give_all_another_chance()
        self._pages.give_another_chance()
        for source in self._sources.values():
            source.inbox.walk_soon()
        changed = self._settings.needing_restart(fresh)
        if scorer_version != self._workers.scorer_version:  # the same name may have another content
            changed.append(f"scoring.readout ({scorer_version} in place of {self._workers.scorer_version})")
        if changed:
            log.warning("some changes need a restart", settings=", ".join(changed))
        log.info("configuration reloaded")

    def _drain(self) -> None:
        """Stop in the order of the flow, so that no stage is given anything more once it has been emptied."""
        self._state = "stopping"
        self._metrics.snapshot = self._snapshot(time.monotonic())
        notify(STOPPING=1, STATUS="finishing images in work")
        # Nobody waits for the pages; they finish their answers meanwhile.
        self._pages.ask_to_stop()
        # 1. Nothing new: what no worker has begun stays in the inbox, where the next start finds it.
        for source in self._sources.values():
            source.inbox.stop()
        # 2. What the workers have is finished and filed, for a bounded time.
        self._workers.begin_nothing_more()
        deadline = time.monotonic() + self._settings.service.drain_seconds
        while self._pipeline.busy and not self._signals.should_exit_at_once:
            now = time.monotonic()
            if now >= deadline:
                log.warning("stopped waiting for images in work; they stay in the inbox")
                break
            self._pipeline.file_finished(now)
            notify(WATCHDOG=1)
            self._waker.wait(min(0.2, deadline - now))
        # 3. Outcomes that the log would not take are found again by the next start's recovery.
        log.info(
            "stopped",
            accepted=self._totals.verdicts["accepted"],
            quarantined=self._totals.verdicts["quarantined"],
            waiting=self._backlog.held,
            settling=sum(source.inbox.settling for source in self._sources.values()),
            failed=len(self._backlog.failures),
        )

    def _on_filed(self, file: JudgedFile) -> None:
        now = time.monotonic()
        decision, image = file.decision, file.intents[0]
        self._last_progress_at = now
        self._totals.count(decision.verdict, decision.reason, now)
        self._metrics.count(file)
        self._remove_emptied(os.path.dirname(image.source_path))
        self._image_lines.tell(file, now)

    def _remove_emptied(self, folder: str) -> None:
        if self._settings.filing.remove_empty_folders:
            for source in self._sources.values():
                remove_emptied_folders(folder, str(source.settings.inbox))

    def _report(self, status_line: StatusLine, now: float) -> None:
        snapshot = self._metrics.snapshot = self._snapshot(now)
        status.write(snapshot, self._settings.state_folder)
        status_line.show(snapshot)
        alive = {"WATCHDOG": 1} if snapshot.makes_progress else {}
        notify(**alive, STATUS=summary(snapshot))

    def _failures_to_show(self) -> list[Failure]:
        """Leave out labels that wait for their image, which `status` finds in the inbox; given-up files come first."""
        shown = [f for f in self._backlog.failures if f.attempts or f.candidate.role == "image"]
        return sorted(shown, key=lambda failure: failure.retry_at is not None)[:FAILURES_SHOWN]

    def _makes_progress(self, now: float) -> bool:
        if not self._workers.in_work:
            self._last_progress_at = now
        patience = STUCK_AFTER_TIMEOUTS * self._settings.scoring.timeout_seconds
        return now - self._last_progress_at < patience

    def _snapshot(self, now: float) -> Snapshot:
        oldest, found = self._backlog.oldest, self._alerting.found
        failures = self._backlog.failures
        return Snapshot(
            at=time.time(),
            process_id=os.getpid(),
            state=self._state,
            started_at=self._started_at.isoformat(timespec="seconds"),
            scorer_version=self._workers.scorer_version,
            code=loops_here(),
            confinement_lacks=self._confinement_lacks,
            log_unsafe_because=self._log_unsafe_because,
            configuration_refused=self._configuration_refused,
            accepted=self._totals.verdicts["accepted"],
            quarantined=self._totals.verdicts["quarantined"],
            reasons=dict(self._totals.reasons),
            images_per_second=round(self._totals.images_per_second(now), 2),
            backlog=self._backlog.held,
            oldest_arrived_at=oldest.settled.ctime_ns / 1e9 if oldest and oldest.settled else None,
            set_aside=sum(failure.retry_at is not None for failure in failures),
            given_up=sum(failure.retry_at is None for failure in failures),
            retries=self._backlog.retries,
            sources=tuple(_source_snapshot(source, now) for source in self._sources.values()),
            failures=tuple(_failed_file(failure, now) for failure in self._failures_to_show()),
            in_work=self._workers.in_work,
            worker_failures=self._workers.mishaps,
            pools_lost=self._workers.pools_replaced,
            makes_progress=self._makes_progress(now),
            left_open=len(self._recovery.left_open),
            left_open_examples=tuple(map(_left_open_text, self._recovery.left_open[:LEFT_OPEN_SHOWN])),
            findings=found.kinds if found else {},
            findings_at=found.at if found else None,
            forwarding=self._forwarding.status(),
            pages_up=self._pages.is_up,
        )


def _left_open_text(left_open: LeftOpen) -> str:
    return f"{printable(left_open.recorded.intent.source_path)}: {left_open.why}"


def _source_snapshot(source: ServedSource, now: float) -> SourceSnapshot:
    settings, inbox = source.settings, source.inbox
    seen_at = inbox.canary_seen_at
    return SourceSnapshot(
        settings.name,
        str(settings.inbox),
        inbox.present,
        inbox.settling,
        source.paused_because,
        _wall_clock(source.next_probe(), now),
        inbox.writers_unknown,
        inbox.skipped,
        canary_age_seconds=None if seen_at is None else now - seen_at,
    )


def _failed_file(failure: Failure, now: float) -> FailedFile:
    candidate, given_up = failure.candidate, failure.retry_at is None
    path, next_at = printable(candidate.relative_path), _wall_clock(failure.retry_at, now)
    return FailedFile(candidate.source, path, failure.attempts, given_up, failure.error, next_at)


def _wall_clock(moment: float | None, now: float) -> str:
    """Say in the time of the day when a moment of the monotonic clock is; empty for none."""
    if moment is None:
        return ""
    return (datetime.now(UTC) + timedelta(seconds=max(0.0, moment - now))).isoformat(timespec="seconds")
