"""Accepted and quarantined images as links in folders of their own; the files themselves stay where they are.

A link is all that is ever made or removed here. One that an earlier run made for the same file, and that no longer
fits its verdict, is removed, as is one that leads nowhere; whatever else has the name is left alone and told apart by
the content's hash.
"""

import errno
import hashlib
import os
import stat
from array import array
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from imageguard_daemon.batch.judging import JudgedImage
from imageguard_daemon.core.errors import ChangedError, StalledError, unwritable
from imageguard_daemon.core.model import FileIdentity
from imageguard_daemon.core.names import printable
from imageguard_daemon.filing import renaming
from imageguard_daemon.filing.folders import Folders
from imageguard_daemon.filing.rules.destinations import free_path

_EXAMPLES = 20


class _Marks:
    """A set of texts that takes eight bytes for each: there may be many millions."""

    def __init__(self) -> None:
        self._marks = array("Q")
        self._is_sorted = True

    def add(self, text: str) -> None:
        """Add one."""
        self._marks.append(_mark(text))
        self._is_sorted = False

    def __contains__(self, text: str) -> bool:
        marks = np.frombuffer(self._marks, np.uint64) if self._marks else np.empty(0, np.uint64)
        if not self._is_sorted:
            marks.sort()  # in place
            self._is_sorted = True
        mark = np.uint64(_mark(text))
        at = int(np.searchsorted(marks, mark))
        return at < marks.size and bool(marks[at] == mark)


def _mark(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(os.fsencode(text), digest_size=8).digest(), "little")


def _file_mark(of: os.stat_result) -> str:
    """Give a text that tells a file from all others."""
    return f"{of.st_dev} {of.st_ino}"


@dataclass(slots=True)
class OldLinks:
    """What is there of earlier runs: how many links are gone, how many are left, and the first of these by name."""

    removed: int = 0
    left: int = 0
    examples: list[str] = field(default_factory=list)

    def leave(self, path: str) -> None:
        """Count one that stays."""
        self.left += 1
        if len(self.examples) < _EXAMPLES:
            self.examples.append(path)


def _take_away(roots: list[str], made: _Marks, sources: _Marks, folder: str, *, keep: bool) -> OldLinks:
    """Remove what leads into `folder`, or nowhere, and is not among the links just `made`; then empty folders.

    A hard link goes only if its file is one of `sources`, and so has another name; else it may be the last one that the
    file has, and stays. `keep` removes nothing, and counts what would go.
    """
    old_links = OldLinks()
    real = os.path.join(os.path.realpath(folder), "")
    for path in _below(roots, remove_empty=not keep):
        if path in made:
            continue
        with suppress(FileNotFoundError):
            entry = os.lstat(path)
            if stat.S_ISLNK(entry.st_mode) and not _is_outdated(path, real):
                continue  # somebody else's
            is_file_of_ours = stat.S_ISREG(entry.st_mode) and entry.st_nlink > 1 and _file_mark(entry) in sources
            if keep or not (stat.S_ISLNK(entry.st_mode) or is_file_of_ours):
                old_links.leave(path)
            else:
                os.unlink(path)
                old_links.removed += 1
    return old_links


def _is_dangling(path: str) -> bool:
    """Tell whether a path is a link of the kind made here, that leads nowhere."""
    try:
        return os.path.isabs(os.readlink(path)) and not os.path.exists(path)
    except OSError:
        return False


def _is_outdated(path: str, folder: str) -> bool:
    return os.readlink(path).startswith(folder) or _is_dangling(path)


def _below(roots: list[str], *, remove_empty: bool) -> Iterator[str]:
    for root in roots:
        for place, _, names in os.walk(root, topdown=False):
            yield from (os.path.join(place, name) for name in names)
            if remove_empty and place != root:
                with suppress(OSError):  # not empty
                    os.rmdir(place)


ACCEPTED, QUARANTINE = "accepted", "quarantine"


class Linker:
    """Links judged images below `destination`. One thread only."""

    def __init__(self, destination: Path, *, hard: bool) -> None:
        self._destination = Path(os.path.abspath(destination))
        self._hard = hard
        self._roots = {name: str(self._destination / name) for name in (ACCEPTED, QUARANTINE)}
        self._made, self._sources = _Marks(), _Marks()
        try:
            for root in self._roots.values():
                os.makedirs(root, exist_ok=True)
        except OSError as error:
            raise unwritable(error, f"cannot make {printable(str(destination))}") from error

    def link(self, image: JudgedImage) -> JudgedImage:
        """Make the link of an image, unless it already exists; gives the image with its destination.

        Raises:
            ChangedError: the file is no longer the one that was judged.
            StalledError, FatalError: the file system cannot make such a link, or refuses.
        """
        wanted, other = (ACCEPTED, QUARANTINE) if image.decision.ok else (QUARANTINE, ACCEPTED)
        source = os.path.realpath(image.path)
        self._require_unchanged(source, image)
        try:
            with Folders(list(self._roots.values())) as folders:
                self._remove_ours(source, image, other)
                relative_path = self._place(source, image, wanted)
                path = os.path.join(self._roots[wanted], relative_path)
                if self._is_ours(path, source) and (os.path.islink(path) == self._hard or _is_dangling(path)):
                    os.unlink(path)  # a link of the other kind, or one that leads nowhere
                if not self._is_ours(path, source):
                    self._make(source, path, folders)
        except OSError as error:
            raise unwritable(error, f"cannot link {printable(image.path)}") from error
        self._made.add(path)
        if self._hard:
            self._sources.add(_file_mark(os.lstat(path)))
        return replace(image, destination=path)

    def take_old_away(self, folder: Path, *, keep: bool) -> OldLinks:
        """Remove the links of earlier runs that this one, now at its end, has not made; `keep` only counts them.

        Raises:
            FatalError: the file system refuses.
        """
        try:
            return _take_away(list(self._roots.values()), self._made, self._sources, str(folder), keep=keep)
        except OSError as error:
            raise unwritable(error, "cannot remove old links") from error

    def _require_unchanged(self, source: str, image: JudgedImage) -> None:
        judged = image.measurement.identity
        try:
            now = FileIdentity.from_stat(os.stat(source, follow_symlinks=False))
        except OSError as error:
            raise ChangedError(f"cannot be linked: {error.strerror}") from error
        if judged is None or not now.same_content_as(judged):
            raise ChangedError("changed after it was judged")

    def _place(self, source: str, image: JudgedImage, folder: str) -> str:
        """Choose the name: its own, or one told apart by its hash when another file has that."""

        def taken(relative_path: str) -> bool:
            path = os.path.join(self._roots[folder], relative_path)
            return os.path.lexists(path) and not self._is_ours(path, source)

        return free_path(image.relative_path, (), image.measurement.sha256, taken)

    def _remove_ours(self, source: str, image: JudgedImage, folder: str) -> None:
        """Take away the link that an earlier verdict made; the file keeps the name it has in its own folder."""
        path = os.path.join(self._roots[folder], self._place(source, image, folder))
        if self._is_ours(path, source):
            os.unlink(path)

    def _is_ours(self, path: str, source: str) -> bool:
        """Tell whether a name is a link to this very file, so that removing it loses nothing."""
        try:
            if os.path.islink(path):
                return os.readlink(path) == source or _is_dangling(path)
            here, there = (os.stat(name, follow_symlinks=False) for name in (path, source))
        except OSError:
            return False
        same_file = (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)
        # To remove the only name of a file, or the image itself, would lose it.
        return same_file and here.st_nlink > 1 and path != source

    def _make(self, source: str, path: str, folders: Folders) -> None:
        target = folders.descriptor(os.path.dirname(path), make=True)
        name = os.path.basename(path)
        if not self._hard:
            os.symlink(source, name, dir_fd=target)
            return
        folder = os.open(os.path.dirname(source), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            renaming.link(folder, os.path.basename(source), target, name)
        except OSError as error:
            if error.errno == errno.EXDEV:
                raise StalledError("hard links cannot lead to another file system; leave --hard-links out") from error
            raise
        finally:
            os.close(folder)
