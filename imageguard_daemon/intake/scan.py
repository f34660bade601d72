"""What the disk says of an inbox: what a walk meets, how each file is now, what lies beside it, and who writes to it.

The walk is our own: it follows no link, keeps no list, and shrugs at what vanishes meanwhile.
"""

import os
import pwd
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import compress, islice

import structlog

from imageguard_daemon.core.file_systems import FileSystem, Reach
from imageguard_daemon.core.model import FileIdentity
from imageguard_daemon.core.names import printable
from imageguard_daemon.core.regular_files import NOT_ANSWERED, NOT_ASKED, Answer, Writers, ask, is_there
from imageguard_daemon.intake.rules.selection import COMPANIONS, Selection, SkipReason
from imageguard_daemon.intake.rules.stability import Seen

MAX_REPORTED = 20
"""Of more accounts and file systems it is only told that there are more."""
_MORE = "files of further accounts or file systems"
_SO = (
    "an image that is empty, cut off or unreadable waits for intake.settle_unknown_seconds; uploads are safest when "
    "they are renamed into place once they are complete"
)
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class InboxEntry:
    """What is in the inbox and no ordinary folder; `skip_reason` says why it is not a candidate, if it is none.

    Of a folder that cannot be read, `why` has the system's words.
    """

    relative_path: str
    skip_reason: SkipReason | None = None
    why: str = field(default="", compare=False)


def walk(inbox: str, selection: Selection, start: str = "") -> Iterator[InboxEntry]:
    """Yield what lies in the folder `start` below the inbox, and in its sub-folders.

    Streams: memory does not grow with the number of files in a folder, only with the number of folders open or
    still to visit. Entries that appear or vanish during the walk may or may not be seen.
    """
    return (entry for entry in steps(inbox, selection, start) if entry is not None)


def steps(
    inbox: str, selection: Selection, start: str = "", entered: Callable[[], None] = lambda: None
) -> Iterator[InboxEntry | None]:
    """Walk, with None for each look at the disk that finds nothing to tell: so a walk can be left at any time.

    A tree of empty folders takes as long as one that is full. `entered` is told of each folder that is read.
    """
    folders = [start]
    while folders:
        relative_folder = folders.pop()
        try:
            with os.scandir(os.path.join(inbox, relative_folder)) as listing:
                entered()
                yield None
                for entry in listing:
                    relative_path = os.path.join(relative_folder, entry.name)
                    if not entry.is_dir(follow_symlinks=False):
                        yield InboxEntry(relative_path, _skip_reason(entry, selection))
                        continue
                    if not selection.ignores(entry.name):
                        folders.append(relative_path)
                    yield None
        except (FileNotFoundError, NotADirectoryError):
            continue  # gone since it was listed, or while it was read
        except OSError as error:  # forbidden, or its file system went away
            yield InboxEntry(relative_folder, SkipReason.unreadable, error.strerror or str(error))


def _skip_reason(entry: "os.DirEntry[str]", selection: Selection) -> SkipReason | None:
    if selection.ignores(entry.name):
        return selection.skip_reason(entry.name)
    if entry.is_symlink():
        return SkipReason.link
    if not entry.is_file(follow_symlinks=False):
        return SkipReason.special
    return selection.skip_reason(entry.name)


class UnknownWriters:
    """Of whose files, and on which file systems, the kernel does not say who is still writing; each is told once."""

    def __init__(self, inbox: str) -> None:
        self._inbox = inbox
        self._reported: dict[FileSystem | int, str] = {}

    @property
    def descriptions(self) -> tuple[str, ...]:
        """Say of which files writers are not known, in the order in which that was found."""
        return tuple(dict.fromkeys(self._reported.values()))

    def note(self, answer: Answer) -> None:
        """Take in what was answered about a file; only what is new is told."""
        if answer.writers is not Writers.unknown:
            return
        if answer.file_system.reach is Reach.local:
            self._report(answer.owner_id)
        else:
            self.note_file_system(answer.file_system)

    def note_file_system(self, file_system: FileSystem) -> None:
        """Take in on which file system the inbox is."""
        if file_system.reach is not Reach.local:
            self._report(file_system)

    def _report(self, whose: FileSystem | int) -> None:
        if whose in self._reported or len(self._reported) > MAX_REPORTED:
            return
        description = _MORE if len(self._reported) == MAX_REPORTED else _words(whose)
        self._reported[whose] = description
        log.warning("who writes to a file is not known here", inbox=printable(self._inbox), of=description, so=_SO)


def _words(whose: FileSystem | int) -> str:
    if isinstance(whose, FileSystem):
        return f"files on {whose.name}"
    try:
        return f"files of account {printable(pwd.getpwuid(whose).pw_name)}"
    except KeyError:
        return f"files of account {whose}"


class ListedCompanions:
    """Which companions of downloads are in folders with many files to hand out, known for one step of the loop.

    To be asked for a dozen names beside each file costs the kernel more than to list their folder, unless that is
    large. What comes after the listing comes after its image had settled without it.
    """

    ASKED_FIRST = 4
    """Of so many files of a folder, the names are asked for one by one."""
    MOST_NAMES = 2_000
    LARGE_FOR_SECONDS = 10.0
    """For so long a folder that had more is not listed again."""
    _MOST_LARGE = 1_000
    _ENDINGS = tuple(ending.lower() for ending in COMPANIONS)

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._asked: Counter[str] = Counter()
        self._found: dict[str, frozenset[str] | None] = {}
        self._large: dict[str, float] = {}

    def forget(self) -> None:
        """Know nothing any more: a new step begins."""
        self._asked.clear()
        self._found.clear()

    def rules_out(self, relative_path: str) -> bool:
        """Tell whether nothing beside this file can be a companion of it; where that is not known, it may be."""
        folder, name = os.path.split(relative_path)
        self._asked[folder] += 1
        if self._asked[folder] <= self.ASKED_FIRST or not name.isascii():  # others may be written in more than one way
            return False
        if folder not in self._found:
            self._found[folder] = self._listed(folder, time.monotonic())
        found = self._found[folder]
        if not found:
            return found is not None
        # Some file systems do not tell capitals from small letters.
        return not any(name.lower() + ending in found for ending in self._ENDINGS)

    def _listed(self, folder: str, now: float) -> frozenset[str] | None:
        if self._large.get(folder, -1.0) > now:
            return None
        try:
            with os.scandir(self._prefix + folder) as listing:
                names = [entry.name.lower() for entry in islice(listing, self.MOST_NAMES + 1)]
        except OSError:
            return None
        if len(names) <= self.MOST_NAMES:
            return frozenset(name for name in names if name.endswith(self._ENDINGS))
        if len(self._large) == self._MOST_LARGE:
            self._large.clear()
        self._large[folder] = now + self.LARGE_FOR_SECONDS
        return None


class InboxFiles:
    """Looks at the files of one inbox, whose paths are relative to it. One thread only."""

    def __init__(self, root: str, selection: Selection) -> None:
        self._prefix = os.path.join(root, "")
        self._selection = selection
        self.unknown_writers = UnknownWriters(root)
        self.listed = ListedCompanions(self._prefix)

    def look(self, relative_path: str) -> Seen | None:
        """See what a file and its sidecars are now; None when it is not a regular file (any more).

        Raises OSError when that cannot be known of the file itself.
        """
        identity = self.state_of(relative_path)
        if identity is None:
            return None
        if self._selection.is_sidecar(relative_path):
            return (identity,)
        return (identity, *map(self.state_if_known, self._selection.sidecars_of(relative_path)))

    def state_of(self, relative_path: str) -> FileIdentity | None:
        """Give the state of a regular file; None for none, OSError when nobody can tell."""
        try:
            status = os.lstat(self._prefix + relative_path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return FileIdentity.from_stat(status) if stat.S_ISREG(status.st_mode) else None

    def state_if_known(self, relative_path: str) -> FileIdentity | None:
        """The same, where what cannot be known counts as nothing for now."""
        if not is_there(self._prefix + relative_path):  # the rule, a dozen times for each image
            return None
        with suppress(OSError):
            return self.state_of(relative_path)
        return None

    def writers_of(self, relative_path: str, seen: Seen) -> Answer:
        """Ask who writes to a file that `look` has just seen; who writes to one of its sidecars writes to it."""
        answer = self._ask(relative_path)
        if answer.writers is not Writers.some and any(seen[1:]):
            sidecars = compress(self._selection.sidecars_of(relative_path), seen[1:])
            if any(self._ask(path).writers is Writers.some for path in sidecars):
                return replace(answer, writers=Writers.some)
        return answer

    def _ask(self, relative_path: str) -> Answer:
        try:
            answer = ask(self._prefix + relative_path)
        except (FileNotFoundError, PermissionError):
            return NOT_ASKED  # the worker finds out which
        except OSError:
            return NOT_ANSWERED
        self.unknown_writers.note(answer)
        return answer

    def companion_of(self, relative_path: str) -> tuple[str, float] | None:
        """Give what a download program keeps beside a file, and when one of the two last changed."""
        if self._selection.is_sidecar(relative_path) or self.listed.rules_out(relative_path):
            return None
        image = self._prefix + relative_path
        for path in self._selection.companions_of(image):
            if not os.access(path, os.F_OK):  # asked a dozen times of each file: an error of lstat(2) costs twice that
                continue
            with suppress(OSError):
                changed_at = max(os.lstat(name).st_ctime for name in (path, image))
                return os.path.join(os.path.dirname(relative_path), os.path.basename(path)), changed_at
        return None

    def follows_an_image(self, relative_path: str) -> bool:
        """Tell whether this is a sidecar whose image is here and will take it along."""
        if not self._selection.is_sidecar(relative_path):
            return False
        return any(self.state_if_known(image) for image in self._selection.images_of(relative_path))
