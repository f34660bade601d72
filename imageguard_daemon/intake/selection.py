"""Which names are candidates, which are left alone, and why. Pure: looks at names only."""

import fnmatch
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Self

from imageguard_daemon.config import Intake

OUR_NAMES = ".imageguard-*"
"""Canary, copies under way, sources set aside: never candidates, whatever the configuration ignores."""


class Left(StrEnum):
    """Why a file stays in the inbox; the words are shown by `status`."""

    ignored = "hidden or temporary name"
    other = "not an image by its ending"
    lone_sidecar = "sidecar whose image has not been filed"
    link = "symbolic link"
    special = "neither file nor folder (pipe, socket, device)"
    unreadable = "folder that cannot be read"


@dataclass(frozen=True, slots=True)
class Selection:
    """The naming rules of the configuration, compiled."""

    ignored: re.Pattern[str]
    image_suffixes: frozenset[str]
    sidecar_suffixes: tuple[str, ...]
    takes_other_files: bool

    @classmethod
    def from_settings(cls, settings: Intake) -> Self:
        """Compile the rules; sidecar endings count only when sidecars are on."""
        patterns = [fnmatch.translate(pattern) for pattern in (OUR_NAMES, *settings.ignore)]
        return cls(
            ignored=re.compile("|".join(patterns), re.IGNORECASE),
            image_suffixes=frozenset(settings.image_suffixes),
            sidecar_suffixes=settings.sidecar_suffixes if settings.sidecars else (),
            takes_other_files=settings.other_files == "quarantine",
        )

    def ignores(self, name: str) -> bool:
        """Tell whether a file or a whole folder of this name is left alone."""
        return self.ignored.match(name) is not None

    def is_sidecar(self, name: str) -> bool:
        """Tell whether the name is that of a label file, which follows its image."""
        return PurePosixPath(name).suffix.lower() in self.sidecar_suffixes

    def is_image(self, name: str) -> bool:
        """Tell whether a file of this name is to be judged."""
        if self.ignores(name) or self.is_sidecar(name):
            return False
        return self.takes_other_files or PurePosixPath(name).suffix.lower() in self.image_suffixes

    def why_left(self, name: str) -> Left | None:
        """Say why a regular file of this name is not judged, or None when it is."""
        if self.ignores(name):
            return Left.ignored
        if self.is_sidecar(name):
            return Left.lone_sidecar
        return None if self.is_image(name) else Left.other

    def sidecars_of(self, relative_path: str) -> Iterator[str]:
        """Give the paths at which the sidecars of an image would be."""
        for suffix in self.sidecar_suffixes:
            yield str(PurePosixPath(relative_path).with_suffix(suffix))
            yield str(PurePosixPath(relative_path).with_suffix(suffix.upper()))

    def images_of(self, sidecar_path: str) -> Iterator[str]:
        """Give the paths at which the image of a sidecar would be."""
        for suffix in sorted(self.image_suffixes):
            yield str(PurePosixPath(sidecar_path).with_suffix(suffix))
            yield str(PurePosixPath(sidecar_path).with_suffix(suffix.upper()))
