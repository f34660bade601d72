"""Three daemons and one database."""

from pathlib import Path

from tests.faults import fleet
from tests.faults.launching import Launcher


def test_the_database_holds_each_log_once_whatever_happens(launcher: Launcher, tmp_path: Path) -> None:
    """Stopped, killed, with clocks apart and a host put back from a backup: every record is there, and none twice."""
    assert fleet.outages(launcher, tmp_path, rounds=len(fleet.ACCIDENTS)).violations == []
