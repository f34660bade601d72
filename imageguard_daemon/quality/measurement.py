"""What a worker process runs: one file, read once, as a Measurement."""

import functools
import hashlib
import io
import logging
import math
import os
import time
from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np

from imageguard_daemon.core.errors import ChangedError, ImageError
from imageguard_daemon.core.model import FileIdentity, Limits, Measurement
from imageguard_daemon.core.regular_files import NotRegularError, regular_file
from imageguard_daemon.quality.decode import decoder, heif, opencv
from imageguard_daemon.quality.decode.decoder import Picture
from imageguard_daemon.quality.decode.formats import HANDLED
from imageguard_daemon.quality.decode.pillow import AvifImagePlugin, Image
from imageguard_daemon.quality.decode.pillow_pixels import NO_MEMORY
from imageguard_daemon.quality.features.blank import nothing_shown
from imageguard_daemon.quality.features.vector import extract
from imageguard_daemon.quality.readout import Readout, read_out

_LOG = logging.getLogger(__name__)
_KEPT_BYTES = 24 * 1024 * 1024
_BLOCK_BYTES = 512  # stat(2): of st_blocks, whatever the file system's own are
_HASHED_AT_ONCE_BYTES = 1 << 20
_HASHED_BYTES = 4 << 30
"""Files of up to this, or eight times the limit on what is read in, are hashed, to be filed as `too_large`."""
Measure = Callable[[bytes, Limits], Measurement]


@functools.cache
def keep_freed_memory() -> None:
    """Have the C library keep memory that was freed for the next image, up to twice this much.

    What is given back to the kernel comes again page by page, filled with zeros, which takes longer than most of the
    arithmetic. glibc takes the largest block ever freed as its measure; elsewhere this does nothing.
    """
    block = np.empty(_KEPT_BYTES, np.uint8)
    del block


def prepare_worker() -> None:
    """Set up a process that measures and does nothing else: one thread, as the pool of workers is the parallelism."""
    keep_freed_memory()
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    cv2.setNumThreads(1)
    cv2.ocl.setUseOpenCL(False)
    heif.prepare_worker()
    opencv.prepare_worker()
    _load_what_comes_late()


def _load_what_comes_late() -> None:
    """Read an image of each format once: what libraries load at first use must be there when files are out of reach."""
    steps = np.arange(64, dtype=np.uint8)
    pixels = np.add.outer(steps, steps)
    picture = Image.fromarray(pixels).convert("RGB")
    deep = Image.fromarray(pixels.astype(np.uint16) * 257)  # 16 bits go another way than 8
    for image, name in (*((picture, name) for name in sorted(HANDLED)), (deep, "PNG"), (deep, "TIFF")):
        if name in Image.SAVE:  # Pillow may be built without one
            buffer = io.BytesIO()
            image.save(buffer, name)
            measure_bytes(buffer.getvalue(), Limits())


def measure_file(
    path: str, limits: Limits, measure: Callable[[bytes, Limits], Measurement] | None = None
) -> Measurement:
    """Measure one file; `identity` is the state in which all of its bytes were read. `measure` gets those bytes.

    A file that is too large even to be hashed has no SHA-256: none of its bytes were read.

    Raises:
        ChangedError: the path is not a regular file, or it changed while being read.
        OSError: it cannot be opened or read.
    """
    return _of_a_still_file(path, lambda file, status: _measured(file, status, limits, measure or measure_bytes))


def fingerprint_file(path: str) -> Measurement:
    """Give identity and SHA-256 of a file that is not to be decoded; for errors see `measure_file`."""
    return _of_a_still_file(path, lambda file, status: Measurement(_sha256(file, status.st_size, math.inf)))


def _of_a_still_file(path: str, look: Callable[[io.FileIO, os.stat_result], Measurement]) -> Measurement:
    started = time.perf_counter()
    try:
        with regular_file(path) as opened:
            with open(opened.descriptor, "rb", buffering=0, closefd=False) as file:
                result = look(file, opened.status)
            if FileIdentity.from_stat(os.fstat(opened.descriptor)) != opened.identity:
                raise ChangedError(f"changed while being read: {path!r}")
            return replace(result, identity=opened.identity, duration_ms=_milliseconds_since(started))
    except NotRegularError as error:
        raise ChangedError(f"not a regular file: {path!r}") from error


def _measured(file: io.FileIO, status: os.stat_result, limits: Limits, measure: Measure) -> Measurement:
    if status.st_size > limits.max_bytes:
        return _too_large_a_file(file, status, limits)
    # A file that grows or shrinks meanwhile is found out by the caller, who compares states.
    return measure(_read_all(file, status.st_size + 1), limits)


def _too_large_a_file(file: io.FileIO, status: os.stat_result, limits: Limits) -> Measurement:
    """Hash a file that is not read in, unless that costs more than it cost to send."""
    on_disk = status.st_blocks * _BLOCK_BYTES
    if on_disk < status.st_size // 2:
        found = _too_many_bytes("", status.st_size, limits)
        return replace(found, detail=f"{found.detail}, of which {on_disk / 1e6:.0f} MB are on the disk")
    may_be_hashed = status.st_size <= max(_HASHED_BYTES, 8 * limits.max_bytes)
    deadline = time.monotonic() + limits.cpu_seconds / 2
    sha256 = _sha256(file, status.st_size, deadline) if may_be_hashed else ""
    return _too_many_bytes(sha256, status.st_size, limits)


def _sha256(file: io.FileIO, most_bytes: int, deadline: float) -> str:
    """Hash so many bytes at most; an empty text when it takes too long."""
    digest = hashlib.sha256()
    while most_bytes > 0 and (part := file.read(min(most_bytes, _HASHED_AT_ONCE_BYTES))):
        if time.monotonic() > deadline:
            return ""
        digest.update(part)
        most_bytes -= len(part)
    return digest.hexdigest()


def _read_all(file: io.FileIO, most_bytes: int) -> bytes:
    """Read to the end, up to a maximum of bytes; one read(2) gives 2 GiB at most and may give less."""
    parts = []
    while most_bytes > 0 and (part := file.read(most_bytes)):
        parts.append(part)
        most_bytes -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _too_many_bytes(sha256: str, size_bytes: int, limits: Limits) -> Measurement:
    detail = f"the file has {size_bytes / 1e6:.0f} MB (limit {limits.max_bytes / 1e6:.0f} MB)"
    return Measurement(sha256, issue="too_large", detail=detail)


def measure_bytes(data: bytes, limits: Limits, readout: Readout | None = None) -> Measurement:
    """Measure an image in memory, by a `readout` of one's own if need be; a bad one gives its issue, no exception."""
    started = time.perf_counter()
    sha256 = hashlib.sha256(data).hexdigest()
    if len(data) > limits.max_bytes:
        return _too_many_bytes(sha256, len(data), limits)
    try:
        result = measure_picture(decoder.decode(data, limits), limits, readout)
    except ImageError as error:
        result = Measurement("", issue=error.issue, detail=error.detail)
    except MemoryError:
        result = Measurement("", issue="too_large", detail=NO_MEMORY)
    except Exception as error:  # noqa: BLE001 - the guard: a decoder's bug costs this one image only
        _LOG.warning("unexpected error while measuring an image", exc_info=True)
        result = Measurement("", issue="corrupt", detail=f"could not be measured: {type(error).__name__}")
    return replace(result, sha256=sha256, duration_ms=_milliseconds_since(started))


def measure_picture(picture: Picture, limits: Limits, readout: Readout | None = None) -> Measurement:
    """Measure decoded pixels; of those that show nothing there is nothing to measure."""
    if shows := nothing_shown(picture.grey):
        return Measurement("", None, "blank", shows, picture.camera, picture.image_format)
    measures = read_out(extract(picture, limits.working_long_side), readout)
    return Measurement("", measures, camera=picture.camera, image_format=picture.image_format)


def _milliseconds_since(started: float) -> float:
    return (time.perf_counter() - started) * 1000
