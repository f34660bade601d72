"""Thumbnails of filed images: a confined process decodes, whoever asks meets no hostile bytes."""

import hashlib
import io
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from imageguard_daemon.core.regular_files import regular_file
from imageguard_daemon.sandbox.confined_process import ConfinedProcess, Work
from imageguard_daemon.sandbox.thumbnail_process import HEADER, SIDE

if TYPE_CHECKING:
    from imageguard_daemon.config import Scoring

_MODULE = "imageguard_daemon.sandbox.thumbnail_process"
_ANSWER_BYTES = HEADER.size + 3 * SIDE * SIDE
_MOST_BYTES = 64 * 1024 * 1024
_JPEG_QUALITY = 80
_MOST_SECONDS = 10.0
"""A picture that takes longer is left out: a report must not wait for it."""


def thumbnails_of(wanted: Mapping[int, tuple[Path, str]], settings: "Scoring") -> dict[int, bytes]:
    """Give JPEG thumbnails by the ids of images, each given with its path and SHA-256.

    What is gone, is no longer what was recorded, is large or cannot be decoded is left out: an example without a
    picture is still one.
    """
    maker = ThumbnailMaker(settings)
    found = {}
    try:
        for number, (path, sha256) in wanted.items():
            data = contents_of(path, sha256)
            if data and (jpeg := maker.make(data)):
                found[number] = jpeg
    finally:
        maker.close()
    return found


def contents_of(path: Path, sha256: str) -> bytes:
    """Give a file's bytes if it is still what was recorded and not too large, else nothing."""
    with suppress(OSError), regular_file(path) as file:
        if file.status.st_size <= _MOST_BYTES:
            data = file.read(_MOST_BYTES)
            return data if hashlib.sha256(data).hexdigest() == sha256 else b""
    return b""


def is_too_large_to_show(path: Path) -> bool:
    """Tell whether a file is there, and larger than what pictures are made of."""
    with suppress(OSError):
        return os.stat(path, follow_symlinks=False).st_size > _MOST_BYTES
    return False


class ThumbnailMaker:
    """One confined process at a time; one that dies or hangs costs its image and is replaced."""

    def __init__(self, settings: "Scoring") -> None:
        limits = (settings.worker_memory_megabytes * 1024 * 1024, settings.max_pixels)
        self._process = ConfinedProcess(Work(_MODULE, limits, _MOST_SECONDS, _ANSWER_BYTES))

    def make(self, data: bytes) -> bytes:
        """Give a JPEG, or nothing."""
        return _jpeg(self._process.ask(data))

    def close(self) -> None:
        """End the process."""
        self._process.close()


def _jpeg(answer: bytes) -> bytes:
    """Read an answer as one would read a stranger's letter: pixels of a size that fits, or nothing."""
    if len(answer) <= HEADER.size:
        return b""
    width, height = HEADER.unpack_from(answer)
    if not (1 <= width <= SIDE >= height >= 1) or len(answer) != HEADER.size + 3 * width * height:
        return b""
    made = io.BytesIO()
    Image.frombytes("RGB", (width, height), answer[HEADER.size :]).save(made, "JPEG", quality=_JPEG_QUALITY)
    return made.getvalue()
