"""`--version`."""

from pathlib import Path

from typer.testing import CliRunner

from imageguard_daemon import __version__
from imageguard_daemon.cli.app import app
from imageguard_daemon.quality.features import vector
from imageguard_daemon.quality.version import SCORER_VERSION


def test_the_version_says_what_measures() -> None:
    """Package, scorer, and which code takes the features, AVX2's or not: what a report of a difference needs."""
    told = CliRunner().invoke(app, ["--version"]).output
    has_avx2 = " avx2 " in Path("/proc/cpuinfo").read_text()
    kind = ("compiled for AVX2" if has_avx2 else "compiled") if vector.COMPILED else "NumPy"
    assert told == f"imageguard-daemon {__version__} (scorer {SCORER_VERSION}, {kind})\n"
