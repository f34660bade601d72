"""A folder moved into accepted and quarantine by the daemon itself, once: its intents, proofs, log and recovery.

The results are written from what the audit log has of it.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from rich.console import Console

from imageguard_daemon.audit.opening import open_log
from imageguard_daemon.audit.queries import decision_rows, last_decision
from imageguard_daemon.batch.folder_scan import FolderRun
from imageguard_daemon.batch.judging import row_of_record
from imageguard_daemon.batch.measuring import ImagesOfFolder, Unread
from imageguard_daemon.batch.running import InterruptedRunError, Interrupts, Result, RunProgress
from imageguard_daemon.batch.scan_summary import Summary
from imageguard_daemon.config import Settings, Source
from imageguard_daemon.config_file import folder_conflicts
from imageguard_daemon.core.errors import UsageError
from imageguard_daemon.core.names import printable
from imageguard_daemon.daemon.main_loop import Daemon
from imageguard_daemon.daemon.parts import Snapshot
from imageguard_daemon.daemon.status import StatusLine
from imageguard_daemon.quality.readout import Readout, scorer_by

SOURCE = Source().name
"""That of a root without a configuration, by which all commands work on what was moved."""


def settings_for_move(settings: Settings, source: Source, folder: Path, destination: Path) -> Settings:
    """Give the settings of a daemon whose inbox is the folder, and whose root the destination.

    Raises:
        UsageError: one of the folders would lie in another.
    """
    fields = {"name": SOURCE, "inbox": folder, "accepted": Path("accepted"), "quarantine": Path("quarantine")}
    # Only what judging and filing need: a daemon that runs by the same file keeps its ports and its log for itself.
    sections = {name: getattr(settings, name) for name in ("intake", "scoring", "filing", "reporting", "service")}
    own_source = source.model_copy(update=fields)
    own = Settings(root=destination, sources=(own_source,), **sections).anchored(Path.cwd())
    # Paths of a source begin at the root, but that of FOLDER where the command was typed.
    anchored = own.sources[0].model_copy(update={"inbox": folder.absolute()})
    own = own.model_copy(update={"sources": (anchored,)})
    if conflicts := folder_conflicts(own):
        raise UsageError(conflicts[0].replace("sources[0].inbox", "FOLDER").replace("sources[0].", "--move "))
    return own


class Move:
    """One run of the daemon over a folder, by a readout that was read already, and what it has recorded."""

    def __init__(self, settings: Settings, display: StatusLine, readout: Readout | None) -> None:
        self._settings = settings
        self._database = settings.audit.database
        self._daemon = Daemon(settings, lambda: settings, display, readout=readout)
        self._last_before = self._last()

    @property
    def stopped_by(self) -> int:
        """The stop signal that ended it before all was handled, if one has."""
        return self._daemon.stopped_by

    def run(self) -> int:
        """Judge and move what is there; gives the daemon's exit code: 75 when files were left behind."""
        return self._daemon.run(once=True)

    def rows(self) -> Iterator[dict[str, object]]:
        """Yield what this run recorded, oldest first, by the columns of the view `decisions`."""
        if not self._database.exists():
            return
        with open_log(self._database) as log:
            yield from decision_rows(log, after_id=self._last_before)

    def _last(self) -> int:
        if not self._database.exists():
            return 0
        with open_log(self._database) as log:
            return last_decision(log)


class FolderMove(FolderRun):
    """Moves all images of a folder; a stop signal finishes what is in work."""

    _exit_code = 0

    def open(self, stack: ExitStack) -> None:
        """Open the outputs; what is not finished at the end is taken away.

        Raises:
            UsageError: one of the folders would lie in another.
        """
        request = self._request
        if request.move is None:
            raise UsageError("there is nowhere to move to")
        self._settings = settings_for_move(request.settings, request.source, request.folder, request.move)
        self._open_outputs(stack, request.outputs)

    def run(self, interrupts: Interrupts, progress: RunProgress) -> None:
        """Have the daemon file what is there: it has its own handlers of stop signals, as it does more than judge."""
        request = self._request
        move = Move(self._settings, _MoveDisplay(progress), request.readout)
        interrupts.check()  # of a signal that came before the daemon has its handlers
        self._exit_code = move.run()
        for record in move.rows():
            self._write(row_of_record(record, str(request.folder), str(request.move)))
        if move.stopped_by:
            raise InterruptedRunError(move.stopped_by)

    def result(self, exit_code: int) -> Result:
        """Give what has come of it by now."""
        left, unread = self._what_remains()
        are_left_behind = self._exit_code and not exit_code
        self._exit_code = exit_code or self._exit_code
        return Result(
            self._summary_with(left, unread),
            Unread() if exit_code else unread,
            self._exit_code,
            f"; moved to {printable(str(self._request.move))}",
            ": files were left behind" if are_left_behind else "",
            self._request.uses_standard_output,
            is_interrupted=bool(exit_code),
        )

    def _summary(self) -> Summary:
        return self._summary_with(*self._what_remains())

    def _summary_with(self, left: Mapping[str, int], unread: Unread) -> Summary:
        scorer_version = ", ".join(self._totals.scorer_versions) or scorer_by(self._request.readout)
        return self._summary_of(left, unread, scorer_version, is_complete=not self._exit_code)

    def _what_remains(self) -> tuple[Mapping[str, int], Unread]:
        """Count what is still in the folder: what is never moved by reason, and images that were not."""
        unreadable: list[str] = []
        images = ImagesOfFolder(str(self._request.folder), self._selection, (), unreadable.append)
        remaining = {"still in the folder": sum(1 for _ in images), "folder that cannot be read": len(unreadable)}
        return images.left, Unread(Counter({why: count for why, count in remaining.items() if count}))


class _MoveDisplay(StatusLine):
    """The daemon's status, shown as that of any run."""

    def __init__(self, progress: RunProgress) -> None:
        super().__init__(Console(quiet=True))
        self._progress = progress

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        """Leave it to the run."""

    def show(self, snapshot: Snapshot) -> None:
        """Show how many are filed by now."""
        self._progress.show(snapshot.accepted + snapshot.quarantined, snapshot.quarantined)
