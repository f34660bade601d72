"""The scorer's version, apart from the readout so that records can be re-judged without numpy."""

import importlib.util

SCORER_VERSION = "7"
"""Raised whenever the same pixels may get another measure; recorded with every decision."""


def loops_here() -> str:
    """Say whether the features are taken by compiled code here or by NumPy; loads neither.

    Both give the same numbers, one several times as fast; who wonders about speed, or about a difference, asks this.
    """
    return "compiled" if importlib.util.find_spec("imageguard_daemon.quality._native") else "NumPy"
