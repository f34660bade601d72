"""Pictures of filed images, small ones and maps: a confined process decodes, whoever asks meets no hostile bytes."""

import hashlib
import io
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from imageguard_daemon.core.errors import ImageError, RetryableError, UnavailableError
from imageguard_daemon.core.model import Limits
from imageguard_daemon.core.regular_files import regular_file
from imageguard_daemon.sandbox.answers import read_areas, read_pixels
from imageguard_daemon.sandbox.client import Client, Work

if TYPE_CHECKING:
    from imageguard_daemon.config import Scoring

_MOST_BYTES = 64 * 1024 * 1024
_JPEG_QUALITY = 80
_THUMBNAIL_SECONDS = 10
"""A picture that takes longer is left out: a report must not wait for it."""
_MAP_SECONDS = 20


def thumbnails_of(wanted: Mapping[int, tuple[Path, str]], settings: "Scoring") -> dict[int, bytes]:
    """Give JPEG thumbnails by the ids of images, each given with its path and SHA-256.

    What is gone, is no longer what was recorded, is large or cannot be decoded is left out: an example without a
    picture is still one.
    """
    maker = ThumbnailMaker(settings)
    thumbnails = {}
    try:
        for number, (path, sha256) in wanted.items():
            data = contents_of(path, sha256)
            with suppress(RetryableError):
                if data and (jpeg := maker.make(data)):
                    thumbnails[number] = jpeg
    except UnavailableError:
        pass  # a report without pictures is still one
    finally:
        maker.close()
    return thumbnails


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
    """Makes small pictures in a host of its own, one at a time."""

    def __init__(self, settings: "Scoring") -> None:
        self._client = Client(_work("thumbnail", settings, _THUMBNAIL_SECONDS))

    def make(self, data: bytes) -> bytes:
        """Give a JPEG; nothing for an image that cannot be decoded. For errors see `Client.ask`."""
        try:
            pixels = read_pixels(self._client.ask(data))
        except ImageError:
            return b""
        if pixels is None:
            return b""
        jpeg = io.BytesIO()
        image = Image.frombytes("RGB", (pixels.width, pixels.height), pixels.rgb)
        image.save(jpeg, "JPEG", quality=_JPEG_QUALITY)
        return jpeg.getvalue()

    def close(self) -> None:
        """End the process."""
        self._client.close()


class MapMaker:
    """Makes maps of where images are sharp and clipped in a host of its own, one at a time."""

    def __init__(self, settings: "Scoring") -> None:
        self._client = Client(_work("area_map", settings, _MAP_SECONDS))

    def make(self, data: bytes) -> bytes:
        """Give a map for `read_areas`; nothing for an image that has none. For errors see `Client.ask`."""
        try:
            answer = self._client.ask(data)
        except ImageError:
            return b""
        return answer if read_areas(answer) else b""

    def close(self) -> None:
        """End the process."""
        self._client.close()


def _work(task: str, settings: "Scoring", seconds: int) -> Work:
    limits = Limits(max_pixels=settings.max_pixels, cpu_seconds=seconds)
    return Work(task, settings.worker_memory_megabytes << 20, seconds, limits)
