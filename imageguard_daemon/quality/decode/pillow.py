"""Pillow for this package alone: the same code, loaded once more under a name of its own.

Pillow keeps its settings in its modules: whether cut-off files are filled up, how many pixels are allowed, which
plug-ins there are. A program around this package may set them as it likes, and a verdict must not follow; nor may this
package set them for that program. Warnings of this copy go nowhere: `warnings.catch_warnings` would change the
filters of all threads.
"""

import importlib
import importlib.util
import logging
import sys
from types import ModuleType
from typing import TYPE_CHECKING

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

__all__ = ["AvifImagePlugin", "Image", "TiffImagePlugin", "UnidentifiedImageError"]
