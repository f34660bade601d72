"""What measures here: the scorer's version, its loops in C or NumPy, and whether OpenCV works.

Importing this loads neither NumPy nor OpenCV: records are re-judged without them, and who asks what is wrong with an
installation gets an answer from a broken one.
"""

import contextlib
import importlib
from typing import Any

SCORER_VERSION = "10"
"""Raised whenever the same pixels may get another measure; recorded with every decision."""
_WHEELS = ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")
_NEEDED = ("imdecode", "IMREAD_UNCHANGED", "resize")


def scorer_with(readout: str) -> str:
    """Name the scorer in records: the code's number, and the hash of a readout that is not the package's."""
    return f"{SCORER_VERSION}+{readout}" if readout else SCORER_VERSION


def compiled_features() -> Any:
    """Give the extension module that suits this processor, or None where the package was built without a compiler."""
    for name in ("_native_avx2", "_native"):
        with contextlib.suppress(ImportError):  # not built, or not for this processor
            return importlib.import_module(f"imageguard_daemon.quality.features.{name}")
    return None


def loops_here() -> str:
    """Say which code takes the features here: `compiled for AVX2`, `compiled`, or `NumPy`.

    All give the same numbers, one several times as fast; who wonders about speed, or about a difference, asks this.
    """
    module = compiled_features()
    if module is None:
        return "NumPy"
    return "compiled for AVX2" if module.__name__.endswith("_avx2") else "compiled"


def why_opencv_fails() -> str:
    """Say what is wrong with OpenCV and how to repair it; nothing when it can be used.

    Several wheels share its folder `cv2`, and removing one of them breaks the others.
    """
    try:
        module = importlib.import_module("cv2")
        for name in _NEEDED:
            getattr(module, name)
    except (ImportError, AttributeError) as error:
        removal = "".join(f" {name}" for name in _WHEELS if _is_installed(name))
        removed = f"pip uninstall -y{removal} && " if removal else ""
        return f"OpenCV cannot be used: {error}. To repair it: {removed}pip install opencv-python-headless"
    return ""


def _is_installed(wheel: str) -> bool:
    from importlib import metadata  # noqa: PLC0415 - 30 ms that nobody pays whose OpenCV works

    try:
        metadata.version(wheel)
    except metadata.PackageNotFoundError:
        return False
    return True
