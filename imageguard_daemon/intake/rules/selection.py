"""Which names are candidates, which are left alone, and why. Pure: looks at names only."""

import fnmatch
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Self

from imageguard_daemon.config import Intake
from imageguard_daemon.core import checksums

OUR_NAMES = ".imageguard-*"
"""Canary, copies under way, sources set aside: never candidates, whatever the configuration ignores."""

PROTECTED = (
    # Windows, and its FAT and exFAT disks.
    *("$RECYCLE.BIN", "System Volume Information", "Thumbs.db", "Thumbs.db:encryptable", "ehthumbs*.db", "desktop.ini"),
    *("FOUND.[0-9][0-9][0-9]", "lost+found"),
    # macOS, its archives and what it leaves on shares and cards.
    *("__MACOSX", "._*", ".DS_Store", ".AppleDouble", ".AppleDB", ".AppleDesktop", ".Spotlight-V100", ".fseventsd"),
    *(".TemporaryItems", "Temporary Items", "Network Trash Folder", ".DocumentRevisions-V100"),
    # Trash cans: freedesktop.org's, macOS's and Samba's vfs_recycle as its many users name it.
    *(
        ".Trash",
        ".Trash-*",
        ".Trashes",
        ".recycle",
        ".recycle.bin",
        "#recycle",
        "@Recycle",
        ".trashed-*",
        ".thumbnails",
    ),
    # Snapshots and indexes of Synology, QNAP, NetApp and ZFS.
    *("#snapshot", "@Recently-Snapshot", "~snapshot", ".snapshot", ".snapshots", ".zfs"),
    *("@eaDir", "@tmp", "*@SynoEAStream", "*@SynoResource", ".@*"),
    # Sync programs: second versions of a file that is there, older versions and unfinished downloads.
    *(
        "*.sync-conflict-*",
        "*conflicted copy*",
        "*_conflict-[12][0-9][0-9][0-9][01][0-9][0-3][0-9]-*",
        "*(SFConflict *",
    ),
    *(".stversions", ".stfolder", ".syncthing.*", "~syncthing~*", ".dropbox.cache", ".sync", ".owncloudsync.log*"),
    # File systems: a file that is deleted while somebody has it open.
    *(".nfs[0-9a-f][0-9a-f][0-9a-f][0-9a-f]*", ".fuse_hidden*"),
)
"""What systems, NAS and sync programs make beside people's images; left alone whatever the configuration ignores."""

COMPANIONS = (
    *(".aria2", ".lftp-pget-status", ".st"),  # aria2, lftp's pget, axel: beside the final name from the first byte on
    *(".part", ".partial", ".filepart", ".crdownload", ".opdownload", ".fdmdownload", ".dtapart"),  # browsers, WinSCP
    *(".!ut", ".!qB", ".bc!"),  # BitTorrent clients
)
"""Endings that download programs add: `x.jpg` beside `x.jpg.aria2` is not complete, however still it lies."""
_COMPANIONS = frozenset(ending.lower() for ending in COMPANIONS)


class SkipReason(StrEnum):
    """Why a file stays in the inbox; the words are shown by `status`."""

    ignored = "hidden or temporary name"
    protected = "made by a system, a NAS or a sync program"
    other = "without an image extension"
    checksums = "checksums of the files beside it"
    lone_sidecar = "sidecar whose image has not been filed"
    link = "symbolic link"
    special = "neither file nor folder (pipe, socket, device)"
    unreadable = "folder that cannot be read"


@dataclass(frozen=True, slots=True)
class Selection:
    """The naming rules of the configuration, compiled."""

    ignored: re.Pattern[str]
    protected: re.Pattern[str]
    image_suffixes: frozenset[str]
    sidecar_suffixes: tuple[str, ...]
    takes_other_files: bool
    checksums: bool = False

    @classmethod
    def from_settings(cls, settings: Intake) -> Self:
        """Compile the rules; sidecar endings count only when sidecars are on."""
        return cls(
            ignored=_any_of((OUR_NAMES, *settings.ignore, *settings.ignore_also)),
            protected=_any_of(PROTECTED),
            image_suffixes=frozenset(settings.image_suffixes),
            sidecar_suffixes=settings.sidecar_suffixes if settings.sidecars else (),
            takes_other_files=settings.other_files == "quarantine",
            checksums=settings.checksums,
        )

    def ignores(self, name: str) -> bool:
        """Tell whether a file or a whole folder of this name is left alone."""
        return bool(self.protected.match(name) or self.ignored.match(name))

    def is_sidecar(self, name: str) -> bool:
        """Tell whether the name is that of a label, or of the checksum of one image, which follow their image."""
        stem, ending = os.path.splitext(name)
        if ending.lower() in self.sidecar_suffixes:
            return not (self.checksums and checksums.is_list(os.path.basename(name)))
        return self.checksums and ending.lower() in checksums.ENDINGS and self._has_image_suffix(stem)

    def _has_image_suffix(self, name: str) -> bool:
        return os.path.splitext(name)[1].lower() in self.image_suffixes

    def is_companion(self, name: str) -> bool:
        """Tell whether the name is that of what a download program keeps beside an image."""
        stem, ending = os.path.splitext(name)
        return ending.lower() in _COMPANIONS and self._has_image_suffix(stem)

    def companions_of(self, path: str) -> Iterator[str]:
        """Give the paths at which download programs keep what says that a file is not complete."""
        return (path + ending for ending in COMPANIONS)

    def is_image(self, name: str) -> bool:
        """Tell whether a file of this name is to be judged."""
        if self.ignores(name) or self.is_sidecar(name) or self.is_companion(name):
            return False
        if self.checksums and checksums.is_list(name):
            return False
        return self.takes_other_files or self._has_image_suffix(name)

    def skip_reason(self, name: str) -> SkipReason | None:
        """Say why a regular file of this name is not judged, or None when it is."""
        if self.is_image(name):
            return None
        if self.protected.match(name):
            return SkipReason.protected
        if self.ignores(name) or self.is_companion(name):
            return SkipReason.ignored
        if self.is_sidecar(name):
            return SkipReason.lone_sidecar
        if self.checksums and checksums.is_list(name):
            return SkipReason.checksums
        return SkipReason.other

    def sidecars_of(self, relative_path: str) -> Iterator[str]:
        """Give the paths at which the sidecars of an image would be: 1.txt and 1.jpg.txt for 1.jpg."""
        for stem in dict.fromkeys((os.path.splitext(relative_path)[0], relative_path)):
            endings = self.sidecar_suffixes
            if self.checksums and stem == relative_path and self._has_image_suffix(relative_path):
                endings = (*endings, *checksums.ENDINGS)
            for ending in endings:
                yield stem + ending
                yield stem + ending.upper()

    def images_of(self, sidecar_path: str) -> Iterator[str]:
        """Give the paths at which the image of a sidecar would be."""
        return (image for images, _ in self.owners_of(sidecar_path) for image in images)

    def owners_of(self, sidecar_path: str) -> Iterator[tuple[list[str], str]]:
        """Give the images that a sidecar may belong to, likeliest first, with what its name has after their stem."""
        stem, ending = os.path.splitext(sidecar_path)
        suffix = os.path.splitext(stem)[1]
        if suffix.lower() in self.image_suffixes:
            yield [stem], suffix + ending
        if ending.lower() in self.sidecar_suffixes:
            suffixes = [either for image in sorted(self.image_suffixes) for either in (image, image.upper())]
            yield [stem + image_suffix for image_suffix in suffixes], ending


def unprotected(settings: Intake) -> tuple[str, ...]:
    """Give the patterns of `ignore`'s default whose names a configuration that replaces them lets through."""
    selection = Selection.from_settings(settings)
    defaults: tuple[str, ...] = Intake.model_fields["ignore"].default
    return tuple(pattern for pattern in defaults if not selection.ignores(pattern.replace("*", "x")))


@cache
def _any_of(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(fnmatch.translate, patterns)), re.IGNORECASE)
