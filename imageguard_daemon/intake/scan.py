"""An own walk over the inbox: follows no link, keeps no list, and shrugs at what vanishes meanwhile."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from imageguard_daemon.intake.rules.selection import Selection, SkipReason


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
