"""The daemon's life from start to end, and its loop: one thread lets every part step and waits for what comes first."""

import os
import select
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import FrameType

import structlog

from imageguard_daemon.audit.writer import AuditWriter
from imageguard_daemon.config import Settings
from imageguard_daemon.core import logs
from imageguard_daemon.core.errors import ImageguardError, StalledError, UnavailableError
from imageguard_daemon.core.locks import ActingLock, DaemonLocks, require_own, running_process
from imageguard_daemon.core.systemd import StartProgress, notify
from imageguard_daemon.core.timestamps import seconds_timestamp, utc_now
from imageguard_daemon.daemon import setup_folders, status
from imageguard_daemon.daemon.alerting import Alerting
from imageguard_daemon.daemon.filed_images import FiledImages
from imageguard_daemon.daemon.forwarder import ForwarderProcess
from imageguard_daemon.daemon.metrics import DaemonMetrics, MetricsServer
from imageguard_daemon.daemon.moves import Stages
from imageguard_daemon.daemon.page_process import PageProcess
from imageguard_daemon.daemon.parts import Part, Snapshot, summary
from imageguard_daemon.daemon.pipeline import Pipeline, Waits
from imageguard_daemon.daemon.recovery import Recovery
from imageguard_daemon.daemon.sources import Inboxes, ServedSource
from imageguard_daemon.daemon.stall_watch import StallWatch
from imageguard_daemon.daemon.status import StatusLine
from imageguard_daemon.filing import mounts
from imageguard_daemon.intake.inbox import Inbox
from imageguard_daemon.intake.rules.backlog import Backlog
from imageguard_daemon.quality.readout import Readout, configured, scorer_of
from imageguard_daemon.quality.version import loops_here
from imageguard_daemon.sandbox import confinement
from imageguard_daemon.sandbox.workers import Workers

REPORT_SECONDS = 1.0
"""How often status file, metrics, status line and systemd are brought up to date."""
_DRAIN_LOOK_SECONDS = 0.2

log = structlog.get_logger(__name__)


class Waker:
    """Wakes the main loop from any thread or signal handler; waking twice is waking once."""

    def __init__(self) -> None:
        self._descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLIN)

    def wake(self) -> None:
        """End the current or the next wait."""
        os.eventfd_write(self._descriptor, 1)

    def wait(self, seconds: float) -> None:
        """Wait until woken, for at most `seconds`."""
        if self._poll.poll(max(0.0, seconds) * 1000):
            os.eventfd_read(self._descriptor)

    def close(self) -> None:
        """Let go of the descriptor."""
        os.close(self._descriptor)


class StopSignals:
    """Flags that SIGTERM, SIGINT and SIGHUP set; the handlers do nothing else, the loop acts on them."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self.should_exit = False
        self.should_exit_at_once = False
        self.stopped_by = 0
        self.should_reload = False

    def listen(self) -> None:
        """Install the handlers for the whole process."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGHUP, self._on_reload)

    def _on_stop(self, number: int, _frame: FrameType | None) -> None:
        self.stopped_by = self.stopped_by or number
        self.should_exit_at_once = self.should_exit
        self.should_exit = True
        self._wake()

    def _on_reload(self, _number: int, _frame: FrameType | None) -> None:
        self.should_reload = True
        self._wake()


class Guard(Part):
    """Makes sure once a second that what is ours is still ours: the lock of the root, and the files of the log."""

    def __init__(self, locks: DaemonLocks, audit: AuditWriter) -> None:
        self._locks = locks
        self._audit = audit
        self._next_at = 0.0

    def step(self, now: float) -> None:
        """Make the lock known again where its file was removed; end the daemon where the log was."""
        if now >= self._next_at:
            self._next_at = now + REPORT_SECONDS
            self._locks.keep()
            self._audit.require_same_files()

    def next_due(self, now: float) -> float | None:  # noqa: ARG002 - the protocol's
        """Look once a second."""
        return self._next_at


class Reporter(Part):
    """Takes a snapshot once a second and publishes it, in all the ways there are."""

    def __init__(
        self, settings: Settings, metrics: DaemonMetrics, status_line: StatusLine, take: Callable[[float], Snapshot]
    ) -> None:
        self._metrics = metrics
        self._server = MetricsServer(settings.metrics, metrics)
        self._state_folder = settings.state_folder
        self._status_line = status_line
        self._take = take
        self._next_at = 0.0

    def step(self, now: float) -> None:
        """Publish a snapshot when it is time."""
        if now < self._next_at:
            return
        is_first = not self._next_at
        self._next_at = now + REPORT_SECONDS
        self.publish(now)
        if is_first:  # from now on there is something to answer
            self._server.start()

    def publish(self, now: float) -> None:
        """Take a snapshot, and tell whoever asks or watches."""
        snapshot = self._metrics.snapshot = self._take(now)
        status.write(snapshot, self._state_folder)
        self._status_line.show(snapshot)
        watchdog = {"WATCHDOG": 1} if snapshot.makes_progress else {}
        notify(**watchdog, STATUS=summary(snapshot))

    def next_due(self, now: float) -> float | None:  # noqa: ARG002 - the protocol's
        """Report once a second."""
        return self._next_at

    def stop(self) -> None:
        """Answer no more, and leave a last word where `status` looks."""
        self._server.stop()
        status.write(replace(self._take(time.monotonic()), state="stopped"), self._state_folder)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a daemon has made and taken hold of before it serves."""

    signals: StopSignals
    waker: Waker
    pages: PageProcess
    locks: DaemonLocks
    stall_watch: StallWatch
    status_line: StatusLine
    readout: Readout | None = None


class MainLoop:
    """All parts of a running daemon, put together. One thread only; nothing else touches their state."""

    def __init__(self, settings: Settings, recovery: Recovery, surroundings: Surroundings) -> None:
        self._settings = settings
        self._signals, self._waker = surroundings.signals, surroundings.waker
        locks, stall_watch, wake = surroundings.locks, surroundings.stall_watch, surroundings.waker.wake
        capacity = max(settings.intake.backlog_limit, len(settings.sources))  # or no source would have a share of it
        backlog = Backlog(capacity, settings.filing.max_attempts)
        checks = settings.intake.checksums
        workers = Workers(settings.scoring, wake, checks=checks, readout=surroundings.readout)
        sources = {
            source.name: ServedSource(source, Inbox(source, settings.intake, backlog, wake))
            for source in settings.sources
        }
        inboxes = Inboxes(sources, backlog, locks, stall_watch)
        emptied = inboxes.remove_emptied if settings.filing.remove_empty_folders else _nothing_to_remove
        self._metrics = DaemonMetrics(workers.scorer_version, sources)
        filed_images = FiledImages(settings.logging, self._metrics, emptied)
        lock = ActingLock(settings.state_folder)
        stages = Stages(backlog, workers, recovery, self._metrics, lock, stall_watch.touching, emptied)
        self._forwarder = ForwarderProcess(settings)
        # One order to start, step, drain and stop them in; each place in it has its reason:
        self._parts: Sequence[Part] = (
            surroundings.pages,  # asked to stop first: nobody waits for it, it finishes its answers meanwhile
            inboxes,  # before the pipeline: what has settled is in work at once; in the end, nothing new comes in
            Pipeline(sources, stages, filed_images.add, Waits.of(settings)),
            filed_images,
            Alerting(settings, recovery.audit, wake),
            self._forwarder,  # after all that records: the last it sends is what they recorded last
            Guard(locks, recovery.audit),  # before the report: who has lost its log does not say that all is well
            Reporter(settings, self._metrics, surroundings.status_line, self._snapshot),  # what all others came to
        )
        self._scorer_version = workers.scorer_version
        self._own = Snapshot(
            process_id=os.getpid(),
            state="watching",
            started_at=seconds_timestamp(utc_now()),
            scorer_version=self._scorer_version,
            code=loops_here(),
            confinement_lacks=tuple(confinement.lacking()),
            log_unsafe_because=setup_folders.why_log_is_unsafe(settings),
        )

    def run(self, reload: Callable[[], Settings], *, once: bool) -> int:
        """Serve, then stop in order; give the exit code."""
        self._start()
        while not (self._signals.should_exit or (once and not self._working())):
            self._waker.wait(self._seconds_to_wait())
            if self._signals.should_reload:
                self._signals.should_reload = False
                self._apply_new_settings(reload)
            self._step()
        left: dict[str, str] = {}
        if once:  # before they are drained: an inbox that is no longer watched looks like one that is gone
            for part in self._parts:
                left |= part.conclude()
        self._drain()
        if once and (missing := self._forward_the_rest()):
            left["not forwarded"] = missing
        for what, how in left.items():
            log.warning("not all is done", what=what, how=how)
        return os.EX_TEMPFAIL if left else os.EX_OK

    def release(self) -> None:
        """End everything that was started; what is unfinished is in the inbox or in the log."""
        for part in self._parts:
            part.stop()

    def _start(self) -> None:
        measured_by = {"scorer": self._scorer_version, "code": self._own.code}
        inboxes = ", ".join(str(source.inbox) for source in self._settings.sources)
        log.info("started", root=str(self._settings.root), inbox=inboxes, process_id=os.getpid(), **measured_by)
        if self._own.confinement_lacks:
            log.warning("image decoders are not fully confined", lacking=", ".join(self._own.confinement_lacks))
        for part in self._parts:
            part.start()
        self._step()
        notify(READY=1, STATUS="watching")  # after a whole step: what cannot work has shown by now

    def _step(self) -> None:
        now = time.monotonic()
        for part in self._parts:
            part.step(now)

    def _seconds_to_wait(self) -> float:
        now = time.monotonic()
        times = [due for part in self._parts if (due := part.next_due(now)) is not None]
        return max(0.0, min(times) - now)

    def _working(self) -> list[Part]:
        now = time.monotonic()
        return [part for part in self._parts if part.has_work(now)]

    def _snapshot(self, now: float) -> Snapshot:
        snapshot = replace(self._own, at=time.time())
        for part in self._parts:
            snapshot = part.snapshot(snapshot, now)
        return snapshot

    def _forward_the_rest(self) -> str:
        """Wait until all that was recorded has reached the fleet's database, or will not; say what has not."""
        while not self._signals.should_exit and self._forwarder.is_at_work(time.monotonic()):
            notify(WATCHDOG=1, STATUS="forwarding what was recorded")
            self._waker.wait(_DRAIN_LOOK_SECONDS)
        self._forwarder.stop()  # sends what was recorded since it last looked
        return self._forwarder.missing()

    def _apply_new_settings(self, reload: Callable[[], Settings]) -> None:
        """Take over what can change while running; a configuration with mistakes changes nothing."""
        try:
            fresh = reload()
            scorer_version = scorer_of(fresh.scoring.readout)
        except ImageguardError as error:
            log.error("configuration not reloaded", why=str(error))  # noqa: TRY400 - the mistake is the user's
            self._own = replace(self._own, configuration_refused=" ".join(str(error).split()))
            return
        self._own = replace(self._own, configuration_refused="")
        logs.set_level(fresh.logging.level)
        for part in self._parts:
            part.reload(fresh)
        changed = self._settings.needing_restart(fresh)
        if scorer_version != self._scorer_version:  # the same name may have another content
            changed.append(f"scoring.readout ({scorer_version} in place of {self._scorer_version})")
        if changed:
            log.warning("some changes need a restart", settings=", ".join(changed))
        log.info("configuration reloaded")

    def _drain(self) -> None:
        """Stop in the order of the flow, so that no stage is given anything more once it has been emptied."""
        self._own = replace(self._own, state="stopping")
        self._metrics.snapshot = self._snapshot(time.monotonic())  # whoever balances load hears of it first
        notify(STOPPING=1, STATUS="finishing images in work")
        # 1. Nothing new: what no worker has begun stays in the inbox, where the next start finds it.
        for part in self._parts:
            part.drain()
        # 2. What the workers have is finished and filed, for a bounded time.
        deadline = time.monotonic() + self._settings.service.drain_seconds
        while not self._signals.should_exit_at_once and (working := self._working()):
            now = time.monotonic()
            if now >= deadline:
                log.warning("stopped waiting for images in work; they stay in the inbox")
                break
            for part in working:
                part.step(now)
            notify(WATCHDOG=1)
            self._waker.wait(min(_DRAIN_LOOK_SECONDS, deadline - now))
        # 3. Outcomes that the log would not take are found again by the next start's recovery.
        last = self._snapshot(time.monotonic())
        log.info(
            "stopped",
            accepted=last.accepted,
            quarantined=last.quarantined,
            waiting=last.backlog,
            settling=sum(source.settling for source in last.sources),
            failed=last.set_aside + last.given_up,
        )


def _nothing_to_remove(_folder: str) -> None:
    """Leave emptied folders."""


class Daemon:
    """Serves all sources of a configuration until it is told to stop.

    `reload` gives the configuration again; `pages` is the command of the process that shows them, empty for none.
    `readout` is the one that the settings name, where it was read already; else the start reads it, once.
    """

    def __init__(
        self,
        settings: Settings,
        reload: Callable[[], Settings],
        status_line: StatusLine,
        pages: Sequence[str] = (),
        readout: Readout | None = None,
    ) -> None:
        self._settings = settings
        self._readout = readout
        self._reload = reload
        self._status_line = status_line
        self._pages = PageProcess(pages)
        self._stall_watch = StallWatch(settings.state_folder, settings.service.drain_seconds)
        self._waker = Waker()
        self._signals = StopSignals(self._waker.wake)

    @property
    def was_asked_to_stop(self) -> bool:
        """Whether a stop signal has come."""
        return self._signals.should_exit

    @property
    def stopped_by(self) -> int:
        """The number of the first stop signal, 0 while none has come."""
        return self._signals.stopped_by

    def run(self, *, once: bool = False) -> int:
        """Serve until a stop signal, or with `once` until what is there has been handled; give the exit code.

        Raises:
            FatalError: it cannot start, or going on would be wrong.
            StalledError: it cannot start for a reason that may pass.
        """
        require_own(self._settings.state_folder, self._settings.root)
        self._prepare()
        locks = DaemonLocks(self._settings.state_folder, [source.inbox for source in self._settings.sources])
        try:
            code = self._run(locks, once=once)
        except BaseException as error:
            status.write_ending(status.ending_of(error), self._settings.state_folder)
            raise
        else:
            why = "told to stop" if self.was_asked_to_stop else "all was handled" if not code else "not all was handled"
            status.write_ending(status.Ending(os.getpid(), code, why), self._settings.state_folder)
            return code
        finally:
            notify(STOPPING=1)
            self._stall_watch.stop()
            locks.release()

    def _prepare(self) -> None:
        """Make what is missing; a start that ends here is the last end, unless another daemon is at work."""
        try:
            if self._readout is None:  # before anything is made, or moved that an earlier run left
                self._readout = configured(self._settings.scoring.readout)
            setup_folders.prepare(self._settings)
        except ImageguardError as error:
            if running_process(self._settings.state_folder) is None:
                status.write_ending(status.ending_of(error), self._settings.state_folder)
            raise

    def _run(self, locks: DaemonLocks, *, once: bool) -> int:
        self._signals.listen()
        setup_folders.warn_of_missing_log(self._settings)
        setup_folders.warn_of_names_let_through(self._settings)
        self._stall_watch.start()  # from here on a disk that does not answer is named, and a stop signal is heard
        audit = self._open_log()
        try:
            sources = {source.name: source for source in self._settings.sources}
            folders = [str(folder) for source in sources.values() for folder in source.folders]
            with self._stall_watch.touching("", "the folders of all sources, at the start"):
                mounts.require_same_disks(self._settings.state_folder)  # or recovery would call files lost
                with ActingLock(self._settings.state_folder).held_if_free() as is_ours:
                    recovery = Recovery(audit, folders, sources)
                    recovery.begin(audit.unfinished(reviews=is_ours))  # a living command finishes its own
                setup_folders.try_folders(self._settings.sources)
                mounts.remember_disks(self._settings.state_folder, folders)
            return self._serve(recovery, locks, once=once)
        finally:
            audit.close()

    def _open_log(self) -> AuditWriter:
        """Open the log; when it is where no log should be, say so before it shows in stranger ways."""
        unsafe = setup_folders.why_log_is_unsafe(self._settings)
        if unsafe:
            log.error("the log is not on a local disk", why=unsafe)
        start = StartProgress("bringing the audit log up to date")
        try:
            return AuditWriter(self._settings.audit.database, self._settings.root, on_progress=start.progress)
        except (StalledError, UnavailableError) as error:
            if not unsafe:
                raise
            raise type(error)(f"{error}\n{unsafe}") from error

    def _serve(self, recovery: Recovery, locks: DaemonLocks, *, once: bool) -> int:
        held = (self._signals, self._waker, self._pages, locks, self._stall_watch)
        loop = MainLoop(self._settings, recovery, Surroundings(*held, self._status_line, self._readout))
        try:
            with self._status_line:
                return loop.run(self._reload, once=once)
        finally:
            loop.release()
