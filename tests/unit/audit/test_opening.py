"""The one way to open a log, wherever it is kept."""

import os
from pathlib import Path

import pytest

from imageguard_daemon.audit.opening import open_log, open_log_for_checking
from imageguard_daemon.core.errors import UnavailableError, UsageError
from tests.helpers.audit_logs import Judged, write_log
from tests.helpers.tampering import tamper


def open_files(path: Path) -> int:
    """Count this process's descriptors of a log."""
    links = (os.path.join("/proc/self/fd", name) for name in os.listdir("/proc/self/fd"))
    return sum(os.readlink(link).startswith(str(path)) for link in links if os.path.islink(link))


def test_a_log_is_closed_however_its_use_ends(tmp_path: Path) -> None:
    """No descriptor stays open after an answer, nor after an error: a long-lived process would run out of them."""
    path = write_log(tmp_path / "audit.db", [Judged()])
    with open_log(path) as log, log.reading() as connection:
        connection.exec_driver_sql("SELECT 1").scalar()
        assert open_files(path)
    assert not open_files(path)
    with pytest.raises(UnavailableError), open_log(path) as log, log.reading() as connection:
        connection.exec_driver_sql("SELECT 1 FROM never_made")
    assert not open_files(path)


def test_a_log_that_lacks_tables_is_refused_and_let_go(tmp_path: Path) -> None:
    """Questions about reviews, and checks, need them; other questions do not."""
    path = write_log(tmp_path / "audit.db", [Judged()])
    tamper(path, "DROP TABLE archives")
    open_log(path).close()
    for opened in (lambda: open_log(path, complete=True), lambda: open_log_for_checking(path)):
        with pytest.raises(UnavailableError, match="start the daemon once"):
            opened()
    assert not open_files(path)


def test_a_fleet_is_not_checked(tmp_path: Path) -> None:
    """What is checked is the log on the server that wrote it, and a fleet's address is not taken for a file's name."""
    with pytest.raises(UsageError, match="on the server that wrote it"):
        open_log_for_checking(Path("postgresql://db/fleet"))
    assert list(tmp_path.iterdir()) == []
