"""A folder moved into accepted and quarantine by the daemon itself, once: its intents, proofs, log and recovery."""

from collections.abc import Iterator
from pathlib import Path

from imageguard_daemon.audit.listing import decision_rows, last_decision
from imageguard_daemon.audit.opening import open_log
from imageguard_daemon.config import Settings, Source
from imageguard_daemon.config_file import folder_conflicts
from imageguard_daemon.core.errors import UsageError
from imageguard_daemon.daemon.lifecycle import Daemon
from imageguard_daemon.daemon.status_line import StatusLine
from imageguard_daemon.quality.readout import Readout

SOURCE = Source().name
"""That of a root without a configuration, by which all commands work on what was moved."""


def settings_for_move(settings: Settings, source: Source, folder: Path, destination: Path) -> Settings:
    """Give the settings of a daemon whose inbox is the folder, and whose root the destination.

    Raises:
        UsageError: one of the folders would lie in another.
    """
    fields = {"name": SOURCE, "inbox": folder, "accepted": Path("accepted"), "quarantine": Path("quarantine")}
    # Only what judging and filing need: a daemon that runs by the same file keeps its ports and its log for itself.
    kept = {name: getattr(settings, name) for name in ("intake", "scoring", "filing", "reporting", "service")}
    made = Settings(root=destination, sources=(source.model_copy(update=fields),), **kept).anchored(Path.cwd())
    anchored = made.sources[0].model_copy(update={"inbox": folder.absolute()})
    made = made.model_copy(update={"sources": (anchored,)})
    if conflicts := folder_conflicts(made):
        told = conflicts[0].replace("sources[0].inbox", "FOLDER").replace("sources[0].", "--move ")
        raise UsageError(told)
    return made


class Move:
    """One run of the daemon over a folder, by a readout that was read already, and what it has recorded."""

    def __init__(self, settings: Settings, status_line: StatusLine, readout: Readout | None) -> None:
        self._settings = settings
        self._database = settings.audit.database
        self._daemon = Daemon(settings, lambda: settings, status_line, readout=readout)
        self._last_before = self._last()

    @property
    def was_interrupted(self) -> bool:
        """Whether a stop signal ended it before all was handled."""
        return self._daemon.was_told_to_stop

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
