"""The scorer's version, apart from the readout so that records can be re-judged without numpy."""

import contextlib
import importlib
from typing import Any

SCORER_VERSION = "10"
"""Raised whenever the same pixels may get another measure; recorded with every decision."""


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
