"""Pillow for this package alone: a copy of its own, and C libraries that print nothing while it decodes.

The copy is the same code, loaded once more under another name. Pillow keeps its settings in its modules: whether
cut-off files are filled up, how many pixels are allowed, which plug-ins there are. A program around this package may
set them as it likes, and a verdict must not follow; nor may this package set them for that program. Warnings of this
copy go nowhere: `warnings.catch_warnings` would change the filters of all threads.

libtiff, which Pillow brings along, prints by a handler that is one for the process. While a file is decoded here, the
handler is one that says nothing to this thread and passes on what concerns others; then it is what it was. Other
libraries have no such handler: for them a program can have its whole standard error silenced.
"""

import contextlib
import ctypes
import importlib
import importlib.util
import logging
import os
import sys
import threading
from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any

import cv2

from imageguard_daemon.core.errors import UnavailableError

_NAME = "imageguard_daemon.quality._pillow"
_MODULES = (
    "Image",
    "ImageFile",
    "AvifImagePlugin",
    "BmpImagePlugin",
    "GifImagePlugin",
    "JpegImagePlugin",
    "MpoImagePlugin",
    "PngImagePlugin",
    "TiffImagePlugin",
    "WebPImagePlugin",
)
_SILENT_LEVEL = 0
_set_log_level = getattr(cv2.utils, "logging", cv2).setLogLevel  # before OpenCV 4.11 it has no module of its own
_Handler = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)


class _Silent(ModuleType):
    """Takes the place of `warnings` in the copy."""

    def warn(self, *_told: object, **_how: object) -> None:
        """Say nothing."""


def _load_copy() -> None:
    """Load the package and the modules for what is judged; others would belong to the program's own Pillow."""
    there = importlib.util.find_spec("PIL")
    if there is None or there.origin is None or there.submodule_search_locations is None:
        raise UnavailableError("Pillow is not installed as a package of files")
    places = list(there.submodule_search_locations)
    spec = importlib.util.spec_from_file_location(_NAME, there.origin, submodule_search_locations=places)
    if spec is None or spec.loader is None:
        raise UnavailableError("Pillow cannot be loaded")
    sys.modules[_NAME] = package = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(package)
    silent = _Silent("warnings")
    for name in _MODULES:
        names = vars(importlib.import_module(f"{_NAME}.{name}"))
        if "warnings" in names:
            names["warnings"] = silent
    vars(sys.modules[f"{_NAME}.Image"])["MAX_IMAGE_PIXELS"] = None  # `Limits` has the number
    logging.getLogger(_NAME).setLevel(logging.CRITICAL)  # what it says names no file, and is in the detail


if TYPE_CHECKING:
    from PIL import AvifImagePlugin, Image, TiffImagePlugin, UnidentifiedImageError
else:
    if _NAME not in sys.modules:
        _load_copy()
    UnidentifiedImageError = sys.modules[_NAME].UnidentifiedImageError
    AvifImagePlugin, Image, TiffImagePlugin = (
        sys.modules[f"{_NAME}.{name}"] for name in ("AvifImagePlugin", "Image", "TiffImagePlugin")
    )

__all__ = [
    "QUIET_TIFF",
    "AvifImagePlugin",
    "Image",
    "TiffImagePlugin",
    "UnidentifiedImageError",
    "silent_standard_error",
]


# --- what C libraries print


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
        self._lock = threading.Lock()  # one of them may have held the old one, and would never let go
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
        self._here.depth -= 1  # last: until the handler is back, what this thread's file has to say comes to ours

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
