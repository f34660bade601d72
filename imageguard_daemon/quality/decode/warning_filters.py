"""Keep what C libraries say of damaged files from a program's standard error.

libtiff, which Pillow brings along, prints by a handler that is one for the process. While a file is decoded here, the
handler is one that says nothing to this thread and passes on what concerns others; then it is what it was. Other
libraries have no such handler: for them a program can have its whole standard error silenced.
"""

import contextlib
import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

import cv2

from imageguard_daemon.quality.decode.pillow import Image

_SILENT_LEVEL = 0
_set_log_level = getattr(cv2.utils, "logging", cv2).setLogLevel  # before OpenCV 4.11 it has no module of its own
_Handler = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)


class QuietTiff:
    """A context for any number of threads; the first to enter puts the handler in place, the last to leave takes it."""

    def __init__(self) -> None:
        self._here = threading.local()
        self._set_handler = _handler_setter()
        self._ours = _Handler(self._on_error)
        self._lock = threading.Lock()
        self._inside = 0
        self._theirs: int | None = None
        self._level = _SILENT_LEVEL
        os.register_at_fork(after_in_child=self._begin_anew)

    def _begin_anew(self) -> None:
        """Leave for the threads that a forked child does not have."""
        self._lock = threading.Lock()
        if self._inside:
            self._inside = 0
            self._put_back()

    def __enter__(self) -> None:
        self._here.depth = getattr(self._here, "depth", 0) + 1
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._level = _set_log_level(_SILENT_LEVEL)  # OpenCV has a libtiff of its own
                if self._set_handler:
                    self._theirs = self._set_handler(ctypes.cast(self._ours, ctypes.c_void_p))

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._put_back()
        self._here.depth -= 1

    def _put_back(self) -> None:
        _set_log_level(self._level)
        if self._set_handler:
            self._set_handler(self._theirs)

    def _on_error(self, module: int | None, message: int | None, values: int | None) -> None:
        if not getattr(self._here, "depth", 0) and self._theirs:
            _Handler(self._theirs)(module, message, values)


def _handler_setter() -> Any:
    """Give what sets libtiff's handler; nothing where Pillow was built without, or hides it."""
    with contextlib.suppress(OSError, AttributeError):
        set_handler = ctypes.CDLL(vars(Image)["core"].__file__).TIFFSetErrorHandler
        set_handler.argtypes, set_handler.restype = [ctypes.c_void_p], ctypes.c_void_p
        return set_handler
    return None


QUIET_TIFF = QuietTiff()


@contextlib.contextmanager
def silent_standard_error() -> Iterator[None]:
    """Have nothing of this process reach standard error meanwhile: C libraries print there without a file's name.

    For programs: a library must not do so to its caller.
    """
    sys.stderr.flush()
    standard_error, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        yield
    finally:
        os.dup2(standard_error, 2)
        os.close(standard_error)
