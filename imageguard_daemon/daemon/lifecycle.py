"""The daemon's life from start to end."""

import os
from collections.abc import Callable, Sequence

import structlog

from imageguard_daemon.audit.writer import AuditWriter
from imageguard_daemon.config import Settings
from imageguard_daemon.core.errors import ImageguardError, StalledError, UnavailableError
from imageguard_daemon.core.locks import ActingLock, DaemonLocks, require_own, running_process
from imageguard_daemon.core.systemd import StartProgress, notify
from imageguard_daemon.daemon import setup_folders, status
from imageguard_daemon.daemon.main_loop import MainLoop, StopSignals, Surroundings, Waker
from imageguard_daemon.daemon.page_process import PageProcess
from imageguard_daemon.daemon.recovery import Recovery
from imageguard_daemon.daemon.stall_watch import StallWatch
from imageguard_daemon.daemon.status import StatusLine
from imageguard_daemon.filing import mounts
from imageguard_daemon.quality.readout import Readout, configured

log = structlog.get_logger(__name__)


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
