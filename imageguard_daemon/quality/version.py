"""The scorer's version, apart from the readout so that records can be re-judged without numpy."""

SCORER_VERSION = "5"
"""Raised whenever the same pixels may get another measure; recorded with every decision."""
