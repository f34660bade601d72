"""Of whose files, and on which file systems, the kernel does not say who is still writing; each is told once."""

import pwd

import structlog

from imageguard_daemon.core.file_systems import FileSystem, Reach
from imageguard_daemon.core.leases import Answer, Writers
from imageguard_daemon.core.names import printable

MAX_REPORTED = 20
"""Of more accounts and file systems it is only told that there are more."""
_MORE = "files of further accounts or file systems"
_SO = (
    "an image that is empty, cut off or unreadable waits for intake.settle_unknown_seconds; uploads are safest when "
    "they are renamed into place once they are complete"
)

log = structlog.get_logger(__name__)


class UnknownWriters:
    """Remembers for one inbox where writers are not known. One thread only."""

    def __init__(self, inbox: str) -> None:
        self._inbox = inbox
        self._told: dict[FileSystem | int, str] = {}

    @property
    def told(self) -> tuple[str, ...]:
        """Say of which files writers are not known, in the order in which that was found."""
        return tuple(dict.fromkeys(self._told.values()))

    def note(self, answer: Answer) -> None:
        """Take in what was answered about a file; only what is new is told."""
        if answer.writers is not Writers.unknown:
            return
        if answer.file_system.reach is Reach.local:
            self._tell(answer.owner_id)
        else:
            self.note_file_system(answer.file_system)

    def note_file_system(self, file_system: FileSystem) -> None:
        """Take in on which file system the inbox is."""
        if file_system.reach is not Reach.local:
            self._tell(file_system)

    def _tell(self, whose: FileSystem | int) -> None:
        if whose in self._told or len(self._told) > MAX_REPORTED:
            return
        told = _MORE if len(self._told) == MAX_REPORTED else _words(whose)
        self._told[whose] = told
        log.warning("who writes to a file is not known here", inbox=printable(self._inbox), of=told, so=_SO)


def _words(whose: FileSystem | int) -> str:
    if isinstance(whose, FileSystem):
        return f"files on {whose.name}"
    try:
        return f"files of account {printable(pwd.getpwuid(whose).pw_name)}"
    except KeyError:
        return f"files of account {whose}"
