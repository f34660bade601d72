"""The daemon's life: start, loop, stop. The only place that puts all parts together."""

import os
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime
from types import FrameType

import structlog

from imageguard_daemon.audit.writer import AuditWriter
from imageguard_daemon.config import Settings
from imageguard_daemon.errors import ImageguardError
from imageguard_daemon.intake.backlog import Backlog
from imageguard_daemon.intake.inbox import Inbox
from imageguard_daemon.model import JudgedFile
from imageguard_daemon.names import printable
from imageguard_daemon.service import logs, preparation, status
from imageguard_daemon.service.display import Display
from imageguard_daemon.service.locking import RootLock
from imageguard_daemon.service.notifying import notify
from imageguard_daemon.service.pipeline import Pipeline, Stages
from imageguard_daemon.service.progress import Progress
from imageguard_daemon.service.recovery import recover
from imageguard_daemon.service.sources import ServedSource, remove_emptied_folders
from imageguard_daemon.service.waking import Waker
from imageguard_daemon.service.workers import Workers

TELL_SECONDS = 1.0
"""How often status file, status line and systemd are told."""
STUCK_AFTER_TIMEOUTS = 4
"""When nothing at all finished for so many time limits of one image, systemd is no longer told that all is well."""

log = structlog.get_logger(__name__)


class Daemon:
    """Serves all sources of a configuration until it is told to stop.

    Stop signals only set flags; `run` acts on them. `reload` gives the configuration anew on SIGHUP.
    """

    def __init__(self, settings: Settings, reload: Callable[[], Settings], display: Display) -> None:
        self._settings = settings
        self._reload = reload
        self._display = display
        self._waker = Waker()
        self._progress = Progress()
        self._started_at = datetime.now(UTC)
        self._state = "starting"
        self._should_exit = False
        self._should_exit_at_once = False
        self._should_reload = False
        self._next_tell_at = 0.0
        self._last_progress_at = 0.0

    # --- start ----------------------------------------------------------------------------------------------------

    def run(self, *, once: bool = False) -> int:
        """Serve until a stop signal, or with `once` until what is there has been handled; give the exit code.

        Raises:
            FatalError: it cannot start, or going on would be wrong.
            StalledError: it cannot start for a reason that may pass.
        """
        preparation.prepare(self._settings)
        lock = RootLock(self._settings.state_folder)
        try:
            self._handle_signals()
            audit = AuditWriter(self._settings.audit.database, self._settings.root)
            try:
                recover(
                    audit,
                    [f for s in self._settings.sources for f in map(str, (s.inbox, s.accepted, s.quarantine))],
                )
                return self._serve(audit, once=once)
            finally:
                audit.close()
        finally:
            notify(STOPPING=1)
            lock.release()

    def _handle_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop_signal)
        signal.signal(signal.SIGHUP, self._on_reload_signal)

    def _on_stop_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._should_exit_at_once = self._should_exit
        self._should_exit = True
        self._waker.wake()

    def _on_reload_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._should_reload = True
        self._waker.wake()

    def _serve(self, audit: AuditWriter, *, once: bool) -> int:
        settings = self._settings
        self._backlog = Backlog(settings.intake.backlog_limit, settings.filing.max_attempts)
        self._workers = Workers(settings.scoring, self._waker.wake)
        self._sources = {
            source.name: ServedSource(source, Inbox(source, settings.intake, self._backlog, self._waker.wake))
            for source in settings.sources
        }
        stages = Stages(self._backlog, self._workers, audit)
        self._pipeline = Pipeline(self._sources, stages, self._on_filed)
        self._state = "watching"
        log.info("started", root=str(settings.root), process_id=os.getpid())
        try:
            with self._display:
                self._step()
                notify(READY=1, STATUS="watching")
                self._loop(once=once)
                incomplete = once and self._left_something()
                self._drain()
        finally:
            self._release()
        return os.EX_TEMPFAIL if incomplete else os.EX_OK

    # --- loop -----------------------------------------------------------------------------------------------------

    def _loop(self, *, once: bool) -> None:
        while not self._should_exit:
            if self._should_reload:
                self._apply_new_settings()
            self._step()
            if once and self._nothing_to_do():
                return
            self._waker.wait(self._seconds_to_wait())

    def _step(self) -> None:
        now = time.monotonic()
        for candidate in self._backlog.take_retries(now):
            self._sources[candidate.source].inbox.look_again_at(candidate, now)
        room = self._backlog.room // len(self._sources)
        for source in self._sources.values():
            for candidate in source.inbox.step(now, source.room(room, now)):
                self._backlog.offer(candidate)
        self._pipeline.step(now)
        if now >= self._next_tell_at:
            self._next_tell_at = now + TELL_SECONDS
            self._tell(now)

    def _seconds_to_wait(self) -> float:
        now = time.monotonic()
        room = self._backlog.room // len(self._sources)
        times = [self._next_tell_at]
        for source in self._sources.values():
            probe_at = source.next_probe()
            times.append(source.inbox.next_step(now, source.room(room, now)))
            if probe_at is not None and probe_at > now:
                times.append(probe_at)
        retry_at = self._backlog.next_retry()
        if retry_at is not None:
            times.append(retry_at)
        return max(0.0, min(times) - now)

    def _nothing_to_do(self) -> bool:
        if self._backlog.held or self._pipeline.busy:
            return False
        return all(
            source.inbox.exhausted or source.paused_because or not source.inbox.present
            for source in self._sources.values()
        )

    def _left_something(self) -> bool:
        failed = any(failure.attempts for failure in self._backlog.failures)
        return failed or any(s.paused_because or not s.inbox.present for s in self._sources.values())

    def _apply_new_settings(self) -> None:
        """Take over what can change while running; a configuration with mistakes changes nothing."""
        self._should_reload = False
        try:
            fresh = self._reload()
        except ImageguardError as error:
            log.error("configuration not reloaded", why=str(error))  # noqa: TRY400 - the mistake is the user's
            return
        for settings in fresh.sources:
            if settings.name in self._sources:
                self._sources[settings.name].apply(settings)
        logs.set_level(fresh.logging.level)
        self._backlog.give_all_another_chance()
        for source in self._sources.values():
            source.inbox.walk_soon()
        log.info("configuration reloaded")

    # --- stop -----------------------------------------------------------------------------------------------------

    def _drain(self) -> None:
        """Stop in the order of the flow, so that no stage is given anything more once it has been emptied."""
        self._state = "stopping"
        notify(STOPPING=1, STATUS="finishing images in work")
        # 1. Nothing new: what no worker has begun stays in the inbox, where the next start finds it.
        for source in self._sources.values():
            source.inbox.stop()
        # 2. What the workers have is finished and filed, for a bounded time.
        deadline = time.monotonic() + self._settings.service.drain_seconds
        while self._pipeline.busy and not self._should_exit_at_once:
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
            accepted=self._progress.verdicts["accepted"],
            quarantined=self._progress.verdicts["quarantined"],
        )

    def _release(self) -> None:
        for source in self._sources.values():
            source.inbox.stop()
        self._workers.stop()
        self._state = "stopped"
        status.write(self._status(time.monotonic()), self._settings.state_folder)

    # --- tell -----------------------------------------------------------------------------------------------------

    def _on_filed(self, file: JudgedFile) -> None:
        now = time.monotonic()
        decision, image = file.decision, file.intents[0]
        self._last_progress_at = now
        self._progress.count(decision.verdict, decision.reason, now)
        if self._settings.filing.remove_empty_folders:
            inbox = str(self._sources[file.candidate.source].settings.inbox)
            remove_emptied_folders(os.path.dirname(image.source_path), inbox)
        log.info(
            decision.verdict,
            path=printable(file.candidate.relative_path),
            reason=decision.reason,
            detail=printable(decision.detail),
            score=round(decision.score, 3),
            source=file.candidate.source,
            class_name=printable(file.class_name),
            destination=printable(image.destination_path),
            sha256=image.sha256,
            duration_ms=round(file.measurement.duration_ms, 1),
        )

    def _tell(self, now: float) -> None:
        current = self._status(now)
        status.write(current, self._settings.state_folder)
        self._display.show(current)
        summary = f"{current.accepted} accepted, {current.quarantined} quarantined, {current.backlog} waiting"
        if self._makes_progress(now):
            notify(WATCHDOG=1, STATUS=summary)
        else:
            notify(STATUS=f"no image finished for long; {summary}")

    def _makes_progress(self, now: float) -> bool:
        if not self._workers.in_work:
            self._last_progress_at = now
        patience = STUCK_AFTER_TIMEOUTS * self._settings.scoring.timeout_seconds
        return now - self._last_progress_at < patience

    def _status(self, now: float) -> status.Status:
        return status.Status(
            process_id=os.getpid(),
            state=self._state,
            started_at=self._started_at.isoformat(timespec="seconds"),
            updated_at=datetime.now(UTC).isoformat(timespec="seconds"),
            accepted=self._progress.verdicts["accepted"],
            quarantined=self._progress.verdicts["quarantined"],
            reasons=dict(self._progress.reasons),
            images_per_second=round(self._progress.images_per_second(now), 2),
            backlog=self._backlog.held,
            in_work=self._workers.in_work,
            worker_mishaps=self._workers.mishaps,
            sources=tuple(
                status.SourceStatus(name, str(s.settings.inbox), s.inbox.present, s.inbox.settling, s.paused_because)
                for name, s in self._sources.items()
            ),
            failures=tuple(
                status.FailedFile(
                    f.candidate.source,
                    printable(f.candidate.relative_path),
                    f.attempts,
                    f.retry_at is None,
                    f.error,
                )
                for f in self._backlog.failures[: status.FAILURES_SHOWN]
            ),
        )
