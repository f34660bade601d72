"""`--version`."""

from typer.testing import CliRunner

from imageguard_daemon import __version__
from imageguard_daemon.cli.app import app
from imageguard_daemon.quality import loops
from imageguard_daemon.quality.version import SCORER_VERSION


def test_the_version_says_what_measures() -> None:
    """Package, scorer, and whether the features are compiled or NumPy's: what a report of a difference needs."""
    told = CliRunner().invoke(app, ["--version"]).output
    kind = "compiled" if loops.COMPILED else "NumPy"
    assert told == f"imageguard-daemon {__version__} (scorer {SCORER_VERSION}, {kind})\n"
