"""What a worker process runs: one file, read once, as a Measurement."""

import functools
import hashlib
import io
import logging
import os
import stat
import time
from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
from PIL import AvifImagePlugin, Image

from imageguard_daemon.errors import ChangedError, ImageError
from imageguard_daemon.leases import READ_ONLY_NO_TRAPS
from imageguard_daemon.model import FileIdentity, Measurement
from imageguard_daemon.quality import decoding, heic
from imageguard_daemon.quality.blank import nothing_shown
from imageguard_daemon.quality.decoding import Limits, Picture
from imageguard_daemon.quality.features import extract
from imageguard_daemon.quality.readout import read_out
from imageguard_daemon.quality.signatures import HANDLED

_LOG = logging.getLogger(__name__)
_KEPT_BYTES = 24 * 1024 * 1024
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
    """Set up a process that measures and does nothing else.

    One thread, as the pool of workers is the parallelism; and Pillow's own limit on pixels gives way to `Limits`.
    """
    keep_freed_memory()
    Image.MAX_IMAGE_PIXELS = None
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    cv2.setNumThreads(1)
    cv2.ocl.setUseOpenCL(False)
    heic.prepare_worker()
    logging.getLogger("PIL").setLevel(logging.CRITICAL)  # what it says names no file, and is in the detail
    _load_what_comes_late()


def _load_what_comes_late() -> None:
    """Read an image of each format once: what libraries load at first use must be there when files are out of reach."""
    Image.init()
    pixels = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint8)
    picture, deep = Image.fromarray(pixels).convert("RGB"), Image.fromarray(pixels.astype(np.uint16) * 257)
    for image, name in (*((picture, name) for name in sorted(HANDLED)), (deep, "PNG"), (deep, "TIFF")):
        if name in Image.SAVE:  # Pillow may be built without one
            buffer = io.BytesIO()
            image.save(buffer, name)
            measure_bytes(buffer.getvalue(), Limits())


def measure_file(
    path: str, limits: Limits, measure: Callable[[bytes, Limits], Measurement] | None = None
) -> Measurement:
    """Measure one file; `identity` is the state in which all of its bytes were read. `measure` gets those bytes.

    Raises:
        ChangedError: the path is no regular file, or it changed while being read.
        OSError: it cannot be opened or read.
    """
    started = time.perf_counter()
    descriptor = os.open(path, READ_ONLY_NO_TRAPS)
    try:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            raise ChangedError(f"not a regular file: {path!r}")
        identity = FileIdentity.from_stat(before)
        result = _measure_descriptor(descriptor, before.st_size, limits, measure or measure_bytes)
        if FileIdentity.from_stat(os.fstat(descriptor)) != identity:
            raise ChangedError(f"changed while being read: {path!r}")
    finally:
        os.close(descriptor)
    return replace(result, identity=identity, duration_ms=_milliseconds_since(started))


def _measure_descriptor(descriptor: int, size_bytes: int, limits: Limits, measure: Measure) -> Measurement:
    with open(descriptor, "rb", buffering=0, closefd=False) as file:
        if size_bytes > limits.max_bytes:
            return _too_many_bytes(hashlib.file_digest(file, "sha256").hexdigest(), size_bytes, limits)
        # A file that grows or shrinks meanwhile is found out by the caller, who compares states.
        data = _read_all(file, size_bytes + 1)
    return measure(data, limits)


def _read_all(file: io.FileIO, most_bytes: int) -> bytes:
    """Read to the end, at most so many bytes; one read(2) gives 2 GiB at most and may give less."""
    parts = []
    while most_bytes > 0 and (part := file.read(most_bytes)):
        parts.append(part)
        most_bytes -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _too_many_bytes(sha256: str, size_bytes: int, limits: Limits) -> Measurement:
    detail = f"the file has {size_bytes / 1e6:.0f} MB (limit {limits.max_bytes / 1e6:.0f} MB)"
    return Measurement(sha256, issue="too_large", detail=detail)


def measure_bytes(data: bytes, limits: Limits) -> Measurement:
    """Measure an image in memory; a bad one gives its issue, never an exception."""
    keep_freed_memory()
    started = time.perf_counter()
    sha256 = hashlib.sha256(data).hexdigest()
    if len(data) > limits.max_bytes:
        return _too_many_bytes(sha256, len(data), limits)
    try:
        result = measure_picture(decoding.decode(data, limits), limits)
    except ImageError as error:
        result = Measurement("", issue=error.issue, detail=error.detail)
    except MemoryError:
        result = Measurement("", issue="too_large", detail="it takes more memory than a worker may have")
    except Exception as error:  # noqa: BLE001 - the guard: a decoder's bug costs this one image only
        _LOG.warning("unexpected error while measuring an image", exc_info=True)
        result = Measurement("", issue="corrupt", detail=f"could not be measured: {type(error).__name__}")
    return replace(result, sha256=sha256, duration_ms=_milliseconds_since(started))


def measure_picture(picture: Picture, limits: Limits) -> Measurement:
    """Measure decoded pixels; of those that show nothing there is nothing to measure."""
    if shows := nothing_shown(picture.grey):
        return Measurement("", None, "blank", shows, picture.camera, picture.image_format)
    measures = read_out(extract(picture, limits.working_long_side))
    return Measurement("", measures, camera=picture.camera, image_format=picture.image_format)


def _milliseconds_since(started: float) -> float:
    return (time.perf_counter() - started) * 1000
