"""Pictures of filed images: small ones from confined processes, kept in memory; whole ones as they are on disk."""

import os
import threading
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from imageguard_daemon.audit.listing import decision_row
from imageguard_daemon.audit.quarantine_queries import reviewable_image
from imageguard_daemon.audit.store import Store
from imageguard_daemon.config import Settings
from imageguard_daemon.core.errors import RetryableError, UnavailableError
from imageguard_daemon.core.names import original
from imageguard_daemon.quality.decode.formats import recognise
from imageguard_daemon.sandbox.pictures import contents_of

MAX_BYTES = 48 * 1024 * 1024
"""Memory for small pictures: some thousands of them."""
MAX_RENDERS = 20_000
"""What cannot be decoded takes hardly any memory, and is remembered, too."""
SHOWABLE = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "BMP": "image/bmp",
    "AVIF": "image/avif",
}
"""What browsers show, by its content and never by its name; none of these can run anything."""


ImageFile = tuple[Path, str]
"""Where a file is, and what its SHA-256 must be."""


class Maker(Protocol):
    """What makes something of an image's bytes in a confined process, one at a time."""

    def make(self, data: bytes) -> bytes:
        """Give it; nothing for an image that cannot be decoded.

        Raises:
            RetryableError, UnavailableError: it cannot be made now, whatever the image is like.
        """

    def close(self) -> None:
        """End the process."""


class RenderCache:
    """Makes and remembers small pictures, or maps, by the content of their image; any thread may ask."""

    def __init__(self, maker: Maker) -> None:
        self._maker = maker
        self._making, self._lock = threading.Lock(), threading.Lock()
        self._renders: OrderedDict[str, bytes] = OrderedDict()
        self._bytes = 0

    def of(self, path: Path, sha256: str) -> bytes | None:
        """Give what was made; empty when it cannot be decoded, None when there is no such content there."""
        with self._lock:
            if sha256 in self._renders:
                self._renders.move_to_end(sha256)
                return self._renders[sha256]
        with self._making:  # one decoder: a gallery must not take the processors from the daemon
            data = contents_of(path, sha256)
            if not data:
                return None
            try:
                render = self._maker.make(data)
            except (RetryableError, UnavailableError):  # says nothing about the image: not remembered
                return b""
        self._keep(sha256, render)
        return render

    def _keep(self, sha256: str, render: bytes) -> None:
        with self._lock:
            self._bytes += len(render) - len(self._renders.pop(sha256, b""))
            self._renders[sha256] = render
            while self._bytes > MAX_BYTES or len(self._renders) > MAX_RENDERS:
                self._bytes -= len(self._renders.popitem(last=False)[1])

    def close(self) -> None:
        """End the process."""
        self._maker.close()


def place_of(
    log: Store, settings: Settings, decision_id: int, row: Mapping[str, object] | None = None
) -> ImageFile | None:
    """Say where an image's file is now and what its SHA-256 must be; None when it is nowhere.

    Paths come from the log alone, and none leads out of the folders of the configuration.
    """
    held = reviewable_image(log, decision_id)
    if held is not None and (held.last_review is not None or held.verdict == "quarantined"):
        found: ImageFile | None = next(((Path(f.path), f.sha256) for f in held.files if f.role == "image"), None)
    else:
        row = row or decision_row(log, decision_id)
        found = (settings.root / original(str(row["destination"] or "")), str(row["sha256"])) if row else None
    if not found or not any(_is_below(found[0], folder) for one in settings.sources for folder in one.folders[1:]):
        return None
    return found


def _is_below(path: Path, folder: Path) -> bool:
    return os.path.normpath(path).startswith(os.path.join(os.path.normpath(folder), ""))


def whole(path: Path, sha256: str) -> tuple[bytes, str]:
    """Give an image's bytes and media type for a browser; nothing where it is changed, gone or not for browsers."""
    data = contents_of(path, sha256)
    media_type = SHOWABLE.get(recognise(data), "") if data else ""
    return (data, media_type) if media_type else (b"", "")
